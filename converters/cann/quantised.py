"""Integers that stand for real numbers by a scale and a zero point, in floats and casts.

CANN's parser knows none of ONNX's quantised operators at any opset. Products of bytes are exact in
float32 as long as their sum stays below 2**24; a longer sum is taken apart. Results are bit-equal
to onnxruntime's where the device computes these nodes in float32, not in float16.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    constant_of,
    dtype_of,
    given,
    is_constant,
    rank_of,
    replace,
    size_of,
)

_EXACT = 1 << 24
"""Below this float32 holds every integer."""
_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)
_WHOLE = "ascend_migrate.whole"
"""Key in ``ir.Value.meta``: the same whole numbers as floats, before their cast to bytes."""
FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32


@surgery("unregistered", "QuantizeLinear")
def quantize(node: ir.Node) -> bool:
    """Div, Round, Add, Clip and Cast: halves to even, then saturated."""
    make, x = Builder(node), node.inputs[0]
    zero = given(node, 2)
    kind = ir.DataType.UINT8 if zero is None else dtype_of(zero)
    if dtype_of(x) != FLOAT:
        raise NoExactRuleError("quantises what is not float32")
    share = make("Div", x, _spread(make, node, node.inputs[1]))
    zero = None if zero is None else _float(make, _spread(make, node, zero))
    replace(node, _saturated(make, share, zero, kind))
    return True


@surgery("unregistered", "DequantizeLinear")
def dequantize(node: ir.Node) -> bool:
    """Cast, Sub and Mul, per tensor or per axis; no cast of what was quantised just before."""
    make, zero = Builder(node), given(node, 2)
    found = _centred(make, node.inputs[0], None if zero is None else _spread(make, node, zero))
    replace(node, make("Mul", found, _spread(make, node, node.inputs[1])))
    return True


@surgery("unregistered", "DynamicQuantizeLinear")
def dynamic(node: ir.Node) -> bool:
    """The least and the greatest number, and then as QuantizeLinear."""
    make, x = Builder(node), node.inputs[0]
    zero, top = make.like(0, x), make.like(255, x)
    low = make("Min", make("ReduceMin", x, keepdims=0), zero)
    high = make("Max", make("ReduceMax", x, keepdims=0), zero)
    scale = make("Div", make("Sub", high, low), top)
    # onnxruntime divides a constant zero by one.
    scale = make("Where", make("Equal", scale, zero), make.like(1, x), scale)
    point = make("Round", make("Clip", make("Sub", zero, make("Div", low, scale)), zero, top))
    found = _saturated(make, make("Div", x, scale), point, ir.DataType.UINT8)
    replace(node, found, scale, _bytes(make, point, ir.DataType.UINT8))
    return True


@surgery("unregistered", "MatMulInteger")
def matmul_integer(node: ir.Node) -> bool:
    """MatMul of whole numbers in float32, its long sums taken apart; exact, as int32."""
    replace(node, _matmul(node, 0, 1, 2, 3))
    return True


@surgery("unregistered", "QLinearMatMul")
def qlinear_matmul(node: ir.Node) -> bool:
    """As MatMulInteger, then scaled by one float, rounded and saturated."""
    make = Builder(node)
    total = _matmul(node, 0, 3, 2, 5)
    a, b = (_line(make, node, place, axis) for place, axis in ((1, -2), (4, -1)))
    replace(node, _rescaled(make, total, a, b, node, 6))
    return True


@surgery("unregistered", "ConvInteger")
def conv_integer(node: ir.Node) -> bool:
    """Conv of whole numbers in float32, its long sums taken apart; exact, as int32."""
    replace(node, _conv(node, 0, 1, 2, 3))
    return True


@surgery("unregistered", "QLinearConv")
def qlinear_conv(node: ir.Node) -> bool:
    """As ConvInteger, then scaled by one float for each channel, rounded and saturated."""
    make, total, bias = Builder(node), _conv(node, 0, 3, 2, 5), given(node, 8)
    column = make.ints(-1, *[1] * (rank_of(node.inputs[0]) - 2))
    if bias is not None:
        total = make("Add", total, make("Reshape", bias, column))
    scale = node.inputs[4]
    if rank_of(scale):
        scale = make("Reshape", scale, column)
    replace(node, _rescaled(make, total, node.inputs[1], scale, node, 6))
    return True


def _spread(make: Builder, node: ir.Node, value: ir.Value | None) -> ir.Value | None:
    """Lays the scale of each entry of an axis over the elements that it is for."""
    if rank_of(value) == 0:
        return value
    rank = rank_of(node.inputs[0])
    if rank_of(value) != 1:
        raise NoExactRuleError("a scale for each block")
    if size_of(value, 0) == 1:
        return make("Reshape", value, make.ints(*[1] * min(rank, 1)))
    axis = node.attributes.get_int("axis", 1) % rank
    return make("Reshape", value, make.ints(-1, *[1] * (rank - 1 - axis)))


def _float(make: Builder, value: ir.Value | None) -> ir.Value:
    """Returns whole numbers as float32, without the detour over the bytes that they were made."""
    whole = None if value is None else value.meta.get(_WHOLE)
    if isinstance(whole, ir.Value) and whole.producer() is not None:
        return whole
    return make("Cast", value, to=int(FLOAT))


def _centred(make: Builder, x: ir.Value | None, zero: ir.Value | None) -> ir.Value:
    wide = _float(make, x)
    return wide if zero is None else make("Sub", wide, _float(make, zero))


def _bytes(make: Builder, value: ir.Value, kind: ir.DataType) -> ir.Value:
    made = make("Cast", value, to=int(kind))
    made.meta[_WHOLE] = value
    return made


def _saturated(
    make: Builder, share: ir.Value, zero: ir.Value | None, kind: ir.DataType
) -> ir.Value:
    """Rounds halves to even, moves to the zero point and clips to the range of ``kind``."""
    if kind not in _BYTES:
        raise NoExactRuleError(f"quantises to {kind.name.lower()}; int8 and uint8 are exact")
    found = make("Round", share)
    if zero is not None:
        found = make("Add", found, zero)
    ends = np.iinfo(kind.numpy())
    low, high = (make.constant(np.array(end, dtype=np.float32)) for end in (ends.min, ends.max))
    return _bytes(make, make("Clip", found, low, high), kind)


def _line(make: Builder, node: ir.Node, place: int, axis: int) -> ir.Value | None:
    """Returns one number for each row (-2), or for each column (-1)."""
    value = given(node, place)
    if value is None or rank_of(value) != 1 or size_of(value, 0) == 1:
        return (
            value if value is None or rank_of(value) == 0 else make("Reshape", value, make.ints(1))
        )
    return make("Unsqueeze", value, make.ints(1)) if axis == -2 else value  # noqa: PLR2004


def _matmul(node: ir.Node, a: int, b: int, a_zero: int, b_zero: int) -> ir.Value:
    make = Builder(node)
    left = _centred(make, node.inputs[a], _line(make, node, a_zero, -2))
    right = _centred(make, node.inputs[b], _line(make, node, b_zero, -1))
    length = size_of(node.inputs[b], 0 if rank_of(node.inputs[b]) == 1 else -2)
    first, second = rank_of(node.inputs[a]) - 1, max(rank_of(node.inputs[b]) - 2, 0)

    def product(start: int, stop: int) -> ir.Value:
        if (start, stop) == (0, length):
            return make("MatMul", left, right)
        parts = make.part(left, first, start, stop), make.part(right, second, start, stop)
        return make("MatMul", *parts)

    largest = _distance(node, a, a_zero) * _distance(node, b, b_zero)
    return _summed(make, length, largest, product)


def _conv(node: ir.Node, x: int, w: int, x_zero: int, w_zero: int) -> ir.Value:
    make, weight, group = Builder(node), node.inputs[w], node.attributes.get_int("group", 1)
    kept = [item for name, item in node.attributes.items()]
    zero = given(node, w_zero)
    if zero is not None and rank_of(zero) == 1 and size_of(zero, 0) > 1:
        zero = make("Reshape", zero, make.ints(-1, *[1] * (rank_of(weight) - 1)))
    left, right = _centred(make, node.inputs[x], given(node, x_zero)), _centred(make, weight, zero)
    channels = size_of(weight, 1)
    each = math.prod(size_of(weight, axis) for axis in range(2, rank_of(weight)))
    stated = {item.name: item for item in kept}

    def product(start: int, stop: int) -> ir.Value:
        if (start, stop) == (0, channels):
            return make("Conv", left, right, **stated)
        if group != 1:
            raise NoExactRuleError(f"sums of {channels * each} products of bytes in groups")
        parts = make.part(left, 1, start, stop), make.part(right, 1, start, stop)
        return make("Conv", *parts, **stated)

    largest = _distance(node, x, x_zero) * _distance(node, w, w_zero) * each
    return _summed(make, channels, largest, product)


def _distance(node: ir.Node, place: int, zero: int) -> int:
    """Returns how far a byte can be from its zero point."""
    value, point = given(node, place), given(node, zero)
    kind = dtype_of(value)
    if kind not in _BYTES:
        raise NoExactRuleError(f"multiplies {kind.name.lower()}; int8 and uint8 are exact")
    ends = np.iinfo(kind.numpy())
    if point is not None and not is_constant(point):
        return int(ends.max) - int(ends.min)
    points = np.zeros(1, np.int64) if point is None else constant_of(node, zero)
    if points is None:
        raise TypeError("a constant has a value")
    wide = points.astype(np.int64)
    return int(max(int(ends.max) - wide.min(), wide.max() - int(ends.min)))


def _summed(
    make: Builder, length: int, largest: int, product: Callable[[int, int], ir.Value]
) -> ir.Value:
    """Returns a sum over ``length`` terms of at most ``largest`` as int32."""
    chunk = (_EXACT - 1) // max(largest, 1)
    if chunk < 1:
        raise NoExactRuleError("a kernel whose products of bytes do not fit in float32")
    starts: Sequence[int] = range(0, length, chunk)
    parts = [
        make("Cast", product(start, min(start + chunk, length)), to=int(INT32)) for start in starts
    ]
    total = parts[0]
    for part in parts[1:]:
        total = make("Add", total, part)
    return total


def _rescaled(
    make: Builder,
    total: ir.Value,
    a: ir.Value | None,
    b: ir.Value | None,
    node: ir.Node,
    place: int,
) -> ir.Value:
    """Scales an int32 as onnxruntime does: by one float, (a * b) / y."""
    zero = given(node, place + 1)
    factor = make("Div", make("Mul", a, b), node.inputs[place])
    share = make("Mul", make("Cast", total, to=int(FLOAT)), factor)
    return _saturated(make, share, None if zero is None else _float(make, zero), dtype_of(zero))
