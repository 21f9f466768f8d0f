"""Operators that change or compute shapes, repeat, join and generate."""

import numpy as np
from onnx import numpy_helper

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import (
    Element,
    UnsupportedError,
    Value,
    constant,
    static,
)


def vector(node: Node, elements: tuple[Element, ...]) -> Value:
    """Returns an int64 vector of sizes; a constant where all are known."""
    if all(isinstance(item, int) for item in elements):
        return constant(node.name, np.array(elements, np.int64))
    return Value(node.name, "int64", (len(elements),), elements=elements)


@operator("Shape", since=(1, 13, 15, 19, 21, 23, 24, 25))
def shape(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Shape.html."""
    axes = range(node[0].rank)[slice(node.attributes.get("start"), node.attributes.get("end"))]
    return vector(node, tuple(context.dim(node[0], axis) for axis in axes))


@operator("Size", since=(1, 13, 19, 21, 23, 24, 25))
def size(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Size.html."""
    total: Element = 1
    for item in context.dims(node[0]):
        total = context.arithmetic("Mul", total, item)
    return Value(node.name, "int64", (), elements=(total,))


@operator("Reshape", since=(5, 13, 14, 19, 21, 23, 24, 25))
def reshape(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Reshape.html: 0 copies a size unless allowzero."""
    x, wanted = node[0], node[1]
    if wanted.elements is None and not node.attributes.get("allowzero"):
        wanted = _copied(context, x, wanted)
    target = list(context.elements(wanted))
    if not node.attributes.get("allowzero"):
        target = [context.dim(x, i) if item == 0 else item for i, item in enumerate(target)]
    if x.elements is not None and len(target) <= 1:
        # A vector of sizes stays one; its elements are not moved.
        return Value(node.name, "int64", (len(x.elements),) * len(target), elements=x.elements)
    return context.reshape(x, target)


def _copied(context: Context, x: Value, wanted: Value) -> Value:
    """Puts the input's sizes where the model computes a 0."""
    (count,) = static(wanted.sizes, "the shape of a Reshape")
    sizes = (*context.dims(x), *(0,) * count)[:count]
    own = Value(wanted.name, "int64", (count,), elements=sizes)
    none = binary(context, "Equal", wanted, context.like(0, wanted), "bool")
    return select(context, none, own, wanted)


@operator("Flatten", since=(1, 9, 11, 13, 21, 23, 24, 25))
def flatten(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Flatten.html."""
    x, axis = node[0], int(node.attributes["axis"])
    axis = axis + x.rank if axis < 0 else axis
    rows: Element = 1
    for item in context.dims(x)[:axis]:
        rows = context.arithmetic("Mul", rows, item)
    if isinstance(rows, int) and rows:
        return context.reshape(x, (rows, -1))
    columns: Element = 1
    for item in context.dims(x)[axis:]:
        columns = context.arithmetic("Mul", columns, item)
    return context.reshape(x, (rows, columns))


@operator("Transpose", since=(1, 13, 21, 23, 24, 25))
def transpose(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Transpose.html: reverses by default."""
    order = node.attributes.get("perm") or tuple(range(node[0].rank))[::-1]
    return context.transpose(node[0], order)


@operator("Squeeze", since=(1, 11, 13, 21, 23, 24, 25))
def squeeze(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Squeeze.html."""
    x, given = node[0], node.optional(1)
    if given is not None and given.elements is None:
        numbers = context.elements(given)
        shape = (None,) * (x.rank - len(numbers))
        return context.emit("Squeeze", x, numbers, dtype=x.dtype, shape=shape)
    axes = node.integers(1, "axes")
    if axes is None:
        sizes = static(x.sizes, "the input of a Squeeze without axes")
        axes = tuple(axis for axis, item in enumerate(sizes) if item == 1)
    if x.elements is not None and len(x.elements) == 1:
        return Value(node.name, "int64", (), elements=x.elements)
    return context.squeeze(x, axes)


@operator("Unsqueeze", since=(1, 11, 13, 21, 23, 24, 25))
def unsqueeze(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Unsqueeze.html."""
    x, given = node[0], node.optional(1)
    if given is not None and given.elements is None:
        return _unsqueeze_at_run_time(context, x, given)
    axes = node.integers(1, "axes")
    if axes is None:
        raise UnsupportedError("axes are missing")
    if x.elements is not None and x.shape == () and len(axes) == 1:
        return Value(node.name, "int64", (1,), elements=x.elements)
    return context.unsqueeze(x, axes)


def _unsqueeze_at_run_time(context: Context, x: Value, axes: Value) -> Value:
    """Inserts dimensions in the order of the result, which the axes need not be in."""
    (count,) = static(axes.sizes, "the axes")
    rank = context.constant(x.rank + count, "int64")
    places = context.emit("FloorMod", axes, rank, dtype="int64", shape=(count,))
    results = [("int64", (count,)), ("int32", (count,))]
    ordered = context.emit_many("Sort", places, axis=-1, descending=False, results=results)[0]
    for place in context.elements(ordered):
        shape = (None,) * (x.rank + 1)
        x = context.emit("ExpandDims", x, place, dtype=x.dtype, shape=shape)
    return x


@operator("Concat", since=(1, 4, 11, 13))
def concat(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Concat.html."""
    values = [node[index] for index in range(len(node.inputs))]
    if all(value.elements is not None for value in values) and values[0].rank == 1:
        return vector(node, tuple(item for value in values for item in value.elements or ()))
    if values[0].dtype == "int64" and values[0].rank == 1 and any(v.elements for v in values):
        try:
            return vector(node, tuple(e for v in values for e in context.elements(v)))
        except UnsupportedError:
            # A part has an unknown number of elements: joined as a tensor.
            pass
    filled = [value for value in values if 0 not in (value.shape or ())] or values[:1]
    return context.concat(filled, int(node.attributes.get("axis", 1)))


@operator("Expand", since=(8, 13))
def expand(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Expand.html: broadcasts both ways."""
    x, target = node[0], context.elements(node[1])
    if len(target) < x.rank:
        target = (1,) * (x.rank - len(target)) + target
    offset = len(target) - x.rank
    sizes = tuple(
        item if axis < offset else _wider(context, x, axis - offset, item)
        for axis, item in enumerate(target)
    )
    return context.expand(x, sizes)


def _wider(context: Context, x: Value, axis: int, wanted: Element) -> Element:
    size = x.sizes[axis]
    if size == 1:
        return wanted
    if wanted == 1 or isinstance(size, int):
        return context.dim(x, axis)
    if isinstance(wanted, int) or (wanted.symbol is not None and wanted.symbol == size):
        return wanted
    return context.arithmetic("Max", wanted, context.dim(x, axis))


@operator("Tile", since=(6, 13))
def tile(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Tile.html."""
    x, repeats = node[0], context.elements(node[1])
    sizes = tuple(
        a * b if isinstance(a, int) and isinstance(b, int) else (a if b == 1 else None)
        for a, b in zip(x.sizes, repeats, strict=True)
    )
    if x.dtype == "bool":
        wide = context.cast(x, "int32")
        return context.cast(context.emit("Tile", wide, repeats, dtype="int32", shape=sizes), "bool")
    return context.emit("Tile", x, repeats, dtype=x.dtype, shape=sizes)


@operator("Identity", since=(1, 13, 14, 16, 19, 21, 23, 24, 25))
def identity(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Identity.html: nothing is emitted."""
    return node[0]


@operator("Constant", since=(1, 9, 11, 12, 13, 19, 21, 23, 24, 25))
def constant_node(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Constant.html."""
    found = node.attributes
    if "value" in found:
        return constant(node.name, np.array(numpy_helper.to_array(found["value"])))
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        for key in (name, f"{name}s"):
            if key in found:
                return constant(node.name, np.array(found[key], dtype))
    raise UnsupportedError("a sparse or string constant")


@operator("ConstantOfShape", since=(9, 20, 21, 23, 24, 25))
def constant_of_shape(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html: float32 zeros by default."""
    fill = np.zeros(1, np.float32)
    if "value" in node.attributes:
        fill = np.array(numpy_helper.to_array(node.attributes["value"]))
    target = context.elements(node[0])
    one = constant(node.name, fill.reshape((1,) * len(target)))
    return context.expand(one, target)


@operator("Trilu", since=14)
def trilu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Trilu.html: a mask made of row and column numbers."""
    x, k = node[0], node.optional(1)
    offset: Element = 0 if k is None else context.elements(k)[0]
    rows, columns = (_numbers(context, x, axis) for axis in (-2, -1))
    rows = context.unsqueeze(rows, (1,))
    distance = binary(context, "Sub", columns, rows)
    limit = Value(node.name, "int64", (), elements=(offset,))
    if isinstance(offset, int):
        limit = context.constant(offset, "int64")
    keep = binary(
        context,
        "GreaterEqual" if node.attributes["upper"] else "LessEqual",
        distance,
        limit,
        "bool",
    )
    if x.dtype == "bool":
        return binary(context, "LogicalAnd", x, keep, "bool")
    return select(context, keep, x, context.like(0, x))


def _numbers(context: Context, x: Value, axis: int) -> Value:
    size = context.dim(x, axis)
    if isinstance(size, int):
        return context.constant(np.arange(size), "int64")
    return context.emit("Range", 0, size, 1, dtype="int64", shape=(size.symbol,))
