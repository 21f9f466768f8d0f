"""Zip archives taken apart, changed, and put together again."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

Change = Callable[[dict[str, bytes]], object]


def unpack(path: Path | IO[bytes]) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(records: dict[str, bytes], *, deflated: bool = False) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in records.items():
            file.writestr(name, data)
    return buffer.getvalue()


def rewrite(path: Path, change: Change, *, deflated: bool = False) -> Path:
    """Changes the records of an archive in place; their checksums fit again."""
    records = unpack(path)
    change(records)
    path.write_bytes(pack(records, deflated=deflated))
    return path


def flip(path: Path, needle: bytes) -> Path:
    """Flips one bit where ``needle`` is, so that the checksum no longer fits."""
    data = bytearray(path.read_bytes())
    data[data.index(needle)] ^= 1
    path.write_bytes(data)
    return path
