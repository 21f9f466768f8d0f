"""What neighbours have to do with each other: patches laid over an image, responses divided."""

import math

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.interpolation import plus, times
from ascend_migrate.converters.mindir.operators.nn import NCHW
from ascend_migrate.converters.mindir.operators.padding import pad_pairs
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, static

_VALID = 2
"""MindSpore's enum of padding modes."""


@operator("Col2Im", since=18)
def col2im(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Col2Im.html: one dimension after the other."""
    x = node[0]
    image, block = node.integers(1, "image_shape"), node.integers(2, "block_shape")
    if image is None or block is None:
        raise UnsupportedError("image_shape or block_shape is missing")
    rank = len(image)
    strides = tuple(node.attributes.get("strides") or (1,) * rank)
    dilations = tuple(node.attributes.get("dilations") or (1,) * rank)
    pads = tuple(node.attributes.get("pads") or (0,) * (2 * rank))
    whole = [size + pads[i] + pads[rank + i] for i, size in enumerate(image)]
    counts = [(whole[i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    (columns,) = static(x.sizes[1:2], "the input of Col2Im")
    channels = columns // math.prod(block)
    x = context.reshape(x, (context.dim(x, 0), channels, *block, *counts))
    for axis in range(rank):
        # What is left: offsets within the block, positions of the blocks, finished dimensions.
        pair = [2, 2 + rank - axis]
        order = [other for other in range(x.rank) if other not in pair] + pair
        moved = context.transpose(x, order)
        flat = context.reshape(moved, (1, -1, block[axis], counts[axis]))
        line = context.emit(
            "Col2Im",
            flat,
            context.constant([whole[axis], 1], "int32"),
            kernel_size=(block[axis], 1),
            dilation=(dilations[axis], 1),
            padding=(0, 0),
            stride=(strides[axis], 1),
            dtype=x.dtype,
            shape=(1, flat.sizes[1], whole[axis], 1),
        )
        x = context.reshape(line, (*context.dims(moved)[:-2], whole[axis]))
    for axis, size in enumerate(image):
        x = context.slice(x, 2 + axis, pads[axis], pads[axis] + size)
    return x


@operator("LRN", since=(1, 13))
def local_response(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__LRN.html: the squares' mean over channels is pooled."""
    x, size = node[0], int(node.attributes["size"])
    square = context.emit("Square", x, dtype=x.dtype, shape=x.shape)
    image = context.reshape(square, (context.dim(x, 0), 1, context.dim(x, 1), -1))
    behind = (size - 1) // 2
    image = pad_pairs(context, image, [(0, 0), (0, 0), (behind, size - 1 - behind), (0, 0)])
    shape = (x.sizes[0], 1, x.sizes[1], image.sizes[3])
    mean = context.emit(
        "AvgPool", image, (size, 1), (1, 1), _VALID, NCHW, dtype=x.dtype, shape=shape
    )
    mean = context.reshape(mean, context.dims(x))
    scaled = times(context, mean, float(node.attributes["alpha"]))
    base = plus(context, scaled, float(node.attributes["bias"]))
    power = context.like(node.attributes["beta"], x)
    return binary(context, "RealDiv", x, binary(context, "Pow", base, power))
