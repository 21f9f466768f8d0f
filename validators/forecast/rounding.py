"""The number types that a device computes in, and rounding to them as it does.

float16 and bfloat16 are IEEE 754's and torch's. HF32 is Ascend's own, for what the cube unit reads
of float32: the range of float32 and a mantissa of 11 bits (ATC's documentation of --allow_hf32).
Ties go to the even neighbour: the mode of the device's casts by default (AscendC's SetHF32, mode 0;
asc_float2half).
"""

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.cases import Array

HF32 = "hf32"

_BITS = 11
"""Of HF32's mantissa, the hidden one not counted."""

_DROPPED = 23 - _BITS
"""Bits of float32's mantissa that HF32 lacks."""


class _Hf32(Precision):
    """HF32 in the place of a policy's type: what the judgement wants to know of it."""

    def __init__(self) -> None:
        super().__init__(HF32)

    @property
    def largest(self) -> float:
        """That of float32."""
        return float(np.finfo(np.float32).max)

    @property
    def smallest(self) -> float:
        """That of float32."""
        return float(np.finfo(np.float32).tiny)

    @property
    def epsilon(self) -> float:
        """The unit roundoff of 11 stored bits and the hidden one."""
        return 2.0 ** -(_BITS + 1)


def number(name: str) -> Precision:
    """Returns the range and the roundoff of a type."""
    return _Hf32() if name == HF32 else Precision(name)


class Rounding:
    """Rounding of float32 arrays to one type.

    Args:
        name: float16, bfloat16 or hf32.
        saturates: whether what leaves the range becomes the largest number, and NaN zero, as on
            chips without infinities; else it becomes infinite.
    """

    def __init__(self, name: str, *, saturates: bool) -> None:
        self.number = number(name)
        self._name, self._saturates = name, saturates

    def __call__(self, array: Array, *, clips: bool = False) -> Array:
        """Returns the float32 array with every element rounded.

        Args:
            array: of float32.
            clips: brings it into the range first, as ATC does with weights (--is_weight_clip).
        """
        if self._name == HF32:
            rounded = _fewer_bits(array, _DROPPED)
        else:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                rounded = array.astype(numpy_dtype(self._name)).astype(np.float32)
        if clips or self._saturates:
            largest = np.float32(self.number.largest)
            np.clip(rounded, -largest, largest, out=rounded)
        if self._saturates:
            np.copyto(rounded, np.float32(0), where=np.isnan(rounded))
        return rounded


def _fewer_bits(array: Array, dropped: int) -> Array:
    """Rounds the mantissa to nearest, ties to even; the exponent takes the carry."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    odd = (bits >> np.uint32(dropped)) & np.uint32(1)
    rounded = bits + (np.uint32((1 << (dropped - 1)) - 1) + odd)
    rounded &= np.uint32(0xFFFFFFFF ^ ((1 << dropped) - 1))
    found: Array = rounded.view(np.float32).reshape(array.shape)
    np.copyto(found, array, where=~np.isfinite(array))  # a NaN's bits would carry into its sign
    return found
