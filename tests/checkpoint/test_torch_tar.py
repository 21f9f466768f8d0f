"""The first format of torch.save, written as torch 0.1 did and read as today's torch does."""

import io
import pickle
import struct
import tarfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.reference import assert_equal, assert_refused, payload

from ascend_migrate.pipeline.checkpoint import open_checkpoint

DATA = torch.arange(24.0) - 7
# key -> (storage key, view of that storage)
TENSORS: dict[int, tuple[int, torch.Tensor]] = {
    11: (1, DATA.reshape(4, 6)),
    12: (1, DATA.reshape(4, 6).T),
    13: (1, DATA[5]),
    14: (2, torch.tensor([3, -(2**63), 2**63 - 1])),
    15: (3, DATA[8:16].reshape(2, 4)[:, 1:3]),
    16: (4, torch.empty(0, 2, dtype=torch.float16)),
}
STORAGES: dict[int, tuple[str, bytes, int]] = {
    1: ("FloatStorage", bytes(DATA.view(torch.uint8).tolist()), 24),
    2: ("LongStorage", bytes(TENSORS[14][1].view(torch.uint8).tolist()), 3),
    4: ("HalfStorage", b"", 0),
}
NAMES = {"a": 11, "turned": 12, "scalar": 13, "n": 14, "part": 15, "none": 16, "again": 11}
EXPECTED = {name: TENSORS[key][1] for name, key in NAMES.items()}


