"""Hostile and damaged torch files: one line that names the file, and nothing is ever executed."""

import io
import os
import pickle
import shutil
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from ascend_migrate.pipeline.checkpoint import describe, open_checkpoint
from ascend_migrate.pipeline.errors import SourceError

GOOD = torch.arange(64, dtype=torch.float32)
HEAD = (
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}U\rlittle_endian\x88s."
)


class Runs:
    """Pickles to a call that would leave a canary file."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.args


def canary(folder: Path) -> str:
    return f"touch {folder / 'canary'}"


def records(value: Any) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(entries: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in entries:
            file.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def altered(change: Callable[[dict[str, bytes]], None]) -> bytes:
    found = records({"w": GOOD})
    change(found)
    return pack(list(found.items()))


def program(code: bytes) -> bytes:
    return altered(lambda r: r.update({"archive/data.pkl": code}))


def tensor(shape: str, stride: str, offset: int = 0, numel: int = 64) -> bytes:
    """A protocol 0 pickle of {"w": tensor} over the storage 0."""
    return (
        b"}S'w'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\n"
        b"S'cpu'\nI%d\ntQI%d\n(%st(%stI00\n}tRs."
        % (
            numel,
            offset,
            b"".join(b"I%s\n" % s.encode() for s in shape.split()),
            b"".join(b"I%s\n" % s.encode() for s in stride.split()),
        )
    )


def flip(needle: bytes, data: bytes) -> bytes:
    at = data.index(needle)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def renamed(old: str, new: str) -> bytes:
    def change(found: dict[str, bytes]) -> None:
        found[new] = found.pop(old)

    return altered(change)


def encrypted() -> bytes:
    data = bytearray(altered(lambda r: None))
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    return bytes(data)


def two_names() -> bytes:
    data = altered(lambda r: None)
    at = data.index(b"archive/data.pkl")
    return data[:at] + b"archive/date.pkl" + data[at + 16 :]


def bomb() -> bytes:
    """A deflated record that declares more than it can hold."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, record in records({"w": GOOD}).items():
            file.writestr(name, record)
    data = bytearray(buffer.getvalue())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 2**31)
    return bytes(data)


def legacy(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def quantized() -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):  # deprecated, and in many a checkpoint
        return torch.quantize_per_tensor(GOOD, 1.0, 0, torch.qint8)


def duplicate() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate"):
        return pack([*records({"w": GOOD}).items(), ("archive/data.pkl", b"N.")])


