"""Padding."""

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Dim, UnsupportedError, Value, static

_NATIVE = {"reflect": 2, "edge": 3, "wrap": 3}
"""Number of dimensions that MindSpore's primitive pads in each mode, counted from the last."""


@operator("Pad", since=(2, 11, 13, 18, 19, 21, 23, 24, 25))
def pad(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Pad.html: negative pads cut."""
    x = node[0]
    if any(v is not None and v.elements is None for v in (node.optional(1), node.optional(3))):
        return _at_run_time(context, node)
    pads = node.integers(1, "pads")
    if pads is None:
        raise UnsupportedError("pads are missing")
    axes = node.integers(3, "axes") or tuple(range(x.rank))
    half = len(pads) // 2
    before, after = [0] * x.rank, [0] * x.rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[half + index]
    value: Value | None = node.optional(2)
    if node.since == 2:  # noqa: PLR2004 - the value was an attribute
        value = context.like(node.attributes["value"], x)
    for axis in range(x.rank):
        low, high = min(before[axis], 0), min(after[axis], 0)
        if low or high:
            stop = context.arithmetic("Add", context.dim(x, axis), high)
            x = context.slice(x, axis, -low, stop)
    pairs = [(max(a, 0), max(b, 0)) for a, b in zip(before, after, strict=True)]
    return pad_pairs(context, x, pairs, str(node.attributes["mode"]), value)


def _at_run_time(context: Context, node: Node) -> Value:
    """Pads by amounts, or along axes, that the model computes."""
    x, mode = node[0], str(node.attributes["mode"])
    if mode != "constant":
        raise UnsupportedError(f"mode {mode} with pads that are computed when the model runs")
    axes = node.optional(3)
    pairs = context.transpose(context.reshape(context.cast(node[1], "int64"), (2, -1)), (1, 0))
    if axes is not None:
        axes, rank = context.cast(axes, "int64"), context.constant(x.rank, "int64")
        place = context.emit("FloorMod", axes, rank, dtype="int64", shape=axes.shape)
        place = context.unsqueeze(place, (1,))
        none = context.constant(np.zeros((x.rank, 2)), "int64")
        pairs = context.emit(
            "TensorScatterUpdate", none, place, pairs, dtype="int64", shape=none.shape
        )
    # MindSpore begins with the last dimension.
    turned = context.emit("ReverseV2", pairs, (0,), dtype="int64", shape=pairs.shape)
    flat = context.reshape(turned, (-1,))
    fill = node.optional(2) or context.like(0, x)
    fill = context.reshape(fill, ())
    shape = (None,) * x.rank
    return context.emit("PadV3", x, flat, fill, mode="constant", dtype=x.dtype, shape=shape)


def pad_pairs(
    context: Context,
    x: Value,
    pairs: list[tuple[int, int]],
    mode: str = "constant",
    value: Value | None = None,
) -> Value:
    """Pads each dimension by so many elements before and after."""
    if not any(a or b for a, b in pairs):
        return x
    shape = tuple(
        s + a + b if isinstance(s, int) else (None if a or b else s)
        for s, (a, b) in zip(x.sizes, pairs, strict=True)
    )
    modes = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "circular"}
    if mode == "constant":
        flat = tuple(n for pair in reversed(pairs) for n in pair)
        fill = value or context.like(0, x)
        fill = context.squeeze(fill, (0,)) if fill.shape == (1,) else fill
        return context.emit("PadV3", x, flat, fill, mode="constant", dtype=x.dtype, shape=shape)
    # MindSpore pads only the last dimensions this way, at most once around, and only below batch
    # and channel; the modes go one dimension after the other.
    last = x.rank - _NATIVE[mode]
    for axis, pair in enumerate(pairs):
        if any(pair) and (axis < last or _goes_round(x.sizes[axis], pair, mode)):
            rest = [(0, 0) if other == axis else item for other, item in enumerate(pairs)]
            return pad_pairs(context, _by_place(context, x, axis, pair, mode), rest, mode)
    first = next(axis for axis, pair in enumerate(pairs) if any(pair))
    if first < 2:  # noqa: PLR2004
        front = tuple(range(2 - first))
        inner = context.unsqueeze(x, front)
        return context.squeeze(
            pad_pairs(context, inner, [*[(0, 0)] * len(front), *pairs], mode), front
        )
    if first > 2:  # noqa: PLR2004
        sizes = context.dims(x)
        inner = context.reshape(x, (1, -1, *sizes[first:]))
        wide = pad_pairs(context, inner, [(0, 0), (0, 0), *pairs[first:]], mode)
        return context.reshape(wide, (*sizes[:first], *context.dims(wide)[2:]))
    flat = tuple(n for pair in reversed(pairs[2:]) for n in pair)
    return context.emit("PadV3", x, flat, None, mode=modes[mode], dtype=x.dtype, shape=shape)


def _goes_round(size: Dim, pair: tuple[int, int], mode: str) -> bool:
    return mode != "edge" and isinstance(size, int) and max(pair) >= size


def _by_place(context: Context, x: Value, axis: int, pair: tuple[int, int], mode: str) -> Value:
    """Pads one dimension by taking each element from where the mode finds it."""
    (size,) = static(x.sizes[axis : axis + 1], f"the input of a Pad with mode {mode}")
    places = np.pad(np.arange(size), pair, mode=mode)  # type: ignore[call-overload]
    shape = (*x.sizes[:axis], len(places), *x.sizes[axis + 1 :])
    index = context.constant(places, "int64")
    return context.emit("Gather", x, index, axis, 0, dtype=x.dtype, shape=shape)
