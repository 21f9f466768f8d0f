"""Matrix products, convolutions, normalisation, softmax."""

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.reduce import reduce_axes
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import (
    Element,
    Shape,
    UnsupportedError,
    Value,
    broadcast,
    static,
)

NCHW = 0
"""MindSpore's enum of data formats."""


@operator("MatMul", since=(1, 9, 13))
def matmul(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__MatMul.html: numpy's rules, vectors included."""
    a, b = node[0], node[1]
    vectors = [axis for axis, value in ((-2, a), (-1, b)) if value.rank == 1]
    a = context.unsqueeze(a, (0,)) if a.rank == 1 else a
    b = context.unsqueeze(b, (1,)) if b.rank == 1 else b
    product = matrices(context, a, b)
    return context.squeeze(product, vectors)


def matrices(context: Context, a: Value, b: Value) -> Value:
    """Multiplies stacks of matrices."""
    if b.rank == 2:  # noqa: PLR2004 - one matrix for all
        return _by_one_matrix(context, a, b)
    if a.shape is not None and a.rank == 2:  # noqa: PLR2004
        a = context.unsqueeze(a, tuple(range(b.rank - 2)))
    rank = max(a.rank, b.rank)
    a = context.unsqueeze(a, tuple(range(rank - a.rank)))
    b = context.unsqueeze(b, tuple(range(rank - b.rank)))
    # BatchMatMul does not broadcast a size of 1 against a dynamic one: made equal first.
    batch = tuple(_batch_size(context, a, b, axis) for axis in range(rank - 2))
    a, b = (_stretch(context, value, batch) for value in (a, b))
    shape: Shape = (*(broadcast(a.sizes[:-2], b.sizes[:-2]) or ()), a.sizes[-2], b.sizes[-1])
    return context.emit("BatchMatMul", a, b, dtype=a.dtype, shape=shape)


def _batch_size(context: Context, a: Value, b: Value, axis: int) -> Element:
    left, right = a.sizes[axis], b.sizes[axis]
    if right == 1 or (left is not None and left == right):
        return context.dim(a, axis)
    if left == 1 or isinstance(right, int):
        return context.dim(b, axis)
    if isinstance(left, int):
        return left
    return context.arithmetic("Max", context.dim(a, axis), context.dim(b, axis))


def _stretch(context: Context, value: Value, batch: tuple[Element, ...]) -> Value:
    wanted = tuple(e if isinstance(e, int) else e.symbol for e in batch)
    if all(
        have is not None and have == want for have, want in zip(value.sizes, wanted, strict=False)
    ):
        return value
    return context.expand(value, (*batch, *context.dims(value)[-2:]))


def _by_one_matrix(context: Context, a: Value, b: Value) -> Value:
    shape = (*a.sizes[:-1], b.sizes[-1])
    if a.rank == 2:  # noqa: PLR2004
        return context.emit("MatMul", a, b, dtype=a.dtype, shape=shape)
    inner = a.sizes[-1] if isinstance(a.sizes[-1], int) else b.sizes[0]
    flat = context.reshape(a, (-1, inner if isinstance(inner, int) else context.dim(a, -1)))
    rows = flat.sizes[0]
    product = context.emit("MatMul", flat, b, dtype=a.dtype, shape=(rows, b.sizes[-1]))
    return context.reshape(product, (*context.dims(a)[:-1], context.dim(b, -1)))


@operator("Gemm", since=(7, 9, 11, 13))
def gemm(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Gemm.html: alpha * A @ B + beta * C."""
    a, b, c = node[0], node[1], node.optional(2)
    turn_a, turn_b = bool(node.attributes["transA"]), bool(node.attributes["transB"])
    rows, columns = a.sizes[1 if turn_a else 0], b.sizes[0 if turn_b else 1]
    result = context.emit("MatMul", a, b, turn_a, turn_b, dtype=a.dtype, shape=(rows, columns))
    result = _scaled(context, result, node.attributes["alpha"])
    if c is None:
        return result
    return binary(context, "Add", result, _scaled(context, c, node.attributes["beta"]))


def _scaled(context: Context, value: Value, factor: float) -> Value:
    return value if factor == 1 else binary(context, "Mul", value, context.like(factor, value))


def window_pads(
    node: Node,
    sizes: Shape,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """Returns the padding before and after each spatial dimension, from pads or auto_pad."""
    rank = len(kernel)
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return ((0, 0),) * rank
    if auto == "NOTSET":
        pads = tuple(node.attributes.get("pads") or (0,) * (2 * rank))
        return tuple(zip(pads[:rank], pads[rank:], strict=True))
    pairs = []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        span = (width - 1) * dilation
        if stride == 1:
            total = span  # whatever the size
        else:
            (known,) = static((size,), f"the input of a window with auto_pad={auto}")
            total = max((-(-known // stride) - 1) * stride + span + 1 - known, 0)
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return tuple(pairs)


def _window(node: Node, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ones = (1,) * len(kernel)
    strides = tuple(node.attributes.get("strides") or ones)
    return strides, tuple(node.attributes.get("dilations") or ones)


def _bias(context: Context, result: Value, bias: Value | None) -> Value:
    if bias is None:
        return result
    if result.rank == 4:  # noqa: PLR2004 - BiasAdd is what Ascend fuses into a convolution
        return context.emit("BiasAdd", result, bias, NCHW, dtype=result.dtype, shape=result.shape)
    column = context.reshape(bias, (-1, *(1,) * (result.rank - 2)))
    return binary(context, "Add", result, column)


@operator("Conv", since=(1, 11, 22))
def conv(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Conv.html: one to three spatial dimensions."""
    x, w = node[0], node[1]
    kernel = static(w.sizes[2:], "the convolution's weight")
    strides, dilations = _window(node, kernel)
    pads = window_pads(node, x.sizes[2:], kernel, strides, dilations)
    if len(kernel) == 1:
        # MindSpore convolves images: a signal is an image of height 1.
        x, w = context.unsqueeze(x, (2,)), context.unsqueeze(w, (2,))
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        pads = ((0, 0), *pads)
        image = _conv(context, node, (x, w), (kernel, strides, dilations), pads)
        return context.squeeze(_bias(context, image, node.optional(2)), (2,))
    result = _conv(context, node, (x, w), (kernel, strides, dilations), pads)
    return _bias(context, result, node.optional(2))


_Windows = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _conv(
    context: Context,
    node: Node,
    tensors: tuple[Value, Value],
    windows: _Windows,
    pads: tuple[tuple[int, int], ...],
) -> Value:
    x, w = tensors
    kernel, strides, dilations = windows
    channels, group = static(w.sizes[:1], "the convolution's weight")[0], node.attributes["group"]
    sizes = tuple(
        (s + sum(p) - d * (k - 1) - 1) // t + 1 if isinstance(s, int) else None
        for s, p, k, t, d in zip(x.sizes[2:], pads, kernel, strides, dilations, strict=True)
    )
    flat = tuple(n for pair in pads for n in pair)
    common = {"out_channel": channels, "kernel_size": kernel, "pad_mode": "pad", "pad": flat}
    common |= {"pad_list": flat, "group": group, "groups": group}
    shape = (x.sizes[0], channels, *sizes)
    if len(kernel) == 2:  # noqa: PLR2004
        common |= {"stride": (1, 1, *strides), "dilation": (1, 1, *dilations)}
        return context.emit("Conv2D", x, w, dtype=x.dtype, shape=shape, **common)
    if len(kernel) != 3:  # noqa: PLR2004
        raise UnsupportedError(f"{len(kernel)} spatial dimensions")
    common |= {"strides": (1, 1, *strides), "dilations": (1, 1, *dilations)}
    common |= {"stride": (1, 1, *strides), "dilation": (1, 1, *dilations)}
    return context.emit("Conv3D", x, w, dtype=x.dtype, shape=shape, **common)


@operator("ConvTranspose", since=(1, 11, 22))
def conv_transpose(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ConvTranspose.html: one or two spatial dimensions."""
    x, w = node[0], node[1]
    kernel = static(w.sizes[2:], "the convolution's weight")
    rank = len(kernel)
    if rank > 2:  # noqa: PLR2004
        raise UnsupportedError(f"{rank} spatial dimensions")
    strides, dilations = _window(node, kernel)
    extra = tuple(node.attributes.get("output_padding") or (0,) * rank)
    pads = _transpose_pads(node, x, (kernel, strides, dilations), extra)
    sizes: list[Element] = []
    for axis in range(rank):
        grown = context.arithmetic("Sub", context.dim(x, axis + 2), 1)
        grown = context.arithmetic("Mul", grown, strides[axis])
        rest = dilations[axis] * (kernel[axis] - 1) + 1 + extra[axis] - sum(pads[axis])
        sizes.append(context.arithmetic("Add", grown, rest))
    if rank == 1:
        x, w = context.unsqueeze(x, (2,)), context.unsqueeze(w, (2,))
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        pads, sizes = ((0, 0), *pads), [1, *sizes]
    result = _conv_transpose(context, node, (x, w), (kernel, strides, dilations), pads, sizes)
    result = _bias(context, result, node.optional(2))
    return context.squeeze(result, (2,)) if rank == 1 else result


def _conv_transpose(
    context: Context,
    node: Node,
    tensors: tuple[Value, Value],
    windows: _Windows,
    pads: tuple[tuple[int, int], ...],
    sizes: list[Element],
) -> Value:
    x, w = tensors
    kernel, strides, dilations = windows
    inner, outer = static(w.sizes[:2], "the convolution's weight")
    group = int(node.attributes["group"])
    flat = tuple(n for pair in pads for n in pair)
    output = (context.dim(x, 0), outer * group, *sizes)
    return context.emit(
        "Conv2DTranspose",
        x,
        w,
        output,
        dtype=x.dtype,
        shape=(x.sizes[0], outer * group, *(s if isinstance(s, int) else None for s in sizes)),
        out_channel=inner,
        kernel_size=kernel,
        pad_mode="PAD",
        pad=flat,
        pad_list=flat,
        stride=(1, 1, *strides),
        dilation=(1, 1, *dilations),
        group=group,
        groups=group,
    )


def _transpose_pads(
    node: Node, x: Value, windows: _Windows, extra: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    kernel, strides, dilations = windows
    wanted = node.attributes.get("output_shape")
    auto = node.attributes["auto_pad"]
    if wanted is None and auto in {"NOTSET", "VALID"}:
        return window_pads(node, x.sizes[2:], kernel, strides, dilations)
    sizes = static(x.sizes[2:], "the input of a ConvTranspose with output_shape or auto_pad")
    wanted = wanted or [size * stride for size, stride in zip(sizes, strides, strict=True)]
    pairs = []
    for i, size in enumerate(sizes):
        full = (size - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 + extra[i]
        total = max(full - wanted[len(wanted) - len(sizes) + i], 0)
        small, large = total // 2, total - total // 2
        pairs.append((large, small) if auto != "SAME_UPPER" else (small, large))
    return tuple(pairs)


@operator("BatchNormalization", since=(7, 9, 14, 15))
def batch_normalization(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__BatchNormalization.html: inference only."""
    x = node[0]
    if node.attributes.get("training_mode"):
        raise UnsupportedError("training_mode=1; export the model in eval mode")
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


@operator("InstanceNormalization", since=(6, 22))
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
def layer_normalization(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__LayerNormalization.html: the first output only."""
    x, scale, bias = node[0], node[1], node.optional(2)
    if node.wants(1) or node.wants(2):
        raise UnsupportedError("the mean or the inverse deviation is an output")
    axis = node.axis(x.rank)
    epsilon = float(node.attributes["epsilon"])
    if scale.shape != x.sizes[axis:] or (bias is not None and bias.shape != scale.shape):
        result = binary(context, "Mul", _normal(context, x, _from(axis, x), epsilon), scale)
        return result if bias is None else binary(context, "Add", result, bias)
    if bias is None:
        bias = context.constant(np.zeros(static(scale.sizes, "the scale")), x.dtype)
    rows = (*x.sizes[:axis], *(1,) * (x.rank - axis))
    results = [(x.dtype, x.shape), ("float32", rows), ("float32", rows)]
    found = context.emit_many("LayerNorm", x, scale, bias, axis, axis, epsilon, results=results)
    return found[0]


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
    return binary(context, "RealDiv", x, total)


@operator("Softmax", since=13)
def softmax(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Softmax.html."""
    x = node[0]
    return context.emit("Softmax", x, (node.axis(x.rank),), dtype=x.dtype, shape=x.shape)


@operator("LogSoftmax", since=13)
def log_softmax(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__LogSoftmax.html."""
    x = node[0]
    return context.emit("LogSoftmax", x, node.axis(x.rank), dtype=x.dtype, shape=x.shape)


@operator("Dropout", since=(7, 10, 12, 13, 22))
def dropout(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Dropout.html: nothing is dropped at inference."""
    training = node.optional(2)
    if training is not None and (training.constant is None or bool(training.constant)):
        raise UnsupportedError("training_mode is not false; export the model in eval mode")
    if not node.wants(1):
        return [node[0]]
    one = context.constant(True, "bool")
    return [node[0], context.expand(one, context.dims(node[0]))]
