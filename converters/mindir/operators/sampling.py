"""Reading images between their pixels."""

from collections.abc import Mapping
from itertools import product

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.interpolation import keys, plus, times
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value

_BILINEAR, _NEAREST = 0, 1
"""MindSpore's enum of interpolations."""

_PADDINGS: Mapping[str, int] = {"zeros": 0, "border": 1, "reflection": 2}
"""MindSpore's enum of what lies around an image."""

_KEYS = -0.75
"""The coefficient of the cubic convolution, which ONNX fixes here."""


@operator("GridSample", since=(16, 20, 22))
def grid_sample(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__GridSample.html: images and volumes.

    MindSpore's kernels part ways where a position lies halfway between two pixels: ONNX takes the
    even one. Rounded first, no position does.
    """
    x, grid, mode = node[0], node[1], str(node.attributes["mode"])
    spatial = x.rank - 2
    if spatial not in {2, 3}:
        raise UnsupportedError(f"{spatial} spatial dimensions")
    if mode.endswith("linear"):
        return _sample(context, node, grid, _BILINEAR)
    axes = _positions(context, node)
    if mode == "nearest":
        rounded = [context.emit("Round", p, dtype=p.dtype, shape=p.shape) for p in axes]
        return _sample(context, node, _grid(context, node, rounded), _NEAREST)
    return _cubic(context, node, axes)


def _sample(context: Context, node: Node, grid: Value, mode: int) -> Value:
    x, padding = node[0], _PADDINGS[str(node.attributes["padding_mode"])]
    corners = bool(node.attributes["align_corners"])
    shape = (*x.sizes[:2], *grid.sizes[1:-1])
    name = f"GridSampler{x.rank - 2}D"
    return context.emit(name, x, grid, mode, padding, corners, dtype=x.dtype, shape=shape)


def _cubic(context: Context, node: Node, positions: list[Value]) -> Value:
    """Sums the pixels around each position, read one by one, by their weights."""
    total = None
    bases = [context.emit("Floor", p, dtype=p.dtype, shape=p.shape) for p in positions]
    rests = [binary(context, "Sub", *pair) for pair in zip(positions, bases, strict=True)]
    for taps in product(range(-1, 3), repeat=len(bases)):
        points, weight = [], None
        for tap, base, rest in zip(taps, bases, rests, strict=True):
            points.append(plus(context, base, tap))
            share = keys(context, rest, tap, _KEYS)
            weight = share if weight is None else binary(context, "Mul", weight, share)
        pixel = _sample(context, node, _grid(context, node, points), _NEAREST)
        assert weight is not None  # noqa: S101 - there is at least one dimension
        part = binary(context, "Mul", pixel, context.unsqueeze(weight, (1,)))
        total = part if total is None else binary(context, "Add", total, part)
    assert total is not None  # noqa: S101
    return total


def _positions(context: Context, node: Node) -> list[Value]:
    """Returns where the grid points, in pixels; for each spatial dimension of the image."""
    grid = node[1]
    last = grid.rank - 1
    found = []
    for axis in range(grid.rank - 2):
        # The grid lists the innermost dimension first.
        place = grid.rank - 3 - axis
        at = context.squeeze(context.slice(grid, last, place, place + 1), (last,))
        size = _size(context, node, axis)
        if node.attributes["align_corners"]:
            at = binary(context, "Mul", plus(context, at, 1), plus(context, size, -1))
        else:
            at = plus(context, binary(context, "Mul", plus(context, at, 1), size), -1)
        found.append(times(context, at, 0.5))
    return found


def _grid(context: Context, node: Node, positions: list[Value]) -> Value:
    """Returns the grid that points to ``positions``: what `_positions` does, undone."""
    columns = []
    for axis, position in enumerate(positions):
        size, at = _size(context, node, axis), times(context, position, 2.0)
        if node.attributes["align_corners"]:
            # Where there is but one pixel, every grid points to it.
            span = plus(context, size, -1)
            size = binary(context, "Maximum", span, context.like(1, span))
        else:
            at = plus(context, at, 1)
        scaled = plus(context, binary(context, "RealDiv", at, size), -1)
        columns.append(context.unsqueeze(scaled, (scaled.rank,)))
    return context.concat(columns[::-1], -1)


def _size(context: Context, node: Node, axis: int) -> Value:
    size = context.dim(node[0], axis + 2)
    if isinstance(size, int):
        return context.like(size, node[1])
    return context.cast(Value("size", "int64", (), elements=(size,)), node[1].dtype)
