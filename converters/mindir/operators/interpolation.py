"""Interpolation along one dimension, with positions that are known only when the model runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.registry import Node
from ascend_migrate.converters.mindir.values import Element, UnsupportedError, Value


def plus(context: Context, value: Value, number: float) -> Value:
    """Adds a number to each element."""
    return binary(context, "Add", value, context.like(number, value)) if number else value


def times(context: Context, value: Value, number: float) -> Value:
    """Multiplies each element by a number."""
    return value if number == 1 else binary(context, "Mul", value, context.like(number, value))


def keys(context: Context, rest: Value, tap: int, coefficient: float) -> Value:
    """Returns the weight that Keys' cubic convolution gives to one of the four elements around.

    Args:
        context: the graph.
        rest: how far the position lies behind element 0, from 0 to 1.
        tap: number of the element, from -1 to 2.
        coefficient: of the convolution.
    """
    distance = plus(context, times(context, rest, -1.0), tap)
    distance = context.emit("Abs", distance, dtype=rest.dtype, shape=rest.shape)
    a = coefficient
    near = tap in {0, 1}
    factors = (a + 2, -(a + 3), 0.0, 1.0) if near else (a, -5 * a, 8 * a, -4 * a)
    found = context.like(factors[0], rest)
    for factor in factors[1:]:
        found = plus(context, binary(context, "Mul", found, distance), factor)
    return found


@dataclass(frozen=True, slots=True)
class Track:
    """One dimension that is resized.

    Attributes:
        axis: its number.
        before: its size.
        after: the size that it is to have.
        scale: the factor, of which ``after`` may be rounded; a float32 of rank 0.
        roi: where the part to be taken begins and ends, from 0 to 1; None for all.
    """

    axis: int
    before: Element
    after: Element
    scale: Value
    roi: tuple[Value, Value] | None


def tensor(context: Context, size: Element) -> Value:
    """Returns a size as a float32 of rank 0."""
    if isinstance(size, int):
        return context.constant(size, "float32")
    return context.cast(Value("size", "int64", (), elements=(size,)), "float32")


def resample(context: Context, node: Node, x: Value, track: Track) -> Value:
    """Resizes one dimension: picks elements, or sums the weighted elements around."""
    index = context.emit("Range", 0, track.after, 1, dtype="int64", shape=known((track.after,)))
    grid = str(node.attributes["coordinate_transformation_mode"])
    at = _GRIDS[grid](context, track, context.cast(index, "float32"))
    mode = node.attributes["mode"]
    if mode == "nearest":
        found = _pick(
            context, x, track, _rounded(context, at, str(node.attributes["nearest_mode"]))
        )
    elif not x.floating:
        raise UnsupportedError(f"mode={mode} on {x.dtype}")
    else:
        found = _weighted(context, node, x, track, at)
    if grid != "tf_crop_and_resize":
        return found
    last = plus(context, tensor(context, track.before), -1)
    low = binary(context, "Less", at, context.like(0, at), "bool")
    high = binary(context, "Greater", at, last, "bool")
    outside = _column(context, binary(context, "LogicalOr", low, high, "bool"), x, track.axis)
    return select(context, outside, context.like(node.attributes["extrapolation_value"], x), found)


def _pick(context: Context, x: Value, track: Track, index: Value) -> Value:
    """Takes elements by number; beyond the border lies the last one."""
    last = plus(context, tensor(context, track.before), -1)
    index = binary(context, "Maximum", index, context.like(0, index))
    index = context.cast(binary(context, "Minimum", index, last), "int64")
    shape = (*x.sizes[: track.axis], *index.sizes, *x.sizes[track.axis + 1 :])
    return context.emit("Gather", x, index, track.axis, 0, dtype=x.dtype, shape=shape)


def _weighted(context: Context, node: Node, x: Value, track: Track, at: Value) -> Value:
    base = context.emit("Floor", at, dtype=at.dtype, shape=at.shape)
    rest = binary(context, "Sub", at, base)
    if node.attributes["mode"] == "cubic":
        a = float(node.attributes["cubic_coeff_a"])
        weights = {tap: keys(context, rest, tap, a) for tap in range(-1, 3)}
    else:
        weights = {0: plus(context, times(context, rest, -1.0), 1), 1: rest}
    places = {tap: plus(context, base, tap) for tap in weights}
    if node.attributes["exclude_outside"]:
        weights = _without_outside(context, track, weights, places)
    parts = [
        binary(
            context,
            "Mul",
            _pick(context, x, track, places[tap]),
            _column(context, context.cast(weight, x.dtype), x, track.axis),
        )
        for tap, weight in weights.items()
    ]
    return _total(context, parts)


def _without_outside(
    context: Context, track: Track, weights: Mapping[int, Value], places: Mapping[int, Value]
) -> dict[int, Value]:
    end = tensor(context, track.before)
    kept = {}
    for tap, weight in weights.items():
        low = binary(context, "GreaterEqual", places[tap], context.like(0, weight), "bool")
        high = binary(context, "Less", places[tap], end, "bool")
        inside = binary(context, "LogicalAnd", low, high, "bool")
        kept[tap] = select(context, inside, weight, context.like(0, weight))
    whole = _total(context, list(kept.values()))
    return {tap: binary(context, "RealDiv", weight, whole) for tap, weight in kept.items()}


def _total(context: Context, parts: list[Value]) -> Value:
    total = parts[0]
    for part in parts[1:]:
        total = binary(context, "Add", total, part)
    return total


def _column(context: Context, line: Value, x: Value, axis: int) -> Value:
    return context.reshape(line, (-1, *(1,) * (x.rank - 1 - axis)))


def _rounded(context: Context, at: Value, mode: str) -> Value:
    if mode.startswith("round"):
        down = mode.endswith("floor")
        at = plus(context, at, -0.5 if down else 0.5)
        return context.emit("Ceil" if down else "Floor", at, dtype=at.dtype, shape=at.shape)
    return context.emit(mode.capitalize(), at, dtype=at.dtype, shape=at.shape)


def _asymmetric(context: Context, track: Track, index: Value) -> Value:
    return binary(context, "RealDiv", index, track.scale)


def _half_pixel(context: Context, track: Track, index: Value) -> Value:
    return plus(context, _asymmetric(context, track, plus(context, index, 0.5)), -0.5)


def _symmetric(context: Context, track: Track, index: Value) -> Value:
    before, after = tensor(context, track.before), tensor(context, track.after)
    whole = binary(context, "Mul", before, track.scale)
    rest = plus(context, times(context, binary(context, "RealDiv", after, whole), -1.0), 1)
    offset = binary(context, "Mul", times(context, before, 0.5), rest)
    return binary(context, "Add", _half_pixel(context, track, index), offset)


def _several(context: Context, track: Track, many: Value, one: Value) -> Value:
    """Takes ``many`` where the size after is above 1, ``one`` where it is 1."""
    if isinstance(track.after, int):
        return many if track.after > 1 else one
    size = tensor(context, track.after)
    return select(
        context, binary(context, "Greater", size, context.like(1, size), "bool"), many, one
    )


def _pytorch(context: Context, track: Track, index: Value) -> Value:
    return _several(context, track, _half_pixel(context, track, index), index)


def _corners(context: Context, track: Track, index: Value) -> Value:
    return binary(context, "Mul", index, _step(context, track))


def _step(context: Context, track: Track) -> Value:
    """Returns the distance of the elements where the first and the last keep their places."""
    span = plus(context, tensor(context, track.before), -1)
    steps = plus(context, tensor(context, track.after), -1)
    return binary(
        context, "RealDiv", span, binary(context, "Maximum", steps, context.like(1, steps))
    )


def _crop(context: Context, track: Track, index: Value) -> Value:
    if track.roi is None:
        raise UnsupportedError("coordinate_transformation_mode=tf_crop_and_resize without roi")
    start, end = track.roi
    span = plus(context, tensor(context, track.before), -1)
    length = binary(context, "Sub", end, start)
    step = binary(context, "Mul", length, _step(context, track))
    first = binary(context, "Mul", start, span)
    many = binary(context, "Add", first, binary(context, "Mul", index, step))
    middle = times(context, binary(context, "Add", start, end), 0.5)
    one = binary(context, "Mul", middle, span)
    return _several(context, track, many, binary(context, "Add", one, times(context, index, 0.0)))


_GRIDS: Mapping[str, Callable[[Context, Track, Value], Value]] = {
    "align_corners": _corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": _pytorch,
    "tf_crop_and_resize": _crop,
}
