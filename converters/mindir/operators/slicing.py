"""Taking parts of a tensor."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.operators.shape import vector
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import (
    Dim,
    Element,
    Scalar,
    UnsupportedError,
    Value,
)


@operator("Split", since=(2, 11, 13, 18))
def split(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Split.html: the last part may be smaller."""
    x, axis, given = node[0], node.axis(node[0].rank), node.optional(1)
    whole, count = x.sizes[axis], len(node.outputs)
    if given is not None and given.elements is None:
        return _parts_at_run_time(context, x, axis, context.elements(given))
    sizes = node.integers(1, "split")
    if sizes is None:
        if not isinstance(whole, int):
            return _equal_parts(context, x, axis, count)
        part = -(-whole // count)
        sizes = tuple(min(part, max(0, whole - part * index)) for index in range(count))
    if x.elements is not None:
        bounds = np.cumsum((0, *sizes))
        return [vector(node, x.elements[a:b]) for a, b in pairwise(bounds)]
    if len(set(sizes)) == 1 and whole == sum(sizes):
        shape = (*x.sizes[:axis], sizes[0], *x.sizes[axis + 1 :])
        results = [(x.dtype, shape)] * count
        return list(context.emit_many("Split", x, axis, count, results=results))
    starts = [sum(sizes[:index]) for index in range(count)]
    return [
        context.slice(x, axis, start, start + width)
        for start, width in zip(starts, sizes, strict=True)
    ]


def _parts_at_run_time(
    context: Context, x: Value, axis: int, sizes: tuple[Element, ...]
) -> list[Value]:
    edges: list[Element] = [0]
    for size in sizes:
        edges.append(context.arithmetic("Add", edges[-1], size))
    return [context.slice(x, axis, start, stop) for start, stop in pairwise(edges)]


def _equal_parts(context: Context, x: Value, axis: int, count: int) -> list[Value]:
    whole = context.dim(x, axis)
    rounded = context.arithmetic("Add", whole, count - 1)
    part = context.arithmetic("FloorDiv", rounded, count)
    edges = [context.arithmetic("Mul", part, index) for index in range(count)] + [whole]
    return [context.slice(x, axis, edges[i], edges[i + 1]) for i in range(count)]


@operator("Slice", since=(1, 10, 11, 13))
def slice_(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Slice.html: bounds are clamped, steps may be < 0."""
    x = node[0]
    if node.since == 1:
        starts: tuple[Element, ...] = tuple(node.attributes["starts"])
        ends: tuple[Element, ...] = tuple(node.attributes["ends"])
        axes, steps = tuple(node.attributes.get("axes") or range(len(starts))), (1,) * len(starts)
    else:
        if any(value is not None and value.elements is None for value in node.inputs[3:]):
            return _at_run_time(context, node)
        starts, ends = context.elements(node[1]), context.elements(node[2])
        axes = node.integers(3, "axes") or tuple(range(len(starts)))
        steps = node.integers(4, "steps") or (1,) * len(starts)
    if x.elements is not None and x.rank == 1 and all(_fixed(v) for v in (*starts, *ends)):
        return vector(node, x.elements[slice(*map(_number, (starts[0], ends[0], steps[0])))])
    cuts = []
    for axis, bounds in zip(axes, zip(starts, ends, steps, strict=True), strict=True):
        if _turns(x.sizes[axis], bounds):
            # StridedSlice, on the CPU, turns no dimension round if it cuts another one.
            x = _reversed(context, x, axis % x.rank)
        else:
            cuts.append((axis % x.rank, bounds))
    return _slice(context, x, cuts)


def _turns(size: Dim, bounds: tuple[Element, Element, int]) -> bool:
    """Whether all of a dimension is taken, in the opposite order."""
    if not isinstance(size, int) or not all(_fixed(bound) for bound in bounds):
        return False
    return slice(*map(_number, bounds)).indices(size) == (size - 1, -1, -1)


def _at_run_time(context: Context, node: Node) -> Value:
    """Slices along axes, or by steps, that the model computes: bounds for every dimension."""
    x, axes, steps = node[0], node.optional(3), node.optional(4)
    rank = x.rank
    if axes is None:
        axes = context.constant(np.arange(len(context.elements(node[1]))), "int64")
    axes = context.cast(axes, "int64")
    place = context.emit(
        "FloorMod", axes, context.constant(rank, "int64"), dtype="int64", shape=axes.shape
    )
    place = context.unsqueeze(place, (1,))
    vectors = []
    for value, default in ((node[1], 0), (node[2], _FAR), (steps, 1)):
        whole = context.constant(np.full(rank, default), "int64")
        if value is not None:
            part = context.cast(value, "int64")
            whole = context.emit(
                "TensorScatterUpdate", whole, place, part, dtype="int64", shape=(rank,)
            )
        vectors.append(whole)
    begin, end, step = vectors
    # MindSpore clamps what lies past the end, but not where it begins to go backwards.
    last = Value(node.name, "int64", (rank,), elements=context.dims(x))
    last = binary(context, "Sub", last, context.constant(1, "int64"))
    backwards = binary(context, "Less", step, context.constant(0, "int64"), "bool")
    begin = select(context, backwards, binary(context, "Minimum", begin, last), begin)
    bounds = zip(*(context.elements(bound) for bound in (begin, end, step)), strict=True)
    # One dimension after the other, because a step may turn one round (see above).
    for axis, bound in enumerate(bounds):
        wholes = zip(bound, (0, _FAR, 1), strict=True)
        cuts = [[item if i == axis else whole for i in range(rank)] for item, whole in wholes]
        x = context.emit("StridedSlice", x, *cuts, dtype=x.dtype, shape=(None,) * rank)
    return x


def _fixed(element: Element) -> bool:
    return isinstance(element, int)


def _number(element: Element) -> int:
    if isinstance(element, Scalar):
        raise UnsupportedError("a bound is computed when the model runs")
    return element


_FAR = 1 << 31
"""Bounds beyond this mean "to the end"; MindSpore clamps what lies past the end."""


def _slice(
    context: Context,
    x: Value,
    cuts: Sequence[tuple[int, tuple[Element, Element, int]]],
) -> Value:
    rank = x.rank
    begin: list[Element] = [0] * rank
    end: list[Element] = [1] * rank
    step = [1] * rank
    whole = set(range(rank))
    shape = list(x.sizes)
    for axis, (start, stop, stride) in cuts:
        size = x.sizes[axis]
        if isinstance(start, int) and isinstance(stop, int):
            if isinstance(size, int):
                first, last, stride = slice(start, stop, stride).indices(size)  # noqa: PLW2901
                shape[axis] = len(range(first, last, stride))
                begin[axis], end[axis], step[axis] = first, last, stride
                if (first, last, stride) != (0, size, 1) and last >= 0:
                    whole.discard(axis)
                continue
            shape[axis] = None
            if stride < 0:
                x = _flip(context, x, axis, (start, stop, stride))
                shape[axis] = size
                continue
            begin[axis], step[axis] = start, stride
            if stop < _FAR:
                end[axis] = stop
                whole.discard(axis)
            elif start == 0 and stride == 1:
                shape[axis] = size
            continue
        if stride < 0:
            raise UnsupportedError("a negative step with bounds computed when the model runs")
        begin[axis], end[axis], step[axis], shape[axis] = start, stop, stride, None
        if isinstance(stop, int) and stop >= _FAR:
            end[axis] = 1
        else:
            whole.discard(axis)
        if start == 0 and stride == 1 and isinstance(stop, Scalar):
            shape[axis] = stop.symbol
    if len(whole) == rank and not any(begin) and set(step) == {1}:
        return x
    mask = sum(1 << axis for axis in whole)
    arguments = (tuple(begin), tuple(end), tuple(step))
    return context.emit(
        "StridedSlice", x, *arguments, end_mask=mask, dtype=x.dtype, shape=tuple(shape)
    )


def _flip(context: Context, x: Value, axis: int, bounds: tuple[int, int, int]) -> Value:
    start, stop, stride = bounds
    if (start != -1 and start < _FAR) or stop > -_FAR or stride != -1:
        raise UnsupportedError(f"a negative step on dimension {axis}, whose size is dynamic")
    return _reversed(context, x, axis)


def _reversed(context: Context, x: Value, axis: int) -> Value:
    return context.emit("ReverseV2", x, (axis,), dtype=x.dtype, shape=x.shape)