def cyclic() -> bytes:
    return program(b"}q\x00U\x01ah\x00s.")


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "zip os.system": (lambda p: program(pickle.dumps(Runs(os.system, canary(p)))), "posix.system"),
    "zip eval": (
        lambda p: program(pickle.dumps({"w": Runs(eval, f"open({str(p / 'canary')!r}, 'w')")})),
        "builtins.eval",
    ),
    "zip exec": (
        lambda p: program(pickle.dumps([Runs(exec, f"open({str(p / 'canary')!r}, 'w')")])),
        "builtins.exec",
    ),
    "legacy os.system": (
        lambda p: HEAD + pickle.dumps(Runs(os.system, canary(p)), 2) + b"\x80\x02].",
        "posix.system",
    ),
    "legacy in state": (
        lambda p: legacy({"w": GOOD, "x": Runs(os.system, canary(p))}),
        "posix.system",
    ),
    "head os.system": (
        lambda p: HEAD[:15] + pickle.dumps(Runs(os.system, canary(p)), 2),
        "protocol version",
    ),
    "inst os.system": (
        lambda p: program(b"(S'%s'\nios\nsystem\n." % canary(p).encode()),
        "os.system",
    ),
    "obj os.system": (
        lambda p: program(b"(cos\nsystem\nS'%s'\no." % canary(p).encode()),
        "os.system",
    ),
    "build setstate": (
        lambda p: program(b"ctorch._utils\n_rebuild_tensor_v2\n}S'__class__'\ncos\nsystem\nsb."),
        "os.system",
    ),
    "torch attribute": (lambda p: program(b"ctorch.hub\nload\n(S'x'\ntR."), "torch.hub.load"),
    "dotted name": (
        lambda p: program(b"\x80\x04\x8c\x05torch\x8c\x0fstorage.os.path\x93."),
        "torch.storage.os",
    ),
    "extension": (lambda p: program(b"\x80\x02\x82\x01."), "EXT1"),
    "named persistent id": (lambda p: program(b"Pstorage\n."), "PERSID"),
    "out of band": (lambda p: program(b"\x80\x05\x97."), "NEXT_BUFFER"),
    "bare pickle": (lambda p: pickle.dumps(Runs(os.system, canary(p))), "bare pickle"),
    "duplicate entry": (lambda p: duplicate(), "'archive/data.pkl' twice"),
    "climbing name": (lambda p: renamed("archive/version", "archive/../x"), "leaves its folder"),
    "absolute name": (lambda p: pack([("/etc/x", b"1")]), "leaves its folder"),
    "two folders": (lambda p: renamed("archive/version", "other/version"), "single top folder"),
    "encrypted": (lambda p: encrypted(), "encrypted"),
    "two names": (lambda p: two_names(), "two names"),
    "deflate bomb": (lambda p: bomb(), "declares 2147483648 bytes"),
    "weights bit": (lambda p: flip(GOOD.numpy().tobytes(), altered(lambda r: None)), "checksum"),
    "program bit": (lambda p: flip(b"FloatStorage", altered(lambda r: None)), "checksum"),
    "big-endian zip": (
        lambda p: altered(lambda r: r.update({"archive/byteorder": b"big"})),
        "big-endian",
    ),
    "big-endian legacy": (lambda p: HEAD.replace(b"\x88s.", b"\x89s.") + b"}.", "big-endian"),
    "cut zip": (lambda p: altered(lambda r: None)[:-40], "zip"),
    "cut legacy": (lambda p: legacy({"w": GOOD})[:-40], "cut off"),
    "cut legacy pickle": (lambda p: legacy({"w": GOOD})[:140], "damaged"),
    "long legacy": (lambda p: legacy({"w": GOOD}) + b"x", "behind its last storage"),
    "storage missing": (
        lambda p: pack([e for e in records({"w": GOOD}).items() if e[0] != "archive/data/0"]),
        "lacks the storage",
    ),
    "storage short": (
        lambda p: altered(lambda r: r.update({"archive/data/0": b"1234"})),
        "and has 4",
    ),
    "storage declared huge": (lambda p: program(tensor("4", "1", numel=2**61)), "declares"),
    "stride bomb": (lambda p: program(tensor("1048576 1048576", "0 0")), "decompression bomb"),
    "stride outside": (lambda p: program(tensor("2 2", "100 1")), "reaches past the end"),
    "offset outside": (lambda p: program(tensor("4", "1", offset=61)), "reaches past the end"),
    "negative stride": (lambda p: program(tensor("4", "-1", offset=10)), "no natural number"),
    "negative offset": (lambda p: program(tensor("4", "1", offset=-1)), "no natural number"),
    "rank mismatch": (lambda p: program(tensor("4 4", "1")), "2 sizes and 1 strides"),
    "overflowing shape": (lambda p: program(tensor(f"{2**62} {2**62}", "0 0")), "no computer"),
    "rank 70": (lambda p: program(tensor("1 " * 70, "1 " * 70)), "70 sizes"),
    "deep nesting": (lambda p: program(b"N" + b"\x85" * 500_000 + b"."), "tuple of 1"),
    "deep key": (lambda p: program(b"}N" + b"\x85" * 500_000 + b"Ns."), "no dict of tensors"),
    "cyclic": (lambda p: cyclic(), "no dict of tensors"),
    "memo bomb": (
        lambda p: program(
            b"]q\x00" + b"".join(b"(h%ch%cl\x71%c" % (i, i, i + 1) for i in range(60)) + b"."
        ),
        "stack",
    ),
    "memo index": (lambda p: program(b"}r\xff\xff\xff\x7f."), "no dict of tensors"),
    "long number": (lambda p: program(b"\x8b\xff\xff\xff\x7f."), "damaged"),
    "long text": (lambda p: program(b"\x8d" + b"\xff" * 7 + b"\x7f" + b"."), "damaged"),
    "no stop": (lambda p: program(b"}"), "damaged"),
    "empty stack": (lambda p: program(b"."), "stack"),
    "pop too far": (lambda p: program(b"00000N."), "damaged"),
    "bytes after pickle": (lambda p: program(b"}.}."), "behind the end of its pickle"),
    "name twice": (lambda p: program(b"}(U\x01wNU\x01wNu."), "'w' occurs twice"),
    "sparse": (
        lambda p: pack(list(records({"w": torch.eye(3).to_sparse()}).items())),
        "is a sparse tensor",
    ),
    "quantized": (
        lambda p: pack(list(records({"w": quantized()}).items())),
        "is a torch-quantized tensor",
    ),
    "whole module": (
        lambda p: pack(list(records(torch.nn.Linear(2, 3)).items())),
        "whole pickled torch.nn.modules.linear.Linear",
    ),
    "tar": (lambda p: b"\0" * 257 + b"ustar  \0" + b"\0" * 500, "tar file"),
    "empty": (lambda p: b"", "empty"),
    "noise": (lambda p: b"hello, this is not a checkpoint", "no known format"),
    "plain zip": (lambda p: pack([("a/b.npy", b"1")]), "without data.pkl"),
    "list": (lambda p: pack(list(records([GOOD]).items())), "list of 1 at the top level"),
    "tensor": (lambda p: pack(list(records(GOOD).items())), "tensor [64] at the top level"),
    "number names": (lambda p: pack(list(records({0: GOOD}).items())), "key '0' of type int"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE[name]
    path = tmp_path / "model.pt"
    path.write_bytes(make(tmp_path))
    with pytest.raises(SourceError) as caught:
        open_checkpoint(path).read("w")
    message = str(caught.value)
    assert message.startswith(str(path))
    assert reason in message
    assert "\n" not in message
    assert len(message) < 700
    assert "weights_only" not in message
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_describe_executes_nothing_and_ends(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(HOSTILE[name][0](tmp_path))
    try:
        problem = describe(path)["problem"]
    except SourceError as error:
        problem = str(error)
    # Damage inside a record shows only when the record is read.
    assert bool(problem) == (name != "weights bit")
    assert not (tmp_path / "canary").exists()


def test_the_canary_sings_elsewhere(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Runs(shutil.copy, __file__, str(tmp_path / "canary"))))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_every_flipped_byte_is_refused_or_harmless(tmp_path: Path, kind: str) -> None:
    """No damage raises anything but SourceError; a zip's weights never change unseen."""
    state = OrderedDict(w=GOOD[:4], b=GOOD[4:6])
    data = pack(list(records(state).items())) if kind == "zip" else legacy(state)
    path = tmp_path / "model.pt"
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        with suppress(SourceError):
            checkpoint = open_checkpoint(path)
            values = [checkpoint.read(name).tolist() for name in checkpoint.tensors]
            assert kind == "legacy" or values == [GOOD[:4].tolist(), GOOD[4:6].tolist()]


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_every_truncation_is_refused(tmp_path: Path, kind: str) -> None:
    state = {"w": GOOD[:4].clone()}
    data = pack(list(records(state).items())) if kind == "zip" else legacy(state)
    path = tmp_path / "model.pt"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(SourceError):
            open_checkpoint(path).read("w")
