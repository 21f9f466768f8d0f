"""Resampling by factors, sizes or parts that are known only when the model runs."""

from functools import reduce

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.interpolation import Track, plus, resample, tensor
from ascend_migrate.converters.mindir.registry import Node
from ascend_migrate.converters.mindir.values import Element, UnsupportedError, Value


def resize_at_run_time(context: Context, node: Node) -> Value:
    """Resizes one dimension after the other.

    Raises:
        UnsupportedError: the number of elements that take part is not known.
    """
    x = node[0]
    if node.attributes.get("antialias"):
        raise UnsupportedError("antialias=1 with a factor that is computed when the model runs")
    for track in _tracks(context, node):
        x = resample(context, node, x, track)
    return x


def _tracks(context: Context, node: Node) -> list[Track]:
    x, sizes = node[0], node.optional(3)
    axes = [axis % x.rank for axis in node.attributes.get("axes") or range(x.rank)]
    before = [context.dim(x, axis) for axis in axes]
    crops = node.attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    rois = _items(context, node[1], 2 * len(axes)) if crops else None
    if sizes is not None and sizes.shape != (0,):
        after = list(context.elements(sizes))
        lengths = [tensor(context, size) for size in before]
        pairs = zip(after, lengths, strict=True)
        scales = [binary(context, "RealDiv", tensor(context, size), n) for size, n in pairs]
        policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            # One factor for all: the least that fits inside, or the greatest that covers.
            choice = "Minimum" if policy == "not_larger" else "Maximum"
            scale = reduce(lambda a, b: binary(context, choice, a, b), scales)
            scales = [scale] * len(axes)
            raw = [plus(context, binary(context, "Mul", n, scale), 0.5) for n in lengths]
            after = [_whole(context, size) for size in raw]
    else:
        scales = _items(context, node[2], len(axes))
        raw = [
            binary(context, "Mul", tensor(context, size), scale)
            for size, scale in zip(before, scales, strict=True)
        ]
        after = [_whole(context, size) for size in raw]
    return [
        Track(
            axis, before[i], after[i], scales[i], (rois[i], rois[len(axes) + i]) if rois else None
        )
        for i, axis in enumerate(axes)
    ]


def _items(context: Context, vector: Value, count: int) -> list[Value]:
    if vector.shape is not None and vector.shape not in {(count,), (None,)}:
        raise UnsupportedError(f"{vector.name!r} has {vector.shape} elements, not {count}")
    wide = context.cast(vector, "float32")
    return [context.reshape(context.slice(wide, 0, i, i + 1), ()) for i in range(count)]


def _whole(context: Context, size: Value) -> Element:
    floor = context.emit("Floor", size, dtype=size.dtype, shape=size.shape)
    return context.elements(context.cast(floor, "int64"))[0]
