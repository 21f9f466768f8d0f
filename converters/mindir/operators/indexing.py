"""Gathering, scattering, ranking and running sums."""

from collections.abc import Sequence

import numpy as np

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.operators.bits import inverted
from ascend_migrate.converters.mindir.operators.shape import vector
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import (
    Element,
    UnsupportedError,
    Value,
    constant,
)


def from_front(context: Context, indices: Value, size: Element) -> Value:
    """Counts negative indices from the front; MindSpore does not."""
    if indices.constant is not None and (indices.constant >= 0).all():
        return indices if not indices.weight else constant(indices.name, indices.constant)
    if indices.constant is not None and isinstance(size, int):
        array = indices.constant
        return constant(indices.name, np.where(array < 0, array + size, array))
    wide = context.constant(size, indices.dtype) if isinstance(size, int) else _tensor(size)
    wide = context.cast(wide, indices.dtype)
    negative = binary(context, "Less", indices, context.like(0, indices), "bool")
    return select(context, negative, binary(context, "Add", indices, wide), indices)


def _tensor(size: Element) -> Value:
    return Value("size", "int64", (), elements=(size,))


@operator("Gather", since=(1, 11, 13))
def gather(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Gather.html: indices may be negative."""
    x, indices = node[0], node[1]
    axis = node.axis(x.rank)
    picked = indices.constant
    if x.elements is not None and x.rank == 1 and picked is not None and picked.ndim <= 1:
        chosen = tuple(x.elements[int(index)] for index in picked.reshape(-1))
        if picked.ndim == 1:
            return vector(node, chosen)
        return Value(node.name, "int64", (), elements=chosen)
    shape = (*x.sizes[:axis], *indices.sizes, *x.sizes[axis + 1 :])
    indices = from_front(context, indices, context.dim(x, axis))
    if x.dtype == "bool":
        wide = context.cast(x, "int32")
        found = context.emit("Gather", wide, indices, axis, 0, dtype="int32", shape=shape)
        return context.cast(found, "bool")
    return context.emit("Gather", x, indices, axis, 0, dtype=x.dtype, shape=shape)


@operator("GatherElements", since=(11, 13))
def gather_elements(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__GatherElements.html."""
    x, indices = node[0], node[1]
    axis = node.axis(x.rank)
    indices = from_front(context, indices, context.dim(x, axis))
    for other in range(x.rank):
        # GatherD wants equal sizes elsewhere; ONNX lets the indices cover less.
        same = x.sizes[other] is not None and x.sizes[other] == indices.sizes[other]
        if other != axis and not same:
            x = context.slice(x, other, 0, context.dim(indices, other))
    return context.emit("GatherD", x, axis, indices, dtype=x.dtype, shape=indices.shape)


@operator("GatherND", since=(11, 12, 13))
def gather_nd(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__GatherND.html: batch dimensions are spelt out."""
    x, indices, batch = node[0], node[1], int(node.attributes.get("batch_dims", 0))
    if batch:
        inner = context.dims(indices)[:-1]
        before = [_coordinate(context, indices, axis, inner) for axis in range(batch)]
        columns = [context.unsqueeze(item, (item.rank,)) for item in before]
        indices = context.concat([*columns, indices], -1)
    depth, indices = _nd_indices(context, x, indices)
    shape = (*indices.sizes[:-1], *x.sizes[depth:])
    return context.emit("GatherNd", x, indices, dtype=x.dtype, shape=shape)


def _nd_indices(context: Context, x: Value, indices: Value) -> tuple[int, Value]:
    depth = indices.sizes[-1]
    if not isinstance(depth, int):
        raise UnsupportedError("the length of an index is not known before the model runs")
    array = indices.constant
    if array is not None and (array >= 0).all():
        return depth, constant(indices.name, array)
    sizes = context.dims(x)[:depth]
    whole = Value(indices.name, "int64", (depth,), elements=sizes)
    wide = context.cast(whole, indices.dtype)
    negative = binary(context, "Less", indices, context.like(0, indices), "bool")
    return depth, select(context, negative, binary(context, "Add", indices, wide), indices)


def _coordinate(context: Context, indices: Value, axis: int, sizes: Sequence[Element]) -> Value:
    """Returns for each index where it stands in its own dimension ``axis``."""
    shape = (indices.sizes[axis],)
    place = context.emit("Range", 0, sizes[axis], 1, dtype="int64", shape=shape)
    column = context.reshape(place, (-1, *(1,) * (len(sizes) - 1 - axis)))
    return context.cast(context.expand(column, sizes), indices.dtype)


@operator("ScatterND", since=(11, 13, 16, 18))
def scatter_nd(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ScatterND.html."""
    x, indices, updates = node[0], node[1], node[2]
    kind = _REDUCTIONS[str(node.attributes.get("reduction", "none"))]
    _, indices = _nd_indices(context, x, indices)
    return context.emit(f"TensorScatter{kind}", x, indices, updates, dtype=x.dtype, shape=x.shape)


_REDUCTIONS = {"none": "Update", "add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def _scatter_elements(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ScatterElements.html: or as a ScatterND."""
    x, indices, updates = node[0], node[1], node[2]
    codes = {"none": 0, "add": 1}
    reduction = str(node.attributes.get("reduction", "none"))
    axis = node.axis(x.rank)
    indices = from_front(context, indices, context.dim(x, axis))
    if reduction not in codes:
        sizes = context.dims(indices)
        places = [
            indices if other == axis else _coordinate(context, indices, other, sizes)
            for other in range(x.rank)
        ]
        columns = [context.reshape(item, (-1, 1)) for item in places]
        whole, flat = context.concat(columns, 1), context.reshape(updates, (-1,))
        name = f"TensorScatter{_REDUCTIONS[reduction]}"
        return context.emit(name, x, whole, flat, dtype=x.dtype, shape=x.shape)
    return context.emit(
        "TensorScatterElements",
        x,
        indices,
        updates,
        axis,
        codes[reduction],
        dtype=x.dtype,
        shape=x.shape,
    )


operator("ScatterElements", since=(11, 13, 16, 18))(_scatter_elements)
operator("Scatter", since=9)(_scatter_elements)


@operator("OneHot", since=(9, 11, 28))
def one_hot(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__OneHot.html: an index beside the range gives all off."""
    indices, values = node[0], node[2]
    depth = context.cast(context.reshape(node[1], ()), "int64")
    axis = int(node.attributes["axis"])
    axis = axis + indices.rank + 1 if axis < 0 else axis
    whole = context.cast(indices, "int64")
    # -depth..-1 count from the end.
    whole = select(
        context,
        binary(context, "Less", whole, context.like(0, whole), "bool"),
        binary(context, "Add", whole, depth),
        whole,
    )
    (size,) = context.elements(depth)
    numbers = context.emit("Range", 0, size, 1, dtype="int64", shape=known((size,)))
    numbers = context.reshape(numbers, (-1, *(1,) * (indices.rank - axis)))
    hit = binary(context, "Equal", context.unsqueeze(whole, (axis,)), numbers, "bool")
    off, on = (
        context.reshape(context.slice(values, 0, index, index + 1), (1,)) for index in (0, 1)
    )
    return select(context, hit, on, off)


@operator("TopK", since=(10, 11, 24))
def top_k(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__TopK.html: along the last dimension."""
    x, axis = node[0], node.axis(node[0].rank)
    (count,) = context.elements(node[1])
    smallest = not node.attributes.get("largest", 1)
    x = _turned(context, x) if smallest else x
    order = [other for other in range(x.rank) if other != axis] + [axis]
    moved = context.transpose(x, order)
    shape = (*moved.sizes[:-1], *known((count,)))
    results = [(x.dtype, shape), ("int32", shape)]
    values, indices = context.emit_many("TopK", moved, count, sorted=True, results=results)
    back = [order.index(other) for other in range(x.rank)]
    values = context.transpose(values, back)
    values = _turned(context, values) if smallest else values
    return [values, context.cast(context.transpose(indices, back), "int64")]


def _turned(context: Context, x: Value) -> Value:
    """Turns the order of numbers round; of integers by their bits, which cannot overflow."""
    if not x.floating:
        return inverted(context, x)
    return context.emit("Neg", x, dtype=x.dtype, shape=x.shape)


@operator("NonZero", since=(9, 13))
def non_zero(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__NonZero.html: coordinates by column."""
    x = node[0]
    rows = context.emit("NonZero", x, dtype="int64", shape=(None, x.rank))
    return context.transpose(rows, (1, 0))
