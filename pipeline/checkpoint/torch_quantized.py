"""Quantized tensors of torch: described, and made float32 as ``dequantize()`` makes them.

The arithmetic is that of aten/src/ATen/native/quantized, step by step, so that the results are
equal to the bit: per tensor ``float32(q - zero) * float32(scale)``; per channel the difference in
float32 and the product in float64; with float parameters all in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.packed import Packed
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTIZED = {
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    "QUInt4x2Storage": "uint8",
    "QUInt2x4Storage": "uint8",
}
"""Storages of quantized tensors, with the type of what is stored."""

SUB_BYTE = ("QUInt4x2Storage", "QUInt2x4Storage")
"""Several elements in a byte, so that sizes and bytes do not fit together as elsewhere."""

_REASON = (
    "is a torch-quantized tensor, and no form has a place for one; --unpack quantized makes it "
    "float32, or save its .dequantize(), or its .int_repr() with its scales"
)

UNREAD = Unsupported(
    "is a torch-quantized tensor of a kind that is not read; save its .dequantize(), or its "
    ".int_repr() with its scales"
)


def rebuild(view: View | Unsupported, parameters: Any) -> Unsupported:
    """Describes a quantized tensor.

    Args:
        view: the integers.
        parameters: ``(scheme, scale, zero point)`` or ``(scheme, scales, zero points, axis)``.

    Raises:
        FormatError: parameters that are none.
    """
    if not isinstance(view, View) or not isinstance(parameters, tuple) or not parameters:
        return UNREAD
    scheme, *rest = (str(parameters[0]), *parameters[1:])
    if scheme == "torch.per_tensor_affine":
        scale, zero = rest
        if type(scale) is not float or type(zero) is not int or not -(2**31) <= zero < 2**31:
            raise FormatError("holds a quantized tensor whose scale or zero point is none; damaged")
        return _packed((view,), partial(_per_tensor, scale, zero))
    if scheme in ("torch.per_channel_affine", "torch.per_channel_affine_float_qparams"):
        scales, zeros, axis = rest
        if not isinstance(scales, View) or not isinstance(zeros, View):
            return UNREAD  # lists, before torch 1.5
        if type(axis) is not int or not 0 <= axis < len(view.shape):
            raise FormatError("holds a quantized tensor with an axis that it lacks; damaged")
        if scales.shape != zeros.shape or scales.shape != (view.shape[axis],):
            raise FormatError("holds a quantized tensor with too many or too few scales; damaged")
        make = _with_float_zeros if scheme.endswith("float_qparams") else _per_channel
        return _packed((view, scales, zeros), partial(make, axis))
    raise FormatError(f"holds a quantized tensor of the scheme {shown(scheme)}; damaged")


def _packed(parts: tuple[View, ...], make: Any) -> Packed:
    return Packed(_REASON, "quantized", "float32", parts[0].shape, parts, make)


def _per_tensor(scale: float, zero: int, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    # In 32 bits, which wrap, as torch's own integers do.
    import numpy as np

    return (parts[0].astype(np.int32) - np.int32(zero)).astype(np.float32) * np.float32(scale)


def _per_channel(axis: int, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    import numpy as np

    values, scales, zeros = _along(axis, parts)
    difference = values.astype(np.float32) - zeros.astype(np.float32)
    return (difference.astype(np.float64) * scales.astype(np.float64)).astype(np.float32)


def _with_float_zeros(axis: int, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    import numpy as np

    values, scales, zeros = _along(axis, parts)
    difference = values.astype(np.float32) - zeros.astype(np.float32)
    return difference * scales.astype(np.float32)


def _along(axis: int, parts: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    values, *parameters = parts
    shape = [1] * values.ndim
    shape[axis] = -1
    return [values, *(array.reshape(shape) for array in parameters)]
