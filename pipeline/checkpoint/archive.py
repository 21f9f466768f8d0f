"""Zip archives whose every claim is checked before a byte of a record is used.

``torch.load`` checks no CRC and takes the first of two entries with one name without a word.
"""

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Storage, checked, put_together
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.mapped import PIECE, Peek, forget, peeking, pieces

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
    _entries: dict[str, "_Entry"]

    def head(self, name: str, size: int) -> bytes:
        """Returns the first bytes of a record, not yet checked against its checksum."""
        return self._entries[name].head(size)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry that has passed all checks but that of its bytes, which begin at ``start``."""

    data: memoryview
    start: int
    info: zipfile.ZipInfo

    @property
    def stored(self) -> bool:
        return self.info.compress_type == zipfile.ZIP_STORED

    @property
    def storage(self) -> Storage:
        return Storage(self.info.file_size, self.load, not self.stored, self.stream)

    def head(self, size: int) -> bytes:
        if self.stored:
            return bytes(self._raw[:size])
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._raw, size)

    def load(self) -> memoryview:
        if not self.stored:
            return put_together(self.info.file_size, self.stream)
        for _ in self.stream():
            pass
        return self._raw

    def stream(self) -> Iterator[memoryview]:
        raw = pieces(self.data, self.start, self.info.compress_size)
        plain = raw if self.stored else _inflated(self.info, raw)
        return checked(plain, self.info.CRC, self.info.filename)

    @property
    def _raw(self) -> memoryview:
        return self.data[self.start : self.start + self.info.compress_size]


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
    forget(data)
    peek = peeking(data)
    found = {}
    spans = []
    for entry in entries:
        _check_entry(entry)
        start = _data_offset(peek, len(data), entry)
        spans.append((entry.header_offset, start + entry.compress_size, entry.filename))
        found[entry.filename[below:]] = _Entry(data, start, entry)
    spans.sort()
    if spans and spans[0][0]:
        raise FormatError("begins with bytes that belong to no entry; refused")
    for (_, end, _), (begin, _, name) in pairwise(spans):
        if begin < end:
            raise FormatError(f"entry {shown(name)} lies inside another one; refused")
    return Archive(top, {name: entry.storage for name, entry in found.items()}, found)


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


def _data_offset(peek: Peek, size: int, entry: zipfile.ZipInfo) -> int:
    name = entry.filename.encode()
    start = _LOCAL_HEADER.size
    header = peek(entry.header_offset, start + len(name))
    magic, _, flags, method, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
    # The readers of other programs believe this header, not the one at the end of the file.
    same = header[start : start + name_length] == name and name_length == len(name)
    if magic != b"PK\3\4" or not (same or _in_cp437(entry, header[start:], name_length)):
        raise FormatError(f"entry {shown(entry.filename)} has two names; refused")
    if flags & _ENCRYPTED or method != entry.compress_type:
        raise FormatError(f"entry {shown(entry.filename)} is described in two ways; refused")
    offset: int = entry.header_offset + start + name_length + extra_length
    if offset + entry.compress_size > size:
        raise FormatError(f"entry {shown(entry.filename)} reaches past the end of the file")
    return offset


def _in_cp437(entry: zipfile.ZipInfo, text: bytes, length: int) -> bool:
    """Tells whether the name is spelled as before UTF-8, in which no name is longer."""
    name = entry.filename.encode("cp437", "replace")
    return name.decode("cp437") == entry.filename and text[:length] == name


def _inflated(entry: zipfile.ZipInfo, raw: Iterator[memoryview]) -> Iterator[memoryview]:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    for piece in raw:
        rest: bytes | memoryview = piece
        full = False  # more may come of what was taken in already
        while (rest or full) and not machine.eof and size <= entry.file_size:
            plain = machine.decompress(rest, PIECE)
            rest, full = machine.unconsumed_tail, len(plain) == PIECE
            size += len(plain)
            yield memoryview(plain)
    if size != entry.file_size or not machine.eof:
        raise FormatError(f"entry {shown(entry.filename)} is not as long as declared")
