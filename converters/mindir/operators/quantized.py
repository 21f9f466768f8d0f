"""Integers that stand for real numbers by a scale and a zero point.

MindSpore multiplies small integers on no two devices alike. Products of bytes are exact in float32
as long as their sum stays below 2 ** 24; for longer sums one factor is taken apart.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.interpolation import times
from ascend_migrate.converters.mindir.operators.nn import conv, matrices
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, static
from ascend_migrate.pipeline.dtypes import BY_ONNX

_VERSIONS = (10, 13, 19, 21, 23, 24, 25, 28)

_EXACT = 1 << 24
"""Up to here float32 holds every integer."""

_BYTE, _HALF = 255, 16
"""The largest difference of two bytes, and what one is divided by where it is taken apart."""


@operator("QuantizeLinear", since=_VERSIONS)
def quantize_linear(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html: per tensor, axis or block."""
    x, scale, zero = node[0], node[1], node.optional(2)
    code = node.attributes.get("output_dtype")
    dtype = zero.dtype if zero is not None else BY_ONNX[code].name if code else "uint8"
    precision = node.attributes.get("precision")
    kind = BY_ONNX[precision].name if precision else scale.dtype
    if not np.issubdtype(np.dtype(dtype), np.integer) or "float" not in kind:
        raise UnsupportedError(f"{x.dtype} divided as {kind} to {dtype}")
    factor = context.cast(_spread(context, node, scale), kind)
    share = context.cast(binary(context, "RealDiv", context.cast(x, kind), factor), "float32")
    return _saturated(context, share, zero and _spread(context, node, zero), dtype)


@operator("DequantizeLinear", since=_VERSIONS)
def dequantize_linear(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html: per tensor, axis or block."""
    x, scale, zero = node[0], node[1], node.optional(2)
    code = node.attributes.get("output_dtype")
    found = context.cast(x, "float32")
    if zero is not None:
        low = context.cast(_spread(context, node, zero), "float32")
        found = binary(context, "Sub", found, low)
    factor = context.cast(_spread(context, node, scale), "float32")
    found = binary(context, "Mul", found, factor)
    return context.cast(found, BY_ONNX[code].name if code else scale.dtype)


@operator("MatMulInteger", since=10)
def matmul_integer(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__MatMulInteger.html: exact, as int32."""
    a = _centred(context, node[0], node.optional(2), -2)
    b = _centred(context, node[1], node.optional(3), -1)
    return _matmul(context, a, b)


@operator("QLinearMatMul", since=(10, 21))
def qlinear_matmul(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html: exact, then scaled and rounded."""
    a = _centred(context, node[0], node[2], -2)
    b = _centred(context, node[3], node[5], -1)
    scales = (_line(context, node[1], -2), _line(context, node[4], -1), node[6])
    return _rescaled(context, _matmul(context, a, b), scales, node[7])


@operator("ConvInteger", since=10)
def conv_integer(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ConvInteger.html: exact, as int32."""
    x = _centred(context, node[0], node.optional(2), 0)
    w = _centred(context, node[1], node.optional(3), 0)
    return _conv(context, node, x, w)


@operator("QLinearConv", since=10)
def qlinear_conv(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__QLinearConv.html: exact, then scaled and rounded."""
    x = _centred(context, node[0], node[2], 0)
    w = _centred(context, node[3], node[5], 0)
    total, bias = _conv(context, node, x, w), node.optional(8)
    column = (-1, *(1,) * (x.rank - 2))
    if bias is not None:
        total = binary(context, "Add", total, context.reshape(bias, column))
    factor = context.reshape(node[4], column) if node[4].rank else node[4]
    return _rescaled(context, total, (node[1], factor, node[6]), node[7])


def _spread(context: Context, node: Node, value: Value) -> Value:
    """Lays the scale of each axis or block over the elements that it is for."""
    x, block = node[0], int(node.attributes.get("block_size") or 0)
    if value.rank == 0 or value.shape == (1,):
        return context.reshape(value, ())
    axis = node.axis(x.rank)
    if value.rank == 1 and not block:
        return context.reshape(value, (-1, *(1,) * (x.rank - 1 - axis)))
    sizes = list(static(value.sizes, "the scale of a blocked quantisation"))
    wide = context.unsqueeze(value, (axis + 1,))
    wide = context.expand(wide, (*sizes[: axis + 1], block, *sizes[axis + 1 :]))
    sizes[axis] *= block
    return context.slice(context.reshape(wide, sizes), axis, 0, context.dim(x, axis))


def _centred(context: Context, x: Value, zero: Value | None, axis: int) -> Value:
    """Returns the distance from the zero point, as float32."""
    wide = context.cast(x, "float32")
    if zero is None:
        return wide
    low = context.cast(zero, "float32")
    if low.rank == 1 and low.shape != (1,):
        place = axis % x.rank
        low = context.reshape(low, (-1, *(1,) * (x.rank - 1 - place)))
    elif low.rank == 1:
        low = context.reshape(low, ())
    return binary(context, "Sub", wide, low)


def _line(context: Context, scale: Value, axis: int) -> Value:
    """Returns one scale for each row, or for each column."""
    return context.unsqueeze(scale, (1,)) if scale.rank == 1 and axis == -2 else scale  # noqa: PLR2004


def _matmul(context: Context, a: Value, b: Value) -> Value:
    (length,) = static(a.sizes[-1:], "the inner size of an integer product")
    return _exact(context, length, b, lambda part: matrices(context, a, part))


def _conv(context: Context, node: Node, x: Value, w: Value) -> Value:
    length = math.prod(static(w.sizes[1:], "the convolution's weight"))

    def product(part: Value) -> Value:
        found = conv(context, replace(node, inputs=(x, part)))
        return found if isinstance(found, Value) else found[0]

    return _exact(context, length, w, product)


def _exact(
    context: Context, length: int, factor: Value, product: Callable[[Value], Value]
) -> Value:
    """Returns a sum of ``length`` products as int32."""
    if length * _BYTE * _BYTE < _EXACT:
        return context.cast(product(factor), "int32")
    if length * _BYTE * _HALF >= _EXACT:
        raise UnsupportedError(f"a sum of {length} products of bytes")
    scaled = times(context, factor, 1 / _HALF)
    high = context.emit("Floor", scaled, dtype="float32", shape=factor.shape)
    low = binary(context, "Sub", factor, times(context, high, _HALF))
    parts = [context.cast(product(part), "int32") for part in (high, low)]
    return binary(context, "Add", times(context, parts[0], _HALF), parts[1])


def _rescaled(
    context: Context, total: Value, scales: tuple[Value, Value, Value], zero: Value
) -> Value:
    a, b, y = (context.cast(scale, "float32") for scale in scales)
    factor = binary(context, "RealDiv", binary(context, "Mul", a, b), y)
    scaled = binary(context, "Mul", context.cast(total, "float32"), factor)
    return _saturated(context, scaled, zero, zero.dtype)


def _saturated(context: Context, share: Value, zero: Value | None, dtype: str) -> Value:
    """Rounds halves to even, moves to the zero point and clips to the range of ``dtype``."""
    found = context.emit("Round", share, dtype="float32", shape=share.shape)
    if zero is not None:
        found = binary(context, "Add", found, context.cast(zero, "float32"))
    bounds = np.iinfo(dtype)
    found = binary(context, "Maximum", found, context.like(bounds.min, found))
    found = binary(context, "Minimum", found, context.like(bounds.max, found))
    return context.cast(found, dtype)
