"""The matrix from a spectrum to bands of equal width for the ear."""

import math

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Element, Value
from ascend_migrate.pipeline.dtypes import BY_ONNX

_MEL = 2595 / math.log(10)
"""Mels that a frequency gains where 1 + frequency / 700 grows by a factor of e."""


@operator("MelWeightMatrix", since=17)
def mel_weight_matrix(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html: triangles over the spectrum."""
    bands, length = (context.elements(node[index])[0] for index in (0, 1))
    rows = context.arithmetic("Add", context.arithmetic("FloorDiv", length, 2), 1)
    numbers = _range(context, rows)
    edges = _edges(context, node)
    left, centre, right = (
        context.slice(edges, 0, start, context.arithmetic("Add", bands, start))
        for start in range(3)
    )
    place = context.unsqueeze(numbers, (1,))
    # Each division is used only where its divisor is not 0.
    rising = _ratio(context, place, left, centre, left)
    falling = _ratio(context, right, place, right, centre)
    inside = select(context, _less(context, place, centre), rising, falling)
    peak = binary(context, "Equal", place, centre, "bool")
    inside = select(context, peak, context.like(1, inside), inside)
    # The peak is there even where both edges have met it.
    before, behind = _less(context, place, left), _less(context, right, place)
    outside = binary(context, "LogicalOr", before, behind, "bool")
    found = select(context, outside, context.like(0, inside), inside)
    return context.cast(found, BY_ONNX[int(node.attributes["output_datatype"])].name)


def _edges(context: Context, node: Node) -> Value:
    """Returns where the bands begin, peak and end: indices into the spectrum, as float64."""
    bands, length = (context.elements(node[index])[0] for index in (0, 1))
    count = context.arithmetic("Add", bands, 2)
    rate, lowest, highest = (context.cast(node[index], "float64") for index in (2, 3, 4))
    low, high = _mels(context, lowest), _mels(context, highest)
    step = binary(context, "RealDiv", binary(context, "Sub", high, low), _scalar(context, count))
    mels = binary(context, "Add", binary(context, "Mul", _range(context, count), step), low)
    ratio = binary(context, "RealDiv", mels, context.like(_MEL, mels))
    hertz = context.emit("Expm1", ratio, dtype="float64", shape=ratio.shape)
    hertz = binary(context, "Mul", hertz, context.like(700, hertz))
    points = _scalar(context, context.arithmetic("Add", length, 1))
    place = binary(context, "RealDiv", binary(context, "Mul", points, hertz), rate)
    return context.emit("Floor", place, dtype="float64", shape=place.shape)


def _mels(context: Context, hertz: Value) -> Value:
    part = binary(context, "RealDiv", hertz, context.like(700, hertz))
    grown = context.emit("Log1p", part, dtype=hertz.dtype, shape=hertz.shape)
    return binary(context, "Mul", grown, context.like(_MEL, grown))


def _ratio(context: Context, a: Value, b: Value, c: Value, d: Value) -> Value:
    above, below = binary(context, "Sub", a, b), binary(context, "Sub", c, d)
    return binary(context, "DivNoNan", above, below)


def _less(context: Context, a: Value, b: Value) -> Value:
    return binary(context, "Less", a, b, "bool")


def _range(context: Context, count: Element) -> Value:
    numbers = context.emit("Range", 0, count, 1, dtype="int64", shape=known((count,)))
    return context.cast(numbers, "float64")


def _scalar(context: Context, size: Element) -> Value:
    if isinstance(size, int):
        return context.constant(size, "float64")
    return context.cast(Value(context.scope, "int64", (), elements=(size,)), "float64")
