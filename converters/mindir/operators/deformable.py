"""Convolution that looks where the model says."""

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.nn import NCHW
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, static


@operator("DeformConv", since=(19, 22))
def deform_conv(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__DeformConv.html: convolves what is seen, laid out."""
    x, weight, bias = node[0], node[1], node.optional(3)
    if x.rank != 4:  # noqa: PLR2004
        raise UnsupportedError(f"{x.rank - 2} spatial dimensions")
    kernel = static(weight.sizes[2:], "the convolution's weight")
    channels = static(weight.sizes[:1], "the convolution's weight")[0]
    top, left, bottom, right = node.attributes.get("pads") or (0, 0, 0, 0)
    offsets = _offsets(context, node, kernel[0] * kernel[1])
    tall, wide = static(offsets.sizes[2:], "the offsets")
    seen = context.emit(
        "DeformableOffsets",
        x,
        offsets,
        strides=(1, 1, *(node.attributes.get("strides") or (1, 1))),
        pads=(top, bottom, left, right),
        ksize=kernel,
        dilations=(1, 1, *(node.attributes.get("dilations") or (1, 1))),
        deformable_groups=int(node.attributes["offset_group"]),
        dtype=x.dtype,
        shape=(*x.sizes[:2], tall * kernel[0], wide * kernel[1]),
    )
    found = context.emit(
        "Conv2D",
        seen,
        weight,
        out_channel=channels,
        kernel_size=kernel,
        pad_mode="valid",
        pad=(0, 0, 0, 0),
        pad_list=(0, 0, 0, 0),
        stride=(1, 1, *kernel),
        dilation=(1, 1, 1, 1),
        group=int(node.attributes["group"]),
        groups=int(node.attributes["group"]),
        dtype=x.dtype,
        shape=(x.sizes[0], channels, tall, wide),
    )
    if bias is None:
        return found
    return context.emit("BiasAdd", found, bias, NCHW, dtype=x.dtype, shape=found.shape)


def _offsets(context: Context, node: Node, places: int) -> Value:
    """Returns MindSpore's form: all horizontal offsets, all vertical ones, all weights."""
    offset, mask = node[2], node.optional(4)
    batch, _, tall, wide = context.dims(offset)
    groups = int(node.attributes["offset_group"])
    pairs = context.reshape(offset, (batch, groups * places, 2, tall, wide))
    rows, columns = (
        context.squeeze(context.slice(pairs, 2, index, index + 1), (2,)) for index in (0, 1)
    )
    if mask is None:
        mask = context.expand(context.like(1, offset), context.dims(rows))
    return context.concat([columns, rows, mask], 1)
