"""Pooling over windows and over all of space."""

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.nn import NCHW, window_pads
from ascend_migrate.converters.mindir.operators.reduce import reduce_axes
from ascend_migrate.converters.mindir.operators.shape import pad_pairs
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Shape, UnsupportedError, Value

_VALID = 2
"""MindSpore's enum of padding modes."""

_Pairs = tuple[tuple[int, int], ...]


@operator("GlobalAveragePool", since=(1, 22))
def global_average_pool(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html."""
    axes = tuple(range(2, node[0].rank))
    return reduce_axes(context, "ReduceMean", node[0], axes, keep=True)


@operator("GlobalMaxPool", since=(1, 22))
def global_max_pool(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html."""
    axes = tuple(range(2, node[0].rank))
    return reduce_axes(context, "ReduceMax", node[0], axes, keep=True)


@operator("MaxPool", since=(1, 8, 10, 11, 12, 22))
def max_pool(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__MaxPool.html: padding never wins."""
    if node.wants(1):
        raise UnsupportedError("the indices are an output")
    x, kernel, strides, pads = _window(context, node)
    if any(d != 1 for d in node.attributes.get("dilations") or ()):
        raise UnsupportedError("dilations other than 1")
    lowest = context.like(float("-inf"), x)
    x = pad_pairs(context, x, [(0, 0), (0, 0), *pads], value=lowest)
    shape = _pooled(x, kernel, strides)
    if len(kernel) == 3:  # noqa: PLR2004
        result = context.emit(
            "MaxPool3D",
            x,
            kernel_size=(1, 1, *kernel),
            strides=(1, 1, *strides),
            pad_mode="VALID",
            dtype=x.dtype,
            shape=shape,
        )
    else:
        result = context.emit(
            "MaxPool",
            x,
            kernel_size=(1, 1, *kernel),
            strides=(1, 1, *strides),
            pad_mode="VALID",
            dtype=x.dtype,
            shape=shape,
        )
    return context.squeeze(result, (2,)) if node[0].rank == 3 else result  # noqa: PLR2004


@operator("AveragePool", since=(1, 7, 10, 11, 19, 22))
def average_pool(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__AveragePool.html: padding may count or not."""
    if any(d != 1 for d in node.attributes.get("dilations") or ()):
        raise UnsupportedError("dilations other than 1")
    x, kernel, strides, pads = _window(context, node)
    if len(kernel) != 2:  # noqa: PLR2004
        raise UnsupportedError(f"{len(kernel)} spatial dimensions")
    padded = any(n for pair in pads for n in pair)
    counted = bool(node.attributes.get("count_include_pad"))
    if padded and node.attributes.get("ceil_mode"):
        raise UnsupportedError("ceil_mode=1 together with padding")
    if padded:
        whole = pad_pairs(context, x, [(0, 0), (0, 0), *pads])
        result = _average(context, whole, kernel, strides)
        if not counted:
            one = context.expand(context.like(1, x), (1, 1, *context.dims(x)[2:]))
            share = pad_pairs(context, one, [(0, 0), (0, 0), *pads])
            share = _average(context, share, kernel, strides)
            result = context.emit("RealDiv", result, share, dtype=x.dtype, shape=result.shape)
    else:
        result = _average(context, x, kernel, strides)
    return context.squeeze(result, (2,)) if node[0].rank == 3 else result  # noqa: PLR2004


def _average(
    context: Context, x: Value, kernel: tuple[int, ...], strides: tuple[int, ...]
) -> Value:
    shape = _pooled(x, kernel, strides)
    return context.emit("AvgPool", x, kernel, strides, _VALID, NCHW, dtype=x.dtype, shape=shape)


def _window(context: Context, node: Node) -> tuple[Value, tuple[int, ...], tuple[int, ...], _Pairs]:
    """Returns the input, with a signal made an image of height 1, and the windows."""
    x, kernel = node[0], tuple(node.attributes["kernel_shape"])
    ones = (1,) * len(kernel)
    strides = tuple(node.attributes.get("strides") or ones)
    pads = window_pads(node, x.sizes[2:], kernel, strides, ones)
    if node.attributes.get("ceil_mode"):
        pads = _ceil(x.sizes[2:], kernel, strides, pads)
    if len(kernel) == 1:
        x, kernel, strides = context.unsqueeze(x, (2,)), (1, *kernel), (1, *strides)
        pads = ((0, 0), *pads)
    return x, kernel, strides, pads


def _ceil(sizes: Shape, kernel: tuple[int, ...], strides: tuple[int, ...], pads: _Pairs) -> _Pairs:
    """Adds the padding behind that makes the last, partial window a whole one."""
    found = []
    for size, width, stride, (before, after) in zip(sizes, kernel, strides, pads, strict=True):
        if not isinstance(size, int):
            raise UnsupportedError(
                f"ceil_mode=1 over a dimension ({size or 'unknown'}) that must have a fixed size"
            )
        span = size + before + after - width
        count = -(-span // stride)
        # A window must begin within the input or the padding before it.
        if count * stride >= size + before:
            count -= 1
        found.append((before, after + max(count * stride - span, 0)))
    return tuple(found)


def _pooled(x: Value, kernel: tuple[int, ...], strides: tuple[int, ...]) -> Shape:
    sizes = tuple(
        (size - width) // stride + 1 if isinstance(size, int) else None
        for size, width, stride in zip(x.sizes[2:], kernel, strides, strict=True)
    )
    return (*x.sizes[:2], *sizes)
