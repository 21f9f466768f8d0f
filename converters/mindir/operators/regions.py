"""Pooling of regions of an image."""

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.interpolation import plus, tensor, times
from ascend_migrate.converters.mindir.operators.reduce import reduce_axes
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value


@operator("RoiAlign", since=(10, 16, 22))
def roi_align(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__RoiAlign.html: the mean or maximum of samples.

    MindSpore's ROIAlign makes every region at least one pixel large, which is right only without
    the shift by half a pixel.
    """
    samples = int(node.attributes["sampling_ratio"])
    if samples <= 0:
        raise UnsupportedError("sampling_ratio=0, where the region decides how often to sample")
    grid = node.attributes.get("coordinate_transformation_mode", "output_half_pixel")
    if node.attributes["mode"] == "avg" and grid == "output_half_pixel":
        return _native(context, node, samples)
    shift = 0.5 if grid == "half_pixel" else 0.0
    sides = [_side(context, node, axis, samples, shift) for axis in (1, 0)]
    return _pooled(context, node, samples, _corners(context, node, sides))


def _native(context: Context, node: Node, samples: int) -> Value:
    x, boxes, images = node[0], node[1], node[2]
    column = context.unsqueeze(context.cast(images, boxes.dtype), (1,))
    height, width = int(node.attributes["output_height"]), int(node.attributes["output_width"])
    return context.emit(
        "ROIAlign",
        x,
        context.concat([column, boxes], 1),
        pooled_height=height,
        pooled_width=width,
        spatial_scale=float(node.attributes["spatial_scale"]),
        sample_num=samples,
        roi_end_mode=0,
        dtype=x.dtype,
        shape=(boxes.sizes[0], x.sizes[1], height, width),
    )


def _side(
    context: Context, node: Node, axis: int, samples: int, shift: float
) -> list[tuple[Value, Value]]:
    """Returns, along one axis, the two pixels around each sample and their weights.

    Each is [region, sample]; axis 0 is the horizontal one, as in the regions' coordinates.
    """
    x, boxes = node[0], node[1]
    count = int(node.attributes["output_width" if axis == 0 else "output_height"])
    scale = float(node.attributes["spatial_scale"])
    begin, end = (
        plus(context, times(context, context.slice(boxes, 1, i, i + 1), scale), -shift)
        for i in (axis, axis + 2)
    )
    length = binary(context, "Sub", end, begin)
    if not shift:
        length = binary(context, "Maximum", length, context.like(1, length))
    steps = (np.arange(count * samples) + 0.5) / samples
    step = context.constant(steps.reshape(1, -1), boxes.dtype)
    bins = binary(context, "Mul", times(context, length, 1 / count), step)
    at = binary(context, "Add", begin, bins)
    size = context.cast(tensor(context, context.dim(x, 3 - axis)), boxes.dtype)
    near = binary(context, "GreaterEqual", at, context.like(-1, at), "bool")
    inside = binary(
        context, "LogicalAnd", near, binary(context, "LessEqual", at, size, "bool"), "bool"
    )
    last = plus(context, size, -1)
    at = binary(context, "Minimum", binary(context, "Maximum", at, context.like(0, at)), last)
    low = context.emit("Floor", at, dtype=at.dtype, shape=at.shape)
    high = binary(context, "Minimum", plus(context, low, 1), last)
    counted = context.cast(inside, boxes.dtype)
    upper = binary(context, "Mul", binary(context, "Sub", at, low), counted)
    return [(low, binary(context, "Sub", counted, upper)), (high, upper)]


def _corners(context: Context, node: Node, sides: list[list[tuple[Value, Value]]]) -> list[Value]:
    """Returns the four weighted pixels around each sample: [region, row, column, channel]."""
    x, images = node[0], context.cast(node[2], "int64")
    last = context.transpose(x, (0, 2, 3, 1))
    found = []
    for row, tall in sides[0]:
        for column, wide in sides[1]:
            places = [context.unsqueeze(images, (1, 2)), context.unsqueeze(row, (2,))]
            places.append(context.unsqueeze(column, (1,)))
            sizes = (context.dim(row, 0), context.dim(row, 1), context.dim(column, 1))
            index = context.concat(
                [
                    context.unsqueeze(context.expand(context.cast(p, "int64"), sizes), (3,))
                    for p in places
                ],
                3,
            )
            shape = (*index.sizes[:3], x.sizes[1])
            pixel = context.emit("GatherNd", last, index, dtype=x.dtype, shape=shape)
            weight = binary(
                context, "Mul", context.unsqueeze(tall, (2,)), context.unsqueeze(wide, (1,))
            )
            found.append(binary(context, "Mul", pixel, context.unsqueeze(weight, (3,))))
    return found


def _pooled(context: Context, node: Node, samples: int, corners: list[Value]) -> Value:
    """Takes the mean of all samples of a bin, or the largest of their weighted pixels."""
    mean = node.attributes["mode"] == "avg"
    total = corners[0]
    for corner in corners[1:]:
        total = binary(context, "Add" if mean else "Maximum", total, corner)
    height, width = int(node.attributes["output_height"]), int(node.attributes["output_width"])
    sizes = context.dims(total)
    bins = context.reshape(total, (sizes[0], height, samples, width, samples, sizes[3]))
    found = reduce_axes(context, "ReduceMean" if mean else "ReduceMax", bins, (2, 4), keep=False)
    return context.transpose(found, (0, 3, 1, 2))
