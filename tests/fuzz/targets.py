"""One function for each reader that is fuzzed: bytes in; a checkpoint or a `MigrationError` out.

Each goes the way of a user: a file, opened by its name, described, and read to the last tensor.
Anything else that comes out of it is a defect.
"""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from ascend_migrate.pipeline.checkpoint import describe, open_checkpoint
from ascend_migrate.pipeline.errors import MigrationError

STORAGES = 4
STORAGE_BYTES = 256
"""Of each storage that a fuzzed pickle may refer to; they are named 0, 1, 2, 3."""

SHARDS = ("a.safetensors", "b.safetensors")
SHARD_TENSORS = ("w", "x")
"""A fuzzed index may place these names in these files; each file holds both."""


def open_fully(path: Path) -> None:
    """Looks at a file in every way that the commands do.

    Raises:
        whatever is no `MigrationError`.
    """
    try:
        describe(path)
        checkpoint = open_checkpoint(path)
        for name in checkpoint.tensors:
            checkpoint.read(name)
    except MigrationError as error:
        message = str(error)
        # A file cannot make us print two lines, or control a terminal.
        assert message.isprintable(), repr(message)
        assert len(message) < 5000, len(message)


def unpickler(data: bytes, folder: Path) -> None:
    """``data`` is the pickle of a torch zip file whose storages are there."""
    records = {f"archive/data/{number}": bytes(STORAGE_BYTES) for number in range(STORAGES)}
    _as_file(_zip({"archive/data.pkl": data, **records}), folder / "fuzzed.pt")


def archive(data: bytes, folder: Path) -> None:
    """``data`` is a zip file: torch's, NumPy's, TorchScript's or torch.export's."""
    _as_file(data, folder / "fuzzed.pt")


def header(data: bytes, folder: Path) -> None:
    """``data`` is a safetensors file."""
    _as_file(data, folder / "fuzzed.safetensors")


def index(data: bytes, folder: Path) -> None:
    """``data`` is the index of a Hugging Face folder whose shards are there."""
    for shard in SHARDS:
        if not (folder / shard).exists():
            (folder / shard).write_bytes(_shard())
    path = folder / "model.safetensors.index.json"
    path.write_bytes(data)
    open_fully(folder)
    open_fully(path)


def other(data: bytes, folder: Path) -> None:
    """``data`` is any file: old torch files, GGUF, or a format that is not known."""
    _as_file(data, folder / "fuzzed.bin")


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    target.__name__: target for target in (unpickler, archive, header, index, other)
}


def _as_file(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    open_fully(path)


def _zip(records: dict[str, bytes]) -> bytes:
    """Packs a plain zip file; `zipfile` would take most of the time of a run."""
    body, directory = b"", b""
    for name, data in records.items():
        size, spelled = len(data), name.encode()
        facts = struct.pack("<5H3I2H", 20, 0, 0, 0, 33, zlib.crc32(data), size, size, len(name), 0)
        place = struct.pack("<3H2I", 0, 0, 0, 0, len(body))
        directory += b"PK\1\2\x14\0" + facts + place + spelled
        body += b"PK\3\4" + facts + spelled + data
    count = len(records)
    end = struct.pack("<4H2IH", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + b"PK\5\6" + end


def _shard() -> bytes:
    table = {
        name: {"dtype": "F32", "shape": [2], "data_offsets": [8 * at, 8 * at + 8]}
        for at, name in enumerate(SHARD_TENSORS)
    }
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + bytes(8 * len(SHARD_TENSORS))
