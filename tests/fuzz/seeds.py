"""Where the fuzzer begins: small files of every dialect, made by the libraries that define them.

``python -m tests.fuzz.seeds FOLDER`` writes them, one folder for each target.
"""

import io
import json
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from tests.checkpoint.test_gguf import gguf
from tests.fuzz.targets import SHARD_TENSORS, SHARDS, STORAGE_BYTES
from torch import nn

jit: Any = torch.jit

_DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8),
    *(torch.bool, torch.complex64, torch.float8_e4m3fn, torch.uint16),
)


def _full(dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(STORAGE_BYTES // dtype.itemsize, dtype=dtype)


def _states() -> Iterator[Any]:
    """States whose storages all have the one size that the target of the unpickler provides."""
    for dtype in _DTYPES:
        yield {"w": _full(dtype)}
    whole = torch.zeros(64)
    yield OrderedDict(a=whole[:32].view(4, 8), b=whole[32:].view(8, 4).t(), c=whole)
    yield {"model": {"w": nn.Parameter(whole), "n": whole[3]}, "epoch": 3, "optimizer": {}}
    yield {"w": torch.zeros(32, dtype=torch.complex64).conj(), "e": whole[:0]}
    yield {"state_dict": {"module.w": whole}, "args": (1, 2.5, None, True, b"x", "y")}
    yield whole.expand(3, 64)
    yield {1: whole, "x": [whole, {"y": whole}]}


def _file(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _pickle_of(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("/data.pkl")))


def unpickler() -> Iterator[bytes]:
    """Pickles that torch writes, and every opcode that pickle itself writes."""
    for state in _states():
        for protocol in (2, 4):
            yield _pickle_of(_file(state, pickle_protocol=protocol))
    odd = {
        "a": [1, -1, 2**40, 2**2100, 1.5],
        "b": ((), (1,), {1}, frozenset("x")),
        "c": b"\0" * 300,
    }
    for protocol in range(6):
        yield pickle.dumps(odd, protocol)
        yield pickle.dumps(bytearray(b"x"), protocol)
    yield b"(icollections\nOrderedDict\n."
    yield b"(ccollections\nOrderedDict\no."


def archive() -> Iterator[bytes]:
    """Zip files of each kind, stored and deflated, with zip64 fields and a comment."""
    plain = _file({"w": torch.zeros(4), "b": torch.ones(2, 2)})
    yield plain
    with zipfile.ZipFile(io.BytesIO(plain)) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    for method, comment in ((zipfile.ZIP_DEFLATED, b""), (zipfile.ZIP_STORED, b"a comment")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            file.comment = comment
            for name, data in entries.items():
                with file.open(zipfile.ZipInfo(name), "w", force_zip64=not comment) as stream:
                    stream.write(data)
        yield buffer.getvalue()
    for writer in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        writer(buffer, a=np.arange(3), b=np.zeros((2, 0), np.float16), c=np.array(1, ">i4"))
        yield buffer.getvalue()
    buffer = io.BytesIO()
    jit.save(jit.script(nn.Linear(2, 2)), buffer)
    yield buffer.getvalue()
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), buffer)
    yield buffer.getvalue()


def header() -> Iterator[bytes]:
    """Safetensors files."""
    yield save({"w": torch.zeros(2, 3), "b": torch.zeros(3, dtype=torch.bfloat16)})
    yield save(
        {"w": torch.tensor(1), "e": torch.zeros(0, 4), "u": torch.zeros(1).bool()}, {"a": "b"}
    )
    for text in (
        '{"__metadata__":{"ascend_migrate.tied":"{}"}}',
        "{}",
        '{"\\u00e9":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}',
    ):
        yield struct.pack("<Q", len(text)) + text.encode() + b"\0"


def index() -> Iterator[bytes]:
    """Indexes, most of them right."""
    whole = {SHARD_TENSORS[0]: SHARDS[0], SHARD_TENSORS[1]: SHARDS[0]}
    for table in (whole, {}, {"w": "../a.safetensors"}, {"w": 1}, {"w": "b.safetensors"}):
        yield json.dumps({"metadata": {"total_size": 16}, "weight_map": table}).encode()
    yield b'{"weight_map": {"w": "a.safetensors", "w": "b.safetensors"}}'


def other() -> Iterator[bytes]:
    """Files that are no zip archives."""
    for state in _states():
        yield _file(state, _use_new_zipfile_serialization=False)
    yield gguf([("w", [4], 0, bytes(16)), ("q", [32], 8, bytes(34)), ("n", [], 27, bytes(8))])
    yield pickle.dumps({"w": 1})


def write(folder: Path) -> None:
    """Writes all seeds."""
    for make in (unpickler, archive, header, index, other):
        into = folder / make.__name__
        into.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(make()):
            (into / f"seed-{number:02}").write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
