"""One table of element types: how each library spells it, its width and its unit roundoff."""

from dataclasses import dataclass
from typing import Any

from ascend_migrate.pipeline.errors import SourceError


@dataclass(frozen=True, slots=True)
class DType:
    """An element type.

    Attributes:
        name: our spelling, which is torch's attribute name.
        safetensors: spelling in a safetensors header, or None where the format has no such type.
        itemsize: bytes per element.
        numpy: spelling that ``numpy.dtype`` accepts once ml_dtypes is imported.
        onnx: value of ``onnx.TensorProto.DataType``, or None where ONNX has no such type.
        epsilon: unit roundoff (half the gap after 1) of a binary floating type, else None.
        storage: torch's storage class name in pickled checkpoints, or None.
    """

    name: str
    safetensors: str | None
    itemsize: int
    numpy: str
    onnx: int | None
    epsilon: float | None
    storage: str | None


# Unit roundoffs are 2**-(p) with p the significand's bits including the hidden one (IEEE 754;
# bfloat16 and the OCP 8-bit formats likewise).
DTYPES: tuple[DType, ...] = (
    DType("float64", "F64", 8, "float64", 11, 2.0**-53, "DoubleStorage"),
    DType("float32", "F32", 4, "float32", 1, 2.0**-24, "FloatStorage"),
    DType("float16", "F16", 2, "float16", 10, 2.0**-11, "HalfStorage"),
    DType("bfloat16", "BF16", 2, "bfloat16", 16, 2.0**-8, "BFloat16Storage"),
    DType("float8_e4m3fn", "F8_E4M3", 1, "float8_e4m3fn", 17, 2.0**-4, "Float8_e4m3fnStorage"),
    DType("float8_e5m2", "F8_E5M2", 1, "float8_e5m2", 19, 2.0**-3, "Float8_e5m2Storage"),
    DType("float8_e4m3fnuz", "F8_E4M3FNUZ", 1, "float8_e4m3fnuz", 18, 2.0**-4, None),
    DType("float8_e5m2fnuz", "F8_E5M2FNUZ", 1, "float8_e5m2fnuz", 20, 2.0**-3, None),
    DType("float8_e8m0fnu", "F8_E8M0", 1, "float8_e8m0fnu", 24, 2.0**-1, None),
    DType("int64", "I64", 8, "int64", 7, None, "LongStorage"),
    DType("int32", "I32", 4, "int32", 6, None, "IntStorage"),
    DType("int16", "I16", 2, "int16", 5, None, "ShortStorage"),
    DType("int8", "I8", 1, "int8", 3, None, "CharStorage"),
    DType("uint64", "U64", 8, "uint64", 13, None, None),
    DType("uint32", "U32", 4, "uint32", 12, None, None),
    DType("uint16", "U16", 2, "uint16", 4, None, None),
    DType("uint8", "U8", 1, "uint8", 2, None, "ByteStorage"),
    DType("bool", "BOOL", 1, "bool", 9, None, "BoolStorage"),
    DType("complex64", "C64", 8, "complex64", 14, 2.0**-24, "ComplexFloatStorage"),
    DType("complex128", None, 16, "complex128", 15, 2.0**-53, "ComplexDoubleStorage"),
)

BY_NAME = {dtype.name: dtype for dtype in DTYPES}
BY_SAFETENSORS = {d.safetensors: d for d in DTYPES if d.safetensors is not None}
BY_ONNX = {dtype.onnx: dtype for dtype in DTYPES if dtype.onnx is not None}
BY_STORAGE = {dtype.storage: dtype for dtype in DTYPES if dtype.storage is not None}


def numpy_dtype(name: str) -> Any:
    """Returns the ``numpy.dtype`` of our spelling ``name``.

    Raises:
        SourceError: no such element type.
    """
    import ml_dtypes
    import numpy as np

    if name not in BY_NAME:
        raise SourceError(f"element type {name!r} is not known; known: {', '.join(BY_NAME)}")
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def torch_dtype(name: str) -> Any:
    """Returns the ``torch.dtype`` of our spelling ``name``."""
    import torch

    return getattr(torch, BY_NAME[name].name)
