"""Zip archives whose every claim is checked before a byte of a record is used.

``torch.load`` checks no CRC and takes the first of two entries with one name without a word.
"""

import struct
import zipfile
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ascend_migrate.pipeline.checkpoint.contents import Storage, checked, map_file
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""PKWARE APPNOTE 4.3.7."""

_MAX_RATIO = 1032
"""Deflate cannot shrink data further: zlib's documentation, "Maximum Compression Factor"."""

_MAX_INFLATED = 1 << 34
"""Bytes of one deflated record, which must fit into memory: 16 GiB."""

_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flag bits 0, 6 and 13: three kinds of encryption, APPNOTE 4.4.4."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The records of a checked archive, by their names below its one top folder."""

    records: dict[str, Storage]


def open_archive(path: Path) -> Archive:
    """Opens a zip file and checks everything but the records' checksums.

    Raises:
        FormatError: names, sizes or places that no honest writer makes.
    """
    data = map_file(path)
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"holds the entry {shown(twice)} twice, and readers disagree on which")
    top = {name.partition("/")[0] for name in names}
    if len(top) != 1 or any("/" not in name for name in names):
        raise FormatError("has no single top folder as torch.save makes it: not a checkpoint")
    spans = []
    records = {}
    for entry in entries:
        _check_entry(entry)
        start = _data_offset(data, entry)
        spans.append((entry.header_offset, start + entry.compress_size, entry.filename))
        record = data[start : start + entry.compress_size]
        records[entry.filename.partition("/")[2]] = _storage(entry, record)
    spans.sort()
    for (_, end, _), (begin, _, name) in pairwise(spans):
        if begin < end:
            raise FormatError(f"entry {shown(name)} lies inside another one; refused")
    return Archive(records)


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
    header = data[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
    fields = _LOCAL_HEADER.unpack(header)
    flags, method, name_length, extra_length = fields[2], fields[3], fields[9], fields[10]
    start = entry.header_offset + _LOCAL_HEADER.size
    name = bytes(data[start : start + name_length])
    # The readers of other programs believe this header, not the one at the end of the file.
    if fields[0] != b"PK\3\4" or name not in _spellings(entry.filename):
        raise FormatError(f"entry {shown(entry.filename)} has two names; refused")
    if flags & _ENCRYPTED or method != entry.compress_type:
        raise FormatError(f"entry {shown(entry.filename)} is described in two ways; refused")
    offset: int = start + name_length + extra_length
    if offset + entry.compress_size > len(data):
        raise FormatError(f"entry {shown(entry.filename)} reaches past the end of the file")
    return offset


def _spellings(name: str) -> list[bytes]:
    found = [name.encode("utf-8")]
    try:
        return [*found, name.encode("cp437")]
    except UnicodeEncodeError:
        return found


def _storage(entry: zipfile.ZipInfo, record: memoryview) -> Storage:
    def load() -> memoryview:
        if entry.compress_type == zipfile.ZIP_STORED:
            return checked(record, entry.CRC, entry.filename)
        machine = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = machine.decompress(record, entry.file_size + 1)
        if len(plain) != entry.file_size or not machine.eof:
            raise FormatError(f"entry {shown(entry.filename)} is not as long as declared")
        return checked(memoryview(plain), entry.CRC, entry.filename)

    return Storage(entry.file_size, load)
