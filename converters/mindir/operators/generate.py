"""Tensors made of nothing but sizes and bounds."""

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Element, Value
from ascend_migrate.pipeline.dtypes import BY_ONNX
from ascend_migrate.pipeline.mindir_format import TYPE_IDS


@operator("Range", since=(11, 27))
def range_(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Range.html: start + i * delta, below limit."""
    start, limit, delta = node[0], node[1], node[2]
    if not start.floating:
        bounds = [context.elements(item)[0] for item in (start, limit, delta)]
        count = known(bounds)[1] if bounds[0] == 0 and bounds[2] == 1 else None
        numbers = context.emit("Range", *bounds, dtype="int64", shape=(count,))
        return context.cast(numbers, start.dtype)
    dtype = "float64" if start.dtype == "float64" else "float32"
    first, last, step = (context.cast(item, dtype) for item in (start, limit, delta))
    span = binary(context, "RealDiv", binary(context, "Sub", last, first), step)
    whole = context.emit("Ceil", span, dtype=dtype, shape=span.shape)
    (size,) = context.elements(context.reshape(context.cast(whole, "int64"), ()))
    index = context.emit(
        "Range", 0, context.arithmetic("Max", size, 0), 1, dtype="int64", shape=(None,)
    )
    steps = binary(context, "Mul", context.cast(index, dtype), step)
    return context.cast(binary(context, "Add", steps, first), start.dtype)


@operator("EyeLike", since=(9, 22))
def eye_like(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__EyeLike.html: another diagonal is a part of a larger."""
    x, offset = node[0], int(node.attributes["k"])
    code = node.attributes.get("dtype")
    dtype = x.dtype if code is None else BY_ONNX[code].name
    rows, columns = context.dims(x)
    if not isinstance(rows, int) or not isinstance(columns, int):
        # Eye wants sizes that are known.
        below = binary(context, "Add", _numbers(context, rows), context.constant(offset, "int64"))
        hit = binary(
            context, "Equal", _numbers(context, columns), context.unsqueeze(below, (1,)), "bool"
        )
        return context.cast(hit, dtype)
    shape = (rows + max(offset, 0), columns + max(-offset, 0))
    eye = context.emit("Eye", *shape, TYPE_IDS[dtype], dtype=dtype, shape=shape)
    if offset > 0:
        return context.slice(eye, 0, offset, shape[0])
    return context.slice(eye, 1, -offset, shape[1]) if offset else eye


def _numbers(context: Context, size: Element) -> Value:
    return context.emit("Range", 0, size, 1, dtype="int64", shape=known((size,)))
