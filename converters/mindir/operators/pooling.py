"""Pooling over windows and over all of space."""

from dataclasses import dataclass

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.nn import NCHW, window_pads
from ascend_migrate.converters.mindir.operators.padding import pad_pairs
from ascend_migrate.converters.mindir.operators.reduce import reduce_axes
from ascend_migrate.converters.mindir.operators.windows import (
    average_windows,
    max_windows,
    max_with_indices,
)
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Shape, Value, static

_VALID = 2
"""MindSpore's enum of padding modes."""

_Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Windows:
    """Where a pooling looks.

    Attributes:
        kernel: sizes of a window.
        strides: steps from one window to the next.
        pads: padding before and after each dimension.
        behind: elements after the padding that only the last window of ceil_mode reaches.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: _Pairs
    behind: tuple[int, ...]


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
def max_pool(context: Context, node: Node) -> Value | list[Value]:
    """https://onnx.ai/onnx/operators/onnx__MaxPool.html: padding never wins."""
    if node.wants(1):
        return max_with_indices(context, node)
    if _dilated(node) or not node[0].floating:
        return max_windows(context, node)
    x, windows = _windows(context, node)
    kernel, strides = windows.kernel, windows.strides
    around = [(a, b + c) for (a, b), c in zip(windows.pads, windows.behind, strict=True)]
    lowest = context.like(float("-inf"), x)
    x = pad_pairs(context, x, [(0, 0), (0, 0), *around], value=lowest)
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
    if _dilated(node) or len(node.attributes["kernel_shape"]) > 2:  # noqa: PLR2004
        return average_windows(context, node)
    x, windows = _windows(context, node)
    counted = bool(node.attributes.get("count_include_pad"))
    result = _average(context, _padded(context, x, windows), windows)
    if any(windows.behind) or (any(map(any, windows.pads)) and not counted):
        # The share of each window that counts: padding may, what lies behind it never does.
        one = context.expand(context.like(1, x), (1, 1, *context.dims(x)[2:]))
        share = _average(context, _padded(context, one, windows, float(counted)), windows)
        result = context.emit("RealDiv", result, share, dtype=x.dtype, shape=result.shape)
    return context.squeeze(result, (2,)) if node[0].rank == 3 else result  # noqa: PLR2004


def _dilated(node: Node) -> bool:
    return any(d != 1 for d in node.attributes.get("dilations") or ())


def _average(context: Context, x: Value, windows: _Windows) -> Value:
    kernel, strides = windows.kernel, windows.strides
    shape = _pooled(x, kernel, strides)
    return context.emit("AvgPool", x, kernel, strides, _VALID, NCHW, dtype=x.dtype, shape=shape)


def _padded(context: Context, x: Value, windows: _Windows, padding: float = 0) -> Value:
    whole = pad_pairs(context, x, [(0, 0), (0, 0), *windows.pads], value=context.like(padding, x))
    return pad_pairs(context, whole, [(0, 0), (0, 0), *((0, n) for n in windows.behind)])


def _windows(context: Context, node: Node) -> tuple[Value, _Windows]:
    """Returns the input, with a signal made an image of height 1, and the windows."""
    x, kernel = node[0], tuple(node.attributes["kernel_shape"])
    ones = (1,) * len(kernel)
    strides = tuple(node.attributes.get("strides") or ones)
    pads = window_pads(node, x.sizes[2:], kernel, strides, ones)
    behind = (0,) * len(kernel)
    if node.attributes.get("ceil_mode"):
        behind = _behind(x.sizes[2:], kernel, strides, pads)
    if len(kernel) == 1:
        x, kernel, strides = context.unsqueeze(x, (2,)), (1, *kernel), (1, *strides)
        pads, behind = ((0, 0), *pads), (0, *behind)
    return x, _Windows(kernel, strides, pads, behind)


def _behind(
    sizes: Shape, kernel: tuple[int, ...], strides: tuple[int, ...], pads: _Pairs
) -> tuple[int, ...]:
    """Returns what makes the last, partial window of ceil_mode a whole one."""
    found = []
    for size, width, stride, (before, after) in zip(sizes, kernel, strides, pads, strict=True):
        (known,) = static((size,), "the input of a pooling with ceil_mode=1")
        span = known + before + after - width
        count = -(-span // stride)
        # A window must begin within the input or the padding before it.
        if count * stride >= known + before:
            count -= 1
        found.append(max(count * stride - span, 0))
    return tuple(found)


def _pooled(x: Value, kernel: tuple[int, ...], strides: tuple[int, ...]) -> Shape:
    sizes = tuple(
        (size - width) // stride + 1 if isinstance(size, int) else None
        for size, width, stride in zip(x.sizes[2:], kernel, strides, strict=True)
    )
    return (*x.sizes[:2], *sizes)
