"""safetensors: files of the reference writer read equal, and broken ones refused by name."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import SourceError

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.int64,
    torch.uint8,
    torch.bool,
]
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
NAMES = st.text(min_size=1, max_size=12).filter(
    lambda n: n != "__metadata__" and n.isprintable() and not n.startswith(("module.", "_orig"))
)


def tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Random bits; torch cannot view an empty tensor as a wider type, so that one is made anew."""
    count = math.prod(shape) * dtype.itemsize
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    values = np.random.default_rng(seed).integers(0, 256, count, np.uint8)
    bits = torch.from_numpy(values // 128 if dtype == torch.bool else values)
    return bits.view(dtype).reshape(shape)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.dictionaries(
        NAMES,
        st.tuples(SHAPES, st.sampled_from(DTYPES), st.integers(0, 99)),
        min_size=1,
        max_size=6,
    )
)
def test_reference_writer_round_trip(tmp_path: Path, table: dict[str, Any]) -> None:
    tensors = {name: tensor(*entry) for name, entry in table.items()}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.tensors) == set(tensors)
    for name, value in tensors.items():
        array = checkpoint.read(name)
        assert array.shape == tuple(value.shape)
        assert array.tobytes() == bytes(value.reshape(-1).view(torch.uint8).tolist())


def entry(
    begin: int, end: int, shape: list[Any] | None = None, dtype: str = "U8"
) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


def blob(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


BROKEN: dict[str, tuple[bytes, str]] = {
    "hole": (blob({"a": entry(0, 2), "b": entry(3, 4)}, b"1234"), "hole of 1 bytes"),
    "overlap": (blob({"a": entry(0, 3), "b": entry(2, 4)}, b"1234"), "overlaps another"),
    "trailing": (blob({"a": entry(0, 2)}, b"123"), "bytes behind its last tensor"),
    "cut": (blob({"a": entry(0, 4)}, b"123"), "is cut off"),
    "first hole": (blob({"a": entry(1, 2)}, b"12"), "hole of 1 bytes"),
    "twice": (
        blob(b'{"a":%(e)s,"a":%(e)s}' % {b"e": json.dumps(entry(0, 1)).encode()}, b"1"),
        "'a' occurs twice",
    ),
    "field twice": (
        blob(b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', b"1"),
        "'dtype' occurs twice",
    ),
    "blank": (
        blob(b' {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
        "does not begin with '{'",
    ),
    "shape": (blob({"a": entry(0, 4, [3])}, b"1234"), "needs 3 bytes and its offsets span 4"),
    "negative": (blob({"a": entry(0, 4, [-2, -2])}, b"1234"), "no natural numbers"),
    "fraction": (blob({"a": entry(0, 4, [4.0])}, b"1234"), "no natural numbers"),
    "truth": (blob({"a": entry(0, 1, [True])}, b"1"), "no natural numbers"),
    "huge": (blob({"a": entry(0, 4, [2**63])}, b"1234"), "no natural numbers"),
    "product": (blob({"a": entry(0, 4, [2**40, 2**40])}, b"1234"), "offsets span 4"),
    "backwards": (
        blob({"a": {"dtype": "U8", "shape": [1], "data_offsets": [4, 1]}}, b"1234"),
        "offsets span -3",
    ),
    "dtype": (blob({"a": entry(0, 4, dtype="Q4")}, b"1234"), "element type 'Q4'"),
    "fields": (blob({"a": entry(0, 1) | {"code": "x"}}, b"1"), "or has more"),
    "no table": (blob({"a": [1]}, b"1"), "lacks dtype"),
    "metadata": (blob({"__metadata__": {"a": 1}, "a": entry(0, 1)}, b"1"), "__metadata__"),
    "length": (blob({"a": entry(0, 1)}, b"1", 2**40), "declares a header of"),
    "longer": (blob({"a": entry(0, 1)}, b"1", 5000), "declares a header of 5000"),
    "json": (blob(b'{"a":', b""), "damaged"),
    "utf-8": (blob(b'{"\xff":1}', b""), "damaged"),
    "deep": (blob(b'{"a":' * 100000, b""), "damaged"),
    "nothing": (blob({}), "no dict of tensors"),
    "alias": (
        blob({"__metadata__": {"ascend_migrate.tied": '{"b":"c"}'}, "a": entry(0, 1)}, b"1"),
        "ties 'b'",
    ),
    "bool": (blob({"a": entry(0, 2, dtype="BOOL")}, b"\x01\x02"), "neither 0 nor 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file(tmp_path: Path, name: str) -> None:
    data, reason = BROKEN[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        open_checkpoint(path).read("a")
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_alias_of_a_stored_tensor(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = {"__metadata__": {"ascend_migrate.tied": '{"b":"a"}'}, "a": entry(0, 2)}
    path.write_bytes(blob(header, b"\x05\x06"))
    checkpoint = open_checkpoint(path)
    assert checkpoint.shared == (("a", "b"),)
    assert checkpoint.read("b").tolist() == [5, 6]
