"""The bits of numbers."""

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value
from ascend_migrate.pipeline.dtypes import BY_ONNX, numpy_dtype


@operator("BitShift", since=(11, 28))
def bit_shift(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__BitShift.html: defined for every amount.

    MindSpore leaves amounts below 0 and from the width on to the processor. There, nothing of the
    number is left: the result is what flows in, which is the sign for a right shift.
    """
    x, amount = node[0], node[1]
    right = node.attributes["direction"] == "RIGHT"
    primitive = "RightShift" if right else "LeftShift"
    width = numpy_dtype(x.dtype).itemsize * 8
    last = context.like(width - 1, amount)
    inside = binary(context, "LessEqual", amount, last, "bool")
    signed = x.dtype.startswith("int")
    if signed:
        natural = binary(context, "GreaterEqual", amount, context.like(0, amount), "bool")
        inside = binary(context, "LogicalAnd", inside, natural, "bool")
    shifted = binary(context, primitive, x, select(context, inside, amount, last))
    if right and signed:
        # A shift by width - 1 leaves nothing but the sign.
        return shifted
    return select(context, inside, shifted, context.like(0, x))


@operator("BitwiseNot", since=18)
def bitwise_not(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__BitwiseNot.html: differs from ones in every bit."""
    return inverted(context, node[0])


def inverted(context: Context, x: Value) -> Value:
    """Inverts every bit of integers, which also turns their order round."""
    ones = np.invert(np.zeros((), numpy_dtype(x.dtype)))
    return binary(context, "BitwiseXor", x, context.constant(ones, x.dtype))


@operator("BitCast", since=26)
def bit_cast(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__BitCast.html: a Cast keeps the bits of integers."""
    x, code = node[0], int(node.attributes["to"])
    dtype = BY_ONNX[code].name if code in BY_ONNX else ""
    if not all(kind == "bool" or kind.lstrip("u").startswith("int") for kind in (x.dtype, dtype)):
        raise UnsupportedError(f"the bits of {x.dtype} as {dtype or code}")
    if dtype == "bool":
        raise UnsupportedError("a bool of other bits than 0 and 1")
    return context.cast(x, dtype)
