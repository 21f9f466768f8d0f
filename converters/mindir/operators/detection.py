"""Boxes: choosing them."""

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Value, static


@operator("NonMaxSuppression", since=(10, 11))
def non_max_suppression(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html: one choice for each class.

    The threshold is applied here, since kernels differ in what they do with an overlap that is
    exactly equal to it.
    """
    boxes, scores = node[0], node[1]
    batches, classes = static(scores.sizes[:2], "the scores")
    overlaps = _overlaps(context, boxes, centred=bool(node.attributes["center_point_box"]))
    limit = _scalar(context, node.optional(3), 0, "float32")
    overlaps = context.cast(binary(context, "Greater", overlaps, limit, "bool"), "float32")
    most = _scalar(context, node.optional(2), 0, "int32")
    least = _scalar(context, node.optional(4), float("-inf"), "float32")
    rows = []
    for batch in range(batches):
        square = context.squeeze(context.slice(overlaps, 0, batch, batch + 1), (0,))
        image = context.squeeze(context.slice(scores, 0, batch, batch + 1), (0,))
        for kind in range(classes):
            line = context.squeeze(context.slice(image, 0, kind, kind + 1), (0,))
            chosen = context.emit(
                "NonMaxSuppressionWithOverlaps",
                square,
                line,
                most,
                context.constant(0.5, "float32"),
                least,
                dtype="int32",
                shape=(None,),
            )
            column = context.unsqueeze(context.cast(chosen, "int64"), (1,))
            row = binary(context, "Mul", column, context.constant([[0, 0, 1]], "int64"))
            label = context.constant([[batch, kind, 0]], "int64")
            rows.append(binary(context, "Add", row, label))
    return context.concat(rows, 0)


def _scalar(context: Context, value: Value | None, default: float, dtype: str) -> Value:
    if value is None:
        return context.constant(default, dtype)
    return context.reshape(context.cast(value, dtype), ())


def _overlaps(context: Context, boxes: Value, *, centred: bool) -> Value:
    """Returns the share [batch, box, box] of their union that two boxes have in common."""
    sides = [_side(context, boxes, axis, centred=centred) for axis in range(2)]
    area = common = None
    for low, high in sides:
        length = binary(context, "Sub", high, low)
        first = binary(context, "Maximum", low, context.transpose(low, (0, 2, 1)))
        last = binary(context, "Minimum", high, context.transpose(high, (0, 2, 1)))
        shared = binary(context, "Sub", last, first)
        shared = binary(context, "Maximum", shared, context.like(0, shared))
        area = length if area is None else binary(context, "Mul", area, length)
        common = shared if common is None else binary(context, "Mul", common, shared)
    assert area is not None  # noqa: S101 - a box has two sides
    assert common is not None  # noqa: S101
    both = binary(context, "Add", area, context.transpose(area, (0, 2, 1)))
    return binary(context, "DivNoNan", common, binary(context, "Sub", both, common))


def _side(context: Context, boxes: Value, axis: int, *, centred: bool) -> tuple[Value, Value]:
    """Returns where each box begins and ends, as columns [batch, box, 1]."""
    a, b = (context.slice(boxes, 2, index, index + 1) for index in (axis, axis + 2))
    if centred:
        half = binary(context, "Mul", b, context.like(0.5, b))
        return binary(context, "Sub", a, half), binary(context, "Add", a, half)
    return binary(context, "Minimum", a, b), binary(context, "Maximum", a, b)
