"""Matrix products and convolutions."""

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary
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


@operator("Gemm", since=(1, 6, 7, 9, 11, 13))
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
    """https://onnx.ai/onnx/operators/onnx__ConvTranspose.html: one to three spatial dimensions."""
    x, w = node[0], node[1]
    kernel = static(w.sizes[2:], "the convolution's weight")
    rank = len(kernel)
    if rank > 3:  # noqa: PLR2004
        raise UnsupportedError(f"{rank} spatial dimensions")
    strides, dilations = _window(node, kernel)
    pads, extra = _transpose_pads(node, x, (kernel, strides, dilations))
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
    if len(kernel) == 3:  # noqa: PLR2004
        return _conv_transpose_3d(context, node, tensors, windows, flat, sizes)
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


def _conv_transpose_3d(
    context: Context,
    node: Node,
    tensors: tuple[Value, Value],
    windows: _Windows,
    pads: tuple[int, ...],
    sizes: list[Element],
) -> Value:
    x, w = tensors
    kernel, strides, dilations = windows
    channels = static(w.sizes[:2], "the convolution's weight")
    group = int(node.attributes["group"])
    whole = [
        (size - 1) * stride + (width - 1) * dilation + 1 - pads[2 * i] - pads[2 * i + 1]
        for i, (size, stride, width, dilation) in enumerate(
            zip(static(x.sizes[2:], "the input"), strides, kernel, dilations, strict=True)
        )
    ]
    wanted = static(known(sizes), "the result")
    extra = tuple(a - b for a, b in zip(wanted, whole, strict=True))
    attributes = {"stride": (1, 1, *strides), "dilation": (1, 1, *dilations)}
    attributes |= {f"{name}s": value for name, value in attributes.items()}
    return context.emit(
        "Conv3DTranspose",
        x,
        w,
        dtype=x.dtype,
        shape=(x.sizes[0], channels[1] * group, *known(sizes)),
        in_channel=channels[0],
        out_channel=channels[1] * group,
        kernel_size=kernel,
        pad_mode="pad",
        pad=pads,
        pad_list=pads,
        output_padding=(0, 0, *extra),
        group=group,
        groups=group,
        **attributes,
    )


def _transpose_pads(
    node: Node, x: Value, windows: _Windows
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Returns what is cut before and after each dimension, and what is added behind it."""
    kernel, strides, dilations = windows
    extra = tuple(node.attributes.get("output_padding") or (0,) * len(kernel))
    wanted = node.attributes.get("output_shape")
    auto = node.attributes["auto_pad"]
    if wanted is None and auto in {"NOTSET", "VALID"}:
        return window_pads(node, x.sizes[2:], kernel, strides, dilations), extra
    sizes = static(x.sizes[2:], "the input of a ConvTranspose with output_shape or auto_pad")
    wanted = wanted or [size * stride for size, stride in zip(sizes, strides, strict=True)]
    pairs, added = [], []
    for i, size in enumerate(sizes):
        full = (size - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 + extra[i]
        total = full - wanted[len(wanted) - len(sizes) + i]
        small, large = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        pairs.append((large, small) if auto != "SAME_UPPER" else (small, large))
        added.append(extra[i] + max(-total, 0))
    return tuple(pairs), tuple(added)
