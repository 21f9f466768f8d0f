"""Normalisation: over batches, instances, layers and vectors, and by softmax."""

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.operators.nn import NCHW
from ascend_migrate.converters.mindir.operators.reduce import reduce_axes
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, static
from ascend_migrate.pipeline.dtypes import BY_ONNX


@operator("BatchNormalization", since=(1, 6, 7, 9, 14, 15))
def batch_normalization(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__BatchNormalization.html: inference only."""
    x = node[0]
    _at_inference(node)
    if node.wants(1):
        raise UnsupportedError("the statistics of a batch; export the model in eval mode")
    if not node.attributes.get("spatial", 1):
        return _normal_by_element(context, node)
    # The primitive takes images or rows of channels.
    image = x
    if x.rank == 3:  # noqa: PLR2004
        image = context.unsqueeze(x, (3,))
    elif x.rank > 4:  # noqa: PLR2004
        image = context.reshape(x, (*context.dims(x)[:3], -1))
    channels = (node[1].sizes[0],)
    results = [(x.dtype, image.shape)] + [(x.dtype, channels)] * 4
    normal = context.emit_many(
        "BatchNorm",
        image,
        *(node[index] for index in range(1, 5)),
        False,
        float(node.attributes["epsilon"]),
        0.1,
        NCHW,
        results=results,
    )[0]
    if x.rank == 3:  # noqa: PLR2004
        return context.squeeze(normal, (3,))
    return normal if image is x else context.reshape(normal, context.dims(x))


def _at_inference(node: Node) -> None:
    """Refuses a node that trains, which old versions do unless told not to."""
    if node.attributes.get("training_mode"):
        raise UnsupportedError("training_mode=1; export the model in eval mode")
    if not node.attributes.get("is_test", 1):
        raise UnsupportedError("is_test=0; export the model in eval mode")


def _normal_by_element(context: Context, node: Node) -> Value:
    """Normalises with statistics of each element, not of each channel (up to opset 8)."""
    x, scale, bias, mean, variance = (node[index] for index in range(5))
    epsilon = context.like(node.attributes["epsilon"], variance)
    shifted = binary(context, "Add", variance, epsilon)
    inverse = context.emit("Rsqrt", shifted, dtype=x.dtype, shape=shifted.shape)
    center = binary(context, "Mul", binary(context, "Sub", x, mean), inverse)
    return binary(context, "Add", binary(context, "Mul", center, scale), bias)


@operator("InstanceNormalization", since=(1, 6, 22))
def instance_normalization(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html."""
    x = node[0]
    normal = _normal(context, x, tuple(range(2, x.rank)), float(node.attributes["epsilon"]))
    column = (-1, *(1,) * (x.rank - 2))
    scaled = binary(context, "Mul", normal, context.reshape(node[1], column))
    return binary(context, "Add", scaled, context.reshape(node[2], column))


def _normal(context: Context, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    center = binary(context, "Sub", x, reduce_axes(context, "ReduceMean", x, axes, keep=True))
    square = context.emit("Square", center, dtype=x.dtype, shape=x.shape)
    variance = reduce_axes(context, "ReduceMean", square, axes, keep=True)
    shifted = binary(context, "Add", variance, context.like(epsilon, x))
    scale = context.emit("Rsqrt", shifted, dtype=x.dtype, shape=shifted.shape)
    return binary(context, "Mul", center, scale)


@operator("LayerNormalization", since=17)
def layer_normalization(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__LayerNormalization.html."""
    x, scale, bias = node[0], node[1], node.optional(2)
    axis = node.axis(x.rank)
    epsilon = float(node.attributes["epsilon"])
    statistics = (
        _statistics(context, node, _from(axis, x)) if node.wants(1) or node.wants(2) else ()
    )
    if scale.shape != x.sizes[axis:] or (bias is not None and bias.shape != scale.shape):
        result = binary(context, "Mul", _normal(context, x, _from(axis, x), epsilon), scale)
        return [result if bias is None else binary(context, "Add", result, bias), *statistics]
    if bias is None:
        bias = context.constant(np.zeros(static(scale.sizes, "the scale")), x.dtype)
    rows = (*x.sizes[:axis], *(1,) * (x.rank - axis))
    results = [(x.dtype, x.shape), ("float32", rows), ("float32", rows)]
    found = context.emit_many("LayerNorm", x, scale, bias, axis, axis, epsilon, results=results)
    return [found[0], *statistics]


def _statistics(context: Context, node: Node, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """Returns the mean and the inverse deviation; MindSpore's own are kept otherwise."""
    x = context.cast(node[0], BY_ONNX[int(node.attributes["stash_type"])].name)
    mean = reduce_axes(context, "ReduceMean", x, axes, keep=True)
    square = binary(context, "Sub", x, mean)
    square = context.emit("Square", square, dtype=x.dtype, shape=x.shape)
    variance = reduce_axes(context, "ReduceMean", square, axes, keep=True)
    shifted = binary(context, "Add", variance, context.like(node.attributes["epsilon"], x))
    inverse = context.emit("Rsqrt", shifted, dtype=x.dtype, shape=shifted.shape)
    return mean, inverse


def _from(axis: int, x: Value) -> tuple[int, ...]:
    return tuple(range(axis, x.rank))


@operator("LpNormalization", since=(1, 22))
def lp_normalization(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__LpNormalization.html."""
    x, axis = node[0], node.axis(node[0].rank)
    one = node.attributes["p"] == 1
    parts = context.emit("Abs" if one else "Square", x, dtype=x.dtype, shape=x.shape)
    total = reduce_axes(context, "ReduceSum", parts, (axis,), keep=True)
    if not one:
        total = context.emit("Sqrt", total, dtype=x.dtype, shape=total.shape)
    # A vector of zeros stays one.
    return binary(context, "DivNoNan", x, total)


@operator("Softmax", since=13)
def softmax(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Softmax.html: a row of -inf becomes one of NaN.

    MindSpore's float32 kernel for the CPU gives zeros for such a row, and for all after it, but not
    for one that is NaN already. So where a mask may cover a row, the covered ones are made NaN.
    """
    x, axes = node[0], (node.axis(node[0].rank),)
    if x.masked and x.dtype == "float32":
        top = reduce_axes(context, "ReduceMax", x, axes, keep=True)
        covered = binary(context, "Equal", top, context.like(-np.inf, x), "bool")
        spoilt = select(context, covered, context.like(np.nan, x), context.like(0, x))
        x = binary(context, "Add", x, spoilt)
    return context.emit("Softmax", x, axes, dtype=x.dtype, shape=x.shape)


@operator("LogSoftmax", since=13)
def log_softmax(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__LogSoftmax.html."""
    x = node[0]
    return context.emit("LogSoftmax", x, node.axis(x.rank), dtype=x.dtype, shape=x.shape)


@operator("Dropout", since=(1, 6, 7, 10, 12, 13, 22))
def dropout(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Dropout.html: nothing is dropped at inference."""
    _at_inference(node)
    training = node.optional(2)
    if training is not None and (training.constant is None or bool(training.constant)):
        raise UnsupportedError("training_mode is not false; export the model in eval mode")
    if not node.wants(1):
        return [node[0]]
    one = context.constant(True, "bool")
    return [node[0], context.expand(one, context.dims(node[0]))]
