"""Pooling where MindSpore's own primitives do not go: dilated windows, integers, norms, indices."""

import math
from dataclasses import dataclass

import numpy as np

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.nn import window_pads
from ascend_migrate.converters.mindir.operators.padding import pad_pairs
from ascend_migrate.converters.mindir.operators.reduce import reduce_axes
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, static
from ascend_migrate.pipeline.mindir_format import TYPE_IDS


@dataclass(frozen=True, slots=True)
class Line:
    """Where the windows of a pooling lie along one dimension.

    Attributes:
        size: elements of the input.
        before: elements of padding in front of it.
        after: elements of padding behind it.
        stride: from one window to the next.
        dilation: from one element of a window to the next.
        places: [window, element]: index into the input, beyond it where there is padding.
    """

    size: int
    before: int
    after: int
    stride: int
    dilation: int
    places: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Whether a place is one of the input."""
        return (self.places >= 0) & (self.places < self.size)


def lines(node: Node) -> list[Line]:
    """Returns the windows along each spatial dimension.

    Raises:
        UnsupportedError: a size is not known.
    """
    kernel = tuple(node.attributes["kernel_shape"])
    ones = (1,) * len(kernel)
    strides = tuple(node.attributes.get("strides") or ones)
    dilations = tuple(node.attributes.get("dilations") or ones)
    sizes = static(node[0].sizes[2:], f"the input of this {node.op_type}")
    pads = window_pads(node, sizes, kernel, strides, dilations)
    rounded = math.ceil if node.attributes.get("ceil_mode") else math.floor
    found = []
    for size, width, stride, dilation, (before, after) in zip(
        sizes, kernel, strides, dilations, pads, strict=True
    ):
        span = size + before + after - (width - 1) * dilation - 1
        count = rounded(span / stride) + 1
        # A window must begin within the input or the padding before it.
        if (count - 1) * stride >= size + before:
            count -= 1
        starts = np.arange(count) * stride - before
        places = starts[:, None] + np.arange(width) * dilation
        found.append(Line(size, before, after, stride, dilation, places))
    return found


def max_windows(context: Context, node: Node) -> Value:
    """Returns the largest element of each window, one dimension after the other."""
    x = node[0]
    for axis, line in enumerate(lines(node), start=2):
        index = context.constant(_filled(line), "int64")
        shape = (*x.sizes[:axis], *line.places.shape, *x.sizes[axis + 1 :])
        seen = context.emit("Gather", x, index, axis, 0, dtype=x.dtype, shape=shape)
        x = reduce_axes(context, "ReduceMax", seen, (axis + 1,), keep=False)
    return x


def _filled(line: Line) -> np.ndarray:
    """Names an element of the window in place of the padding, which never wins."""
    first = line.inside.argmax(axis=1)
    if not line.inside.any(axis=1).all():
        raise UnsupportedError("a window of nothing but padding")
    within = np.take_along_axis(line.places, first[:, None], axis=1)
    return np.where(line.inside, line.places, within)


def max_with_indices(context: Context, node: Node) -> list[Value]:
    """Returns the largest element of each window and its place in the whole tensor."""
    x, axes = node[0], lines(node)
    columns = bool(node.attributes["storage_order"])
    places = np.zeros((1, 1), np.int64)
    names = np.zeros((1, 1), np.int64)
    plane = math.prod(line.size for line in axes)
    weight, named = plane, 1
    for line in axes:
        weight //= line.size
        places = _pairs(places, _filled(line) * weight)
        names = _pairs(names, _filled(line) * (named if columns else weight))
        named *= line.size
    count, width = places.shape
    flat = context.reshape(x, (*context.dims(x)[:2], plane))
    shape = (*x.sizes[:2], count, width)
    index = context.constant(places, "int64")
    seen = context.emit("Gather", flat, index, 2, 0, dtype=x.dtype, shape=shape)
    best = reduce_axes(context, "ReduceMax", seen, (3,), keep=False)
    first = context.emit("Argmax", seen, 3, TYPE_IDS["int32"], dtype="int32", shape=shape[:3])
    entry = binary(
        context,
        "Add",
        context.cast(first, "int64"),
        context.constant(np.arange(count) * width, "int64"),
    )
    table = context.constant(names.reshape(-1), "int64")
    named_first = context.emit("Gather", table, entry, 0, 0, dtype="int64", shape=shape[:3])
    sizes = (*context.dims(x)[:2], *(len(line.places) for line in axes))
    planes = context.arithmetic("Mul", sizes[0], sizes[1])
    offsets = context.emit("Range", 0, planes, 1, dtype="int64", shape=(None,))
    offsets = context.reshape(offsets, (*sizes[:2], 1))
    offsets = binary(context, "Mul", offsets, context.constant(plane, "int64"))
    whole = binary(context, "Add", named_first, offsets)
    return [context.reshape(best, sizes), context.reshape(whole, sizes)]


def _pairs(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    both = outer[:, None, :, None] + inner[None, :, None, :]
    return np.reshape(both, (outer.shape[0] * inner.shape[0], -1))


def sum_windows(context: Context, node: Node, x: Value) -> Value:
    """Returns the sum of each window: a convolution of every channel with ones."""
    axes = lines(node)
    if len(axes) > 3:  # noqa: PLR2004
        raise UnsupportedError(f"{len(axes)} spatial dimensions")
    pads = [(line.before, max(int(line.places.max()) + 1 - line.size, 0)) for line in axes]
    kernel = [line.places.shape[1] for line in axes]
    strides, dilations = [line.stride for line in axes], [line.dilation for line in axes]
    sizes = (*context.dims(x)[:2], *(len(line.places) for line in axes))
    wide = pad_pairs(context, x, [(0, 0), (0, 0), *pads])
    if len(axes) == 1:
        # MindSpore convolves images: a signal is an image of height 1.
        wide = context.unsqueeze(wide, (2,))
        kernel, strides, dilations = [1, *kernel], [1, *strides], [1, *dilations]
    single = context.reshape(wide, (-1, 1, *context.dims(wide)[2:]))
    ones = context.constant(np.ones((1, 1, *kernel)), x.dtype)
    arguments = {"stride": (1, 1, *strides), "dilation": (1, 1, *dilations)}
    if len(axes) == 3:  # noqa: PLR2004
        arguments |= {f"{name}s": value for name, value in arguments.items()}
    none = (0,) * (2 * len(kernel))
    shape = (single.sizes[0], 1, *(1,) * (len(kernel) - len(axes)), *known(sizes[2:]))
    found = context.emit(
        f"Conv{len(kernel)}D",
        single,
        ones,
        out_channel=1,
        kernel_size=tuple(kernel),
        pad_mode="valid",
        pad=none,
        pad_list=none,
        group=1,
        groups=1,
        dtype=x.dtype,
        shape=shape,
        **arguments,
    )
    return context.reshape(found, sizes)


def average_windows(context: Context, node: Node) -> Value:
    """Returns the mean of each window; padding counts if the node says so."""
    total = sum_windows(context, node, node[0])
    counts = np.ones((1, 1))
    for line in lines(node):
        counted = line.inside
        if node.attributes.get("count_include_pad"):
            # What lies behind the padding, where ceil_mode reaches, never counts.
            counted = line.places < line.size + line.after
        counts = counts[..., None] * counted.sum(axis=1)
    return binary(context, "RealDiv", total, context.constant(counts, total.dtype))


@operator("LpPool", since=(2, 11, 18, 22))
def lp_pool(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__LpPool.html: the norm of each window."""
    x, power = node[0], int(node.attributes["p"])
    size = context.emit("Abs", x, dtype=x.dtype, shape=x.shape)
    if power == 1:
        return sum_windows(context, node, size)
    raised = binary(context, "Pow", size, context.like(power, x))
    total = sum_windows(context, node, raised)
    return binary(context, "Pow", total, context.like(1 / power, x))


