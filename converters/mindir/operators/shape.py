"""Operators that move elements without computing: shapes, slices, joins, padding."""

import numpy as np
from onnx import numpy_helper

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.logic import select
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import (
    Element,
    Scalar,
    UnsupportedError,
    Value,
    constant,
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
    x = node[0]
    target = list(context.elements(node[1]))
    if not node.attributes.get("allowzero"):
        target = [context.dim(x, i) if item == 0 else item for i, item in enumerate(target)]
    if x.elements is not None and len(target) <= 1:
        # A vector of sizes stays one; its elements are not moved.
        return Value(node.name, "int64", (len(x.elements),) * len(target), elements=x.elements)
    return context.reshape(x, target)


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
    x, axes = node[0], node.integers(1, "axes")
    if axes is None:
        axes = tuple(axis for axis, item in enumerate(x.sizes) if item == 1)
    if x.elements is not None and len(x.elements) == 1:
        return Value(node.name, "int64", (), elements=x.elements)
    return context.squeeze(x, axes)


@operator("Unsqueeze", since=(1, 11, 13, 21, 23, 24, 25))
def unsqueeze(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Unsqueeze.html."""
    x, axes = node[0], node.integers(1, "axes")
    if axes is None:
        raise UnsupportedError("axes are missing")
    if x.elements is not None and x.shape == () and len(axes) == 1:
        return Value(node.name, "int64", (1,), elements=x.elements)
    return context.unsqueeze(x, axes)


@operator("Concat", since=(4, 11, 13))
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
    return context.concat(filled, int(node.attributes["axis"]))


@operator("Split", since=(2, 11, 13, 18))
def split(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Split.html: the last part may be smaller."""
    x, axis = node[0], node.axis(node[0].rank)
    sizes, whole, count = node.integers(1, "split"), x.sizes[axis], len(node.outputs)
    if sizes is None:
        if not isinstance(whole, int):
            return _equal_parts(context, x, axis, count)
        part = -(-whole // count)
        sizes = tuple(min(part, max(0, whole - part * index)) for index in range(count))
    if x.elements is not None:
        bounds = np.cumsum((0, *sizes))
        return [vector(node, x.elements[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    if len(set(sizes)) == 1 and whole == sum(sizes):
        shape = (*x.sizes[:axis], sizes[0], *x.sizes[axis + 1 :])
        results = [(x.dtype, shape)] * count
        return list(context.emit_many("Split", x, axis, count, results=results))
    starts = [sum(sizes[:index]) for index in range(count)]
    return [
        context.slice(x, axis, start, start + width)
        for start, width in zip(starts, sizes, strict=True)
    ]


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
        starts, ends = context.elements(node[1]), context.elements(node[2])
        axes = node.integers(3, "axes") or tuple(range(len(starts)))
        steps = node.integers(4, "steps") or (1,) * len(starts)
    if x.elements is not None and x.rank == 1 and all(_fixed(v) for v in (*starts, *ends)):
        return vector(node, x.elements[slice(*map(_number, (starts[0], ends[0], steps[0])))])
    return _slice(context, x, axes, list(zip(starts, ends, steps, strict=True)))


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
    axes: tuple[int, ...],
    ranges: list[tuple[Element, Element, int]],
) -> Value:
    rank = x.rank
    begin: list[Element] = [0] * rank
    end: list[Element] = [1] * rank
    step = [1] * rank
    whole = set(range(rank))
    shape = list(x.sizes)
    for raw, (start, stop, stride) in zip(axes, ranges, strict=True):
        axis = raw % rank
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
        raise UnsupportedError(
            f"a negative step on dimension {axis}, whose size is dynamic; fix it with --input"
        )
    return context.emit("ReverseV2", x, (axis,), dtype=x.dtype, shape=x.shape)


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


@operator("Range", since=11)
def range_(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Range.html."""
    start, limit, step = node[0], node[1], node[2]
    if start.dtype != "int64":
        raise UnsupportedError(f"bounds of type {start.dtype} computed when the model runs")
    (first,), (last,), (delta,) = (context.elements(item) for item in (start, limit, step))
    size = known((last,))[0] if first == 0 and delta == 1 else None
    return context.emit("Range", first, last, delta, dtype="int64", shape=(size,))


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


@operator("Pad", since=(2, 11, 13, 18, 19, 21, 23, 24, 25))
def pad(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Pad.html: negative pads cut."""
    x = node[0]
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
    # MindSpore pads at most the last three dimensions this way, and only below a batch.
    touched = [axis for axis, pair in enumerate(pairs) if any(pair)]
    first = touched[0]
    if x.rank - first > x.rank - 2 + (x.rank <= 1):
        raise UnsupportedError(f"mode {mode} on dimension {first} of {x.rank}")
    spatial = pairs[2:] if x.rank > 2 else pairs[1:]  # noqa: PLR2004 - batch and channel
    flat = tuple(n for pair in reversed(spatial) for n in pair)
    return context.emit("PadV3", x, flat, None, mode=modes[mode], dtype=x.dtype, shape=shape)