def named(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def triple(key: int, middle: bytes, kind: bytes) -> bytes:
    return b"(I%d\n" % key + middle + kind + b"t."


class Saver(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.key if isinstance(value, Key) else None


class Key:
    def __init__(self, key: Any) -> None:
        self.key = key


def parts_of(**more: bytes) -> dict[str, bytes]:
    """The four files of the archive."""
    storages = pickle.dumps(len(STORAGES), 2)
    for key, (kind, data, count) in STORAGES.items():
        storages += triple(key, b"S'cuda:0'\n", named("torch", kind))
        storages += struct.pack("<q", count) + data
    storages += pickle.dumps([(3, 1, 8, 8)], 2)
    tensors = pickle.dumps(len(TENSORS), 2)
    for key, (storage, view) in TENSORS.items():
        tensors += triple(key, b"I%d\n" % storage, named("torch", "FloatTensor"))
        offset = {12: 0, 13: 5, 15: 1}.get(key, 0)
        numbers = (*view.shape, *view.stride(), offset)
        tensors += struct.pack("<q", view.dim()) + struct.pack(f"<{len(numbers)}q", *numbers)
    buffer = io.BytesIO()
    Saver(buffer, 2).dump(OrderedDict((name, Key(key)) for name, key in NAMES.items()))
    facts = {"protocol_version": 1000, "little_endian": True, "type_sizes": {"int": 4}}
    return {
        "sys_info": pickle.dumps(facts, 2),
        "pickle": buffer.getvalue(),
        "storages": storages,
        "tensors": tensors,
        **more,
    }


def write_tar(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Writes contiguous tensors, each with a storage of its own."""
    kinds = {torch.float32: "FloatStorage", torch.int64: "LongStorage"}
    storages = tensors = pickle.dumps(len(state), 2)
    for key, tensor in enumerate(state.values()):
        storages += triple(key, b"S'cpu'\n", named("torch", kinds[tensor.dtype]))
        storages += struct.pack("<q", tensor.numel())
        storages += bytes(tensor.reshape(-1).view(torch.uint8).tolist())
        tensors += triple(100 + key, b"I%d\n" % key, named("torch", "FloatTensor"))
        numbers = (tensor.dim(), *tensor.shape, *tensor.stride(), 0)
        tensors += struct.pack(f"<{len(numbers)}q", *numbers)
    buffer = io.BytesIO()
    Saver(buffer, 2).dump({name: Key(100 + key) for key, name in enumerate(state)})
    storages += pickle.dumps([], 2)
    records = {"pickle": buffer.getvalue(), "storages": storages, "tensors": tensors}
    path.write_bytes(tar(records, 0))


def tar(parts: dict[str, bytes], mtime: float = 1.5) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as file:
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), mtime
            file.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("mtime", [0, 1490000000.25], ids=["plain", "with extra headers"])
def test_as_torch_reads_it(tmp_path: Path, mtime: float) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(tar(parts_of(), mtime))
    theirs = torch.load(path, map_location="cpu", weights_only=False)
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == "torch-tar"
    assert_equal(checkpoint, dict(theirs))
    assert_equal(checkpoint, EXPECTED)
    assert checkpoint.shared == (("a", "again"),)
    assert checkpoint.tensors["a"].device == "cuda:0"


def changed(name: str, old: bytes, new: bytes) -> Callable[[Path], bytes]:
    def make(_: Path) -> bytes:
        parts = parts_of()
        assert old in parts[name]
        return tar({**parts, name: parts[name].replace(old, new, 1)})

    return make


def without(name: str) -> Callable[[Path], bytes]:
    return lambda _: tar({n: data for n, data in parts_of().items() if n != name})


def twice(_: Path) -> bytes:
    buffer = io.BytesIO(tar(parts_of(), 0))
    with tarfile.open(fileobj=buffer, mode="a:") as file:
        file.addfile(tarfile.TarInfo("pickle"), io.BytesIO(b""))
    return buffer.getvalue()


def linked(_: Path) -> bytes:
    buffer = io.BytesIO(tar(parts_of(), 0))
    with tarfile.open(fileobj=buffer, mode="a:") as file:
        entry = tarfile.TarInfo("tensors2")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(entry)
    return buffer.getvalue()


def flipped(_: Path) -> bytes:
    data = bytearray(tar(parts_of(), 0))
    data[130] ^= 1
    return bytes(data)


REFUSED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "payload": (lambda p: tar(parts_of(pickle=pickle.dumps(payload(p), 2))), "posix.system"),
    "payload beside": (
        lambda p: tar(parts_of(pickle=pickle.dumps({"x": payload(p)}, 2))),
        "posix.system",
    ),
    "payload for a storage": (
        lambda p: tar(parts_of(storages=pickle.dumps(payload(p), 2))),
        "holds Python objects",
    ),
    "no tensors": (without("tensors"), "without 'tensors'"),
    "no storages": (without("storages"), "without 'storages'"),
    "twice": (twice, "'pickle' twice"),
    "link": (linked, "a link or a device"),
    "damaged header": (flipped, "fails its checksum"),
    "cut off": (lambda _: tar(parts_of(), 0).partition(STORAGES[1][1])[0], "cut off"),
    "cut off between entries": (lambda _: tar(parts_of(), 0)[:2048], "without its end"),
    "unknown storage": (changed("storages", b"HalfStorage", b"WildStorage"), "WildStorage"),
    "storage too long": (
        changed("storages", struct.pack("<q", 24), struct.pack("<q", 2**50)),
        "cut off",
    ),
    "negative storage": (
        changed("storages", struct.pack("<q", 24), struct.pack("<q", -1)),
        "no natural number",
    ),
    "part past its storage": (
        lambda _: tar(
            parts_of(
                storages=parts_of()["storages"].replace(
                    pickle.dumps([(3, 1, 8, 8)], 2), pickle.dumps([(3, 1, 20, 8)], 2)
                )
            )
        ),
        "does not fit it",
    ),
    "tensor past its storage": (
        changed("tensors", struct.pack("<qq", 6, 1), struct.pack("<qq", 600, 1)),
        "reaches byte",
    ),
    "bomb": (changed("tensors", struct.pack("<q", 4), struct.pack("<q", 2**40)), "reaches byte"),
    "rank 9999": (
        changed("tensors", struct.pack("<qq", 2, 4), struct.pack("<qq", 9999, 4)),
        "without a storage",
    ),
    "another tensor": (
        lambda _: tar(parts_of(pickle=b"(dS'w'\nP99\ns.")),
        "uses the opcode PERSID",
    ),
    "big-endian": (
        lambda _: tar(parts_of(sys_info=pickle.dumps({"little_endian": False}, 2))),
        "big-endian",
    ),
    "an archive of something else": (lambda _: tar({"readme.txt": b"x"}, 0), "is a tar file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    path = tmp_path / "a.pth"
    path.write_bytes(make(tmp_path))
    assert_refused(path, reason)