@operator("GlobalLpPool", since=(2, 22))
def global_lp_pool(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html: the norm of each channel."""
    x, power = node[0], int(node.attributes["p"])
    raised = context.emit("Abs", x, dtype=x.dtype, shape=x.shape)
    raised = binary(context, "Pow", raised, context.like(power, x))
    total = reduce_axes(context, "ReduceSum", raised, tuple(range(2, x.rank)), keep=True)
    return binary(context, "Pow", total, context.like(1 / power, x))


@operator("MaxUnpool", since=(9, 11, 22))
def max_unpool(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__MaxUnpool.html: indices count in the unpadded input."""
    x, index, wanted = node[0], node[1], node.optional(2)
    kernel = tuple(node.attributes["kernel_shape"])
    ones = (1,) * len(kernel)
    strides = tuple(node.attributes.get("strides") or ones)
    pads = tuple(node.attributes.get("pads") or (0,) * (2 * len(kernel)))
    sizes = static(x.sizes, "the input of MaxUnpool")
    inner = [
        (size - 1) * stride + width - pads[i] - pads[len(kernel) + i]
        for i, (size, stride, width) in enumerate(zip(sizes[2:], strides, kernel, strict=True))
    ]
    whole = (*sizes[:2], *inner)
    empty = context.constant(np.zeros(math.prod(whole)), x.dtype)
    places = context.reshape(index, (-1, 1))
    values = context.reshape(x, (-1,))
    flat = context.emit(
        "TensorScatterUpdate", empty, places, values, dtype=x.dtype, shape=empty.shape
    )
    image = context.reshape(flat, whole)
    if wanted is None:
        return image
    # A larger output holds the image in its first corner.
    goal = node.integers(2, "output_shape") or whole
    return pad_pairs(context, image, [(0, b - a) for a, b in zip(whole, goal, strict=True)])
