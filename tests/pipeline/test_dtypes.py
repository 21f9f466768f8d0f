"""The table of element types against the libraries that it speaks for."""

import json
import re
import warnings

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch

from ascend_migrate.pipeline import dtypes
from ascend_migrate.pipeline.dtypes import DTYPES, DType, numpy_dtype, torch_dtype
from ascend_migrate.pipeline.errors import SourceError

each = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)


@each
def test_torch(dtype: DType) -> None:
    kind = torch_dtype(dtype.name)
    assert str(kind) == f"torch.{dtype.name}"
    assert kind.itemsize == dtype.itemsize
    rounds = kind.is_floating_point or kind.is_complex
    if dtype.name != "float8_e5m2fnuz":  # torch 2.13 says 0.125, but 1.25 follows on 1
        assert dtype.epsilon == (torch.finfo(kind).eps / 2 if rounds else None)


@each
def test_numpy(dtype: DType) -> None:
    kind = numpy_dtype(dtype.name)
    assert kind.name == dtype.name
    assert kind.itemsize == dtype.itemsize
    assert np.dtype(dtype.numpy) == kind


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.safetensors], ids=lambda d: d.name)
def test_safetensors(dtype: DType) -> None:
    data = safetensors.torch.save({"x": torch.zeros(3, dtype=torch_dtype(dtype.name))})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["x"]["dtype"] == dtype.safetensors
    assert header["x"]["data_offsets"] == [0, 3 * dtype.itemsize]


@each
def test_onnx(dtype: DType) -> None:
    spelled = {
        "float64": "DOUBLE",
        "float32": "FLOAT",
        "float8_e4m3fn": "FLOAT8E4M3FN",
        "float8_e5m2": "FLOAT8E5M2",
        "float8_e4m3fnuz": "FLOAT8E4M3FNUZ",
        "float8_e5m2fnuz": "FLOAT8E5M2FNUZ",
        "float8_e8m0fnu": "FLOAT8E8M0",
    }.get(dtype.name, dtype.name.upper())
    assert dtype.onnx == onnx.TensorProto.DataType.Value(spelled)


@each
def test_storage(dtype: DType) -> None:
    known = getattr(torch, dtype.storage, None) if dtype.storage else None
    # The 8-bit types have a storage name in files, but no class that bears it.
    if known is not None:
        with warnings.catch_warnings(action="ignore"):  # deprecated since torch 2.0
            assert known.dtype == torch_dtype(dtype.name)
    assert (known is None) == dtype.name.startswith(("float8", "uint16", "uint32", "uint64"))


def test_safetensors_lacks_the_rest() -> None:
    # The reference reader names all variants that it knows when it meets one that it does not.
    header = b'{"x":{"dtype":"C128","shape":[1],"data_offsets":[0,16]}}'
    with pytest.raises(safetensors.SafetensorError, match="unknown variant") as caught:
        safetensors.torch.load(len(header).to_bytes(8, "little") + header + bytes(16))
    known = set(re.findall("`([A-Z0-9_]+)`", str(caught.value))) - {"C128"}
    assert [d.name for d in DTYPES if d.safetensors not in known] == ["complex128"]


def test_no_spelling_stands_for_two_types() -> None:
    assert [len(table) for table in (dtypes.BY_NAME, dtypes.BY_ONNX)] == [len(DTYPES)] * 2
    assert len(dtypes.BY_SAFETENSORS) == sum(d.safetensors is not None for d in DTYPES)
    assert len(dtypes.BY_STORAGE) == sum(d.storage is not None for d in DTYPES)


@pytest.mark.parametrize("name", ["float", "int3", "object", "", "__class__"])
def test_other_types_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match=f"element type '{name}' is not known"):
        numpy_dtype(name)
