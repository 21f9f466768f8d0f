"""Whole numbers of 64 bits, for which the AI core of some chip lists no kernel.

The graph does not know its chip, so a node is rewritten where any family lacks the kernel. What
takes its place has one everywhere, or decides at run time: Where, Less, Add, Sub, Mul and Div.
"""

from functools import cache

import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import Builder, replace
from ascend_migrate.pipeline.cann.generations import load_generation, versions

_LONG = "int64"


@cache
def _lack(op_type: str) -> bool:
    """Whether some chip has no kernel of this operator for int64, and no AI CPU to fall back on."""
    known = load_generation(versions()[-1]).operators[op_type]
    return not known.aicpu and any(_LONG not in types for types in known.kernels.values())


def _concerns(node: ir.Node) -> bool:
    value = node.inputs[0]
    return value is not None and value.dtype == ir.DataType.INT64 and _lack(node.op_type)


@surgery("no-kernel", "Sign")
def sign(node: ir.Node) -> bool:
    """The sign of the nearest float32, which is 0 for 0 only."""
    if not _concerns(node):
        return False
    make = Builder(node)
    found = make("Sign", make("Cast", node.inputs[0], to=ir.DataType.FLOAT))
    replace(node, make("Cast", found, to=ir.DataType.INT64))
    return True


@surgery("no-kernel", "Abs")
def magnitude(node: ir.Node) -> bool:
    """The number, or 0 less it where it is negative."""
    if not _concerns(node):
        return False
    make, x = Builder(node), node.inputs[0]
    zero = make.like(0, x)
    replace(node, make("Where", make("Less", x, zero), make("Sub", zero, x), x))
    return True


@surgery("no-kernel", "Mod")
def modulo(node: ir.Node) -> bool:
    """What a division leaves, and a divisor more where its sign is not the divisor's."""
    if node.attributes.get_int("fmod", 0) or not _concerns(node):
        return False
    make, (x, y) = Builder(node), node.inputs
    rest = make("Sub", x, make("Mul", make("Div", x, y), y))
    zero = make.like(0, x)
    differ = make("Xor", make("Less", rest, zero), make("Less", y, zero))
    wrong = make("And", differ, make("Not", make("Equal", rest, zero)))
    replace(node, make("Where", wrong, make("Add", rest, y), rest))
    return True
