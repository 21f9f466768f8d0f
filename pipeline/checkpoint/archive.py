"""Zip archives whose every claim is checked before a byte of a record is used.

``torch.load`` checks no CRC and takes the first of two entries with one name without a word.
"""

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Storage, checked, put_together
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.mapped import PIECE, forget, peek, pieces

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""PKWARE APPNOTE 4.3.7."""

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
"""APPNOTE 4.3.16, 4.3.15 and 4.3.14."""

_MAX_RATIO = 1032
"""Deflate cannot shrink data further: zlib's documentation, "Maximum Compression Factor"."""

_MAX_INFLATED = 1 << 34
"""Bytes of one deflated record, which must fit into memory: 16 GiB."""

_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flag bits 0, 6 and 13: three kinds of encryption, APPNOTE 4.4.4."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A checked archive.

    Attributes:
        top: the one folder that holds everything, as torch writes it; empty if there is none.
        records: by their names below ``top``.
    """

    top: str
    records: dict[str, Storage]
    _heads: dict[str, Callable[[int], bytes]]

    def head(self, name: str, size: int) -> bytes:
        """Returns the first bytes of a record, not yet checked against its checksum."""
        return self._heads[name](size)


def open_archive(data: memoryview) -> Archive:
    """Opens a zip file and checks everything but the records' checksums.

    Raises:
        FormatError: names, sizes or places that no honest writer makes.
    """
    with zipfile.ZipFile(_Window(data)) as file:
        entries = file.infolist()
        _check_end(data, len(file.comment), len(entries))
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise FormatError(f"holds the entry {shown(twice)} twice, and readers disagree on which")
    tops = {name.partition("/")[0] for name in names}
    top = tops.pop() if len(tops) == 1 and all("/" in name for name in names) else ""
    below = len(top) + 1 if top else 0
    spans = []
    records = {}
    heads = {}
    forget(data)
    for entry in entries:
        _check_entry(entry)
        start = _data_offset(data, entry)
        spans.append((entry.header_offset, start + entry.compress_size, entry.filename))
        record = data[start : start + entry.compress_size]
        records[entry.filename[below:]] = _storage(entry, record)
        heads[entry.filename[below:]] = _head(entry, record)
    spans.sort()
    if spans and spans[0][0]:
        raise FormatError("begins with bytes that belong to no entry; refused")
    for (_, end, _), (begin, _, name) in pairwise(spans):
        if begin < end:
            raise FormatError(f"entry {shown(name)} lies inside another one; refused")
    return Archive(top, records, heads)


class _Window(io.RawIOBase):
    """Mapped bytes as the file that `zipfile` wants, without copying them."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data, self._at = data, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self._at, len(self._data))[whence]
        if start + offset < 0:
            raise OSError("a place before the beginning of the archive")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _check_end(data: memoryview, comment: int, entries: int) -> None:
    """Proves that all readers find the same directory: one, whole, and at the end of the file."""
    at = len(data) - _END.size - comment
    magic, *_, count, size, place, said = _END.unpack_from(data, max(at, 0))
    if magic != b"PK\5\6" or said != comment:
        raise FormatError("has bytes behind its end, or a comment that is cut off; refused")
    locator = at - _LOCATOR.size
    if bytes(data[max(locator, 0) :][:4]) == b"PK\6\7":
        at = _LOCATOR.unpack_from(data, locator)[2]
        magic, _, _, _, _, _, _, *wide = _END_64.unpack_from(data, at)
        # The narrow numbers are either the same, or all ones where they are too narrow.
        narrow = zip((count, size, place), wide, (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True)
        if magic != b"PK\6\6" or any(n not in (w, most) for n, w, most in narrow):
            raise FormatError("describes its directory in two ways; refused")
        count, size, place = wide
    if count != entries or place + size != at:
        raise FormatError(
            f"says that its directory holds {count} entries and ends at byte {place + size}: it "
            f"holds {entries} and ends at {at}; damaged, or two archives in one"
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = name.replace("\\", "/").split("/")
    # orig_filename differs where a NUL cut the name short.
    if name.startswith("/") or ".." in parts or ":" in parts[0] or name != entry.orig_filename:
        raise FormatError(f"entry {shown(entry.orig_filename)} has a name that leaves its folder")
    if entry.flag_bits & _ENCRYPTED:
        raise FormatError(f"entry {shown(name)} is encrypted; save the checkpoint unencrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(f"entry {shown(name)} is compressed with method {entry.compress_type}")
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise FormatError(f"entry {shown(name)} declares two sizes; damaged")
    if entry.file_size > min(_MAX_INFLATED, entry.compress_size * _MAX_RATIO) and (
        entry.compress_type == zipfile.ZIP_DEFLATED
    ):
        raise FormatError(
            f"entry {shown(name)} declares {entry.file_size} bytes, which its "
            f"{entry.compress_size} compressed bytes cannot hold, or memory cannot"
        )


def _data_offset(data: memoryview, entry: zipfile.ZipInfo) -> int:
    spellings = _spellings(entry.filename)
    start = _LOCAL_HEADER.size
    header = peek(data, entry.header_offset, start + max(map(len, spellings)))
    fields = _LOCAL_HEADER.unpack_from(header)
    flags, method, name_length, extra_length = fields[2], fields[3], fields[9], fields[10]
    name = header[start : start + name_length]
    # The readers of other programs believe this header, not the one at the end of the file.
    if fields[0] != b"PK\3\4" or len(name) != name_length or name not in spellings:
        raise FormatError(f"entry {shown(entry.filename)} has two names; refused")
    if flags & _ENCRYPTED or method != entry.compress_type:
        raise FormatError(f"entry {shown(entry.filename)} is described in two ways; refused")
    offset: int = entry.header_offset + start + name_length + extra_length
    if offset + entry.compress_size > len(data):
        raise FormatError(f"entry {shown(entry.filename)} reaches past the end of the file")
    return offset


def _spellings(name: str) -> list[bytes]:
    found = [name.encode("utf-8")]
    try:
        return [*found, name.encode("cp437")]
    except UnicodeEncodeError:
        return found


def _head(entry: zipfile.ZipInfo, record: memoryview) -> Callable[[int], bytes]:
    def head(size: int) -> bytes:
        if entry.compress_type == zipfile.ZIP_STORED:
            return bytes(record[:size])
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(record, size)

    return head


def _storage(entry: zipfile.ZipInfo, record: memoryview) -> Storage:
    stored = entry.compress_type == zipfile.ZIP_STORED

    def stream() -> Iterator[memoryview]:
        plain = pieces(record) if stored else _inflated(entry, record)
        return checked(plain, entry.CRC, entry.filename)

    def load() -> memoryview:
        if stored:
            for _ in stream():
                pass
            return record
        return put_together(entry.file_size, stream)

    return Storage(entry.file_size, load, not stored, stream)


def _inflated(entry: zipfile.ZipInfo, record: memoryview) -> Iterator[memoryview]:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    for piece in pieces(record):
        rest: bytes | memoryview = piece
        full = False  # more may come of what was taken in already
        while (rest or full) and not machine.eof and size <= entry.file_size:
            plain = machine.decompress(rest, PIECE)
            rest, full = machine.unconsumed_tail, len(plain) == PIECE
            size += len(plain)
            yield memoryview(plain)
    if size != entry.file_size or not machine.eof:
        raise FormatError(f"entry {shown(entry.filename)} is not as long as declared")
