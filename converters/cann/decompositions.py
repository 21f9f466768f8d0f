"""Operators of which CANN computes only the plain form, said by those that it has."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    dtype_of,
    given,
    rank_of,
    replace,
    size_of,
)
from ascend_migrate.converters.onnx_functions import write_out
from ascend_migrate.converters.onnx_opset_older import cast_like as like_to_cast

_UNSIGNED = frozenset({"UINT8", "UINT16", "UINT32", "UINT64"})
_REDUCTIONS = tuple(
    f"Reduce{name}"
    for name in (
        "LogSum",
        "LogSumExp",
        "Max",
        "Mean",
        "Min",
        "Prod",
        "Sum",
        "SumSquare",
        "L1",
        "L2",
    )
)
_UNCHANGED = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
_OPSET = 17


@surgery("mod-fmod", "Mod")
def fmod(node: ir.Node) -> bool:
    """The remainder with the sign of the dividend.

    Integers: ONNX's own remainder, which has the sign of the divisor, less a divisor where the two
    signs differ. Floats: that of the magnitudes, on which both definitions agree; the attribute
    stays, because ONNX has no other remainder of floats.
    """
    if not node.attributes.get_int("fmod", 0):
        return False
    x, y = node.inputs
    kind, make = dtype_of(x), Builder(node)
    if kind.is_floating_point():
        if all(v is not None and _is_magnitude(v) for v in (x, y)):
            return False
        rest = make("Mod", make("Abs", x), make("Abs", y), fmod=1)
        negative = make("Less", x, make.like(0, x))
        replace(node, make("Where", negative, make("Neg", rest), rest))
        return True
    rest = make("Mod", x, y)
    if kind.name in _UNSIGNED:
        replace(node, rest)
        return True
    zero = make.like(0, x)
    differ = make("Xor", make("Less", x, zero), make("Less", y, zero))
    wrong = make("And", differ, make("Not", make("Equal", rest, zero)))
    replace(node, make("Where", wrong, make("Sub", rest, y), rest))
    return True


def _is_magnitude(value: ir.Value) -> bool:
    made = value.producer()
    return made is not None and made.op_type == "Abs"


@surgery("reduce-noop", *_REDUCTIONS)
def reduce_noop(node: ir.Node) -> bool:
    """Nothing reduced, or everything: where no axes are given, the attribute tells which."""
    noop = node.attributes.get_int("noop_with_empty_axes", 0)
    axes = given(node, 1)
    stated = None if axes is None else ir.convenience.get_const_tensor(axes)
    listed = node.attributes.get("axes")
    empty = (axes is None and listed is None) or (stated is not None and not stated.size)
    if axes is not None and stated is None and noop:
        raise NoExactRuleError("noop_with_empty_axes=1 and axes that are computed at run time")
    if not noop:
        return False
    if not empty:
        del node.attributes["noop_with_empty_axes"]
        return True
    if node.op_type not in _UNCHANGED:
        raise NoExactRuleError("noop_with_empty_axes=1 without axes")
    replace(node, node.inputs[0])
    return True


@surgery("argmax-last-index", "ArgMax")
@surgery("argmin-last-index", "ArgMin")
def last_index(node: ir.Node) -> bool:
    """The first index on the reversed axis, counted from its end."""
    if not node.attributes.get_int("select_last_index", 0):
        return False
    make, source = Builder(node), node.inputs[0]
    axis, keep = node.attributes.get_int("axis", 0), node.attributes.get_int("keepdims", 1)
    size = size_of(source, axis)
    backwards = make.constant(np.arange(size, dtype=np.int64)[::-1].copy())
    turned = make("Gather", source, backwards, axis=axis)
    found = make(node.op_type, turned, axis=axis, keepdims=keep)
    replace(node, make("Sub", make.constant(np.array(size - 1, dtype=np.int64)), found))
    return True


@surgery("lrn-size", "LRN")
def lrn(node: ir.Node) -> bool:
    """An even window: the sum of the squares of the channels beside, written out.

    https://onnx.ai/onnx/operators/onnx__LRN.html
    """
    size = node.attributes.get_int("size")
    if size % 2:
        return False
    make, source, rank = Builder(node), node.inputs[0], rank_of(node.inputs[0])
    channels, before = size_of(source, 1), (size - 1) // 2
    after = size - 1 - before
    pads = make.ints(*(n if axis == 1 else 0 for n in (before, after) for axis in range(rank)))
    wide = make("Pad", make("Mul", source, source), pads, mode="constant")
    total = make.part(wide, 1, 0, channels)
    for shift in range(1, size):
        total = make("Add", total, make.part(wide, 1, shift, shift + channels))
    alpha = make.like(node.attributes.get_float("alpha", 1e-4) / size, source)
    beta = make.like(node.attributes.get_float("beta", 0.75), source)
    base = make(
        "Add", make.like(node.attributes.get_float("bias", 1.0), source), make("Mul", alpha, total)
    )
    replace(node, make("Div", source, make("Pow", base, beta)))
    return True


@surgery("unregistered", "CastLike")
def cast_like(node: ir.Node) -> bool:
    """A Cast; CANN before 9.0 has no parser for the other."""
    like_to_cast(node)
    return True


@surgery("unregistered", "NegativeLogLikelihoodLoss")
def by_definition(node: ir.Node) -> bool:
    """The operators by which ONNX defines it."""
    return write_out(node, _OPSET)
