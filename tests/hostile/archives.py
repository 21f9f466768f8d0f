"""Zip files that lie: about names, places, sizes, methods, checksums and their own end."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tests.hostile.case import Case, from_bytes
from tests.hostile.words import GOOD, NUMEL, program, table

GOOD_PICKLE = program(table(w=GOOD))
STORED, DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A zip entry, as each of its two headers describes it; None means the truth."""

    name: bytes
    data: bytes
    method: int = STORED
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    local_name: bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    offset: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    local_magic: bytes = b"PK\3\4"

    @property
    def packed(self) -> bytes:
        """The bytes in the file."""
        if self.method != DEFLATED:
            return self.data
        machine = zlib.compressobj(9, zlib.DEFLATED, -15)
        return machine.compress(self.data) + machine.flush()


def build(
    entries: Sequence[Entry],
    *,
    before: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    directory_offset: int | None = None,
) -> bytes:
    """Packs the entries, with whatever lies they tell."""
    body, directory = before, b""
    for e in entries:
        packed = e.packed
        crc = zlib.crc32(e.data) if e.crc is None else e.crc
        csize = len(packed) if e.packed_size is None else e.packed_size
        size = len(e.data) if e.size is None else e.size
        at = len(body) if e.offset is None else e.offset
        facts = (0, 33, crc, csize, size)
        directory += struct.pack(
            *("<4s4H2H3I", b"PK\1\2", 20, 20, e.flags, e.method),
            *facts,
        )
        directory += struct.pack("<5H2I", len(e.name), len(e.extra), 0, 0, 0, 0, at)
        directory += e.name + e.extra
        name = e.name if e.local_name is None else e.local_name
        flags = e.flags if e.local_flags is None else e.local_flags
        method = e.method if e.local_method is None else e.local_method
        body += struct.pack("<4s3H2H3I", e.local_magic, 20, flags, method, *facts)
        body += struct.pack("<2H", len(name), len(e.local_extra)) + name + e.local_extra + packed
    place = len(body) if directory_offset is None else directory_offset
    number = len(entries) if count is None else count
    end = struct.pack(
        *("<4s4H2IH", b"PK\5\6", 0, 0, number, number, len(directory), place, len(comment)),
    )
    return body + directory + end + comment + after


def good(pickle: bytes = GOOD_PICKLE) -> list[Entry]:
    """The entries of a small torch file."""
    return [
        Entry(b"archive/data.pkl", pickle),
        Entry(b"archive/byteorder", b"little"),
        Entry(b"archive/data/0", np.arange(NUMEL, dtype="<f4").tobytes()),
        Entry(b"archive/version", b"3\n"),
    ]


def with_(number: int, **lies: object) -> bytes:
    """A good file but for one entry."""
    entries = good()
    entries[number] = replace(entries[number], **lies)  # type: ignore[arg-type]
    return build(entries)


def adding(*more: Entry) -> bytes:
    """A good file with further entries."""
    return build([*good(), *more])


def _zip64_extra(*numbers: int) -> bytes:
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def _names() -> dict[str, tuple[bytes, str]]:
    leaves = "leaves its folder"
    bad = {
        "climbs": b"archive/../../canary",
        "is absolute": b"/archive/canary",
        "climbs by backslashes": b"archive\\..\\..\\canary",
        "names a drive": b"C:/canary",
        "has a NUL in it": b"archive/data/1\0.txt",
    }
    return {
        **{
            f"an entry whose name {what}": (adding(Entry(name, b"x")), leaves)
            for what, name in bad.items()
        },
        "an entry without a name": (adding(Entry(b"", b"x")), ""),
        "data.pkl twice, the second one evil": (
            adding(Entry(b"archive/data.pkl", b"cos\nsystem\n(S'touch canary'\ntR.")),
            "twice",
        ),
        "a storage twice": (adding(Entry(b"archive/data/0", bytes(4 * NUMEL))), "twice"),
        "another name in the local header": (with_(0, local_name=b"archive/evil.pkl"), "two names"),
        "another name for a storage": (with_(2, local_name=b"archive/data/9"), "two names"),
        "two top folders": (adding(Entry(b"other/data.pkl", b"x")), "no single top folder"),
        "no folder": (build([Entry(b"data.pkl", GOOD_PICKLE)]), "no single top folder"),
        "no data.pkl": (build(good()[1:]), "without data.pkl"),
        "no entry at all": (b"PK\5\6" + bytes(18), "known"),
        "an entry that is a folder": (with_(2, name=b"archive/data/0/"), "lacks the storage"),
    }


def _places() -> dict[str, tuple[bytes, str]]:
    two = "damaged"
    whole = build(good())
    first = len(GOOD_PICKLE) + 30 + len(b"archive/data.pkl")
    quine = [*good(), Entry(b"archive/data/1", b"x", offset=0)]
    return {
        "two entries over the same bytes": (
            build([*good(), Entry(b"archive/data.pkm", b"x", offset=0)]),
            "two names",
        ),
        "an entry inside another": (build(quine), ""),
        "an entry that overlaps the next": (
            with_(0, packed_size=len(GOOD_PICKLE) + 4, size=len(GOOD_PICKLE) + 4),
            "inside another",
        ),
        "an entry past the end": (with_(3, packed_size=2**31, size=2**31), "past the end"),
        "a header that is not there": (with_(2, offset=2**31 - 1), two),
        "a header that is none": (with_(2, local_magic=b"PK\7\x08"), "two names"),
        "a header with an offset into the middle": (with_(2, offset=first - 4), ""),
        "a directory elsewhere": (build(good(), directory_offset=2**31), two),
        "more entries than there are": (build(good(), count=5), "holds 5 entries"),
        "fewer entries than there are": (build(good(), count=3), "holds 3 entries"),
        "two archives, one behind the other": (
            build(good(), before=build(good(b"N."))),
            "belong to no",
        ),
        "a file that is cut off": (whole[:-30], two),
        "half a file": (whole[: len(whole) // 2], two),
        "only a beginning": (b"PK\3\4", two),
        "a second archive behind it": (build(good(), after=build(good(b"N."))), ""),
        "an archive in the comment": (build(good(), comment=build(good(b"N."))), ""),
        "a comment that is cut off": (
            build(good(), comment=b"a comment")[:-4],
            "cut off",
        ),
        "junk behind it": (build(good(), after=b"junk" * 100), "behind its end"),
        "zip64 sizes of 2**63": (
            with_(2, size=2**32 - 1, packed_size=2**32 - 1, extra=_zip64_extra(2**63, 2**63)),
            "past the end",
        ),
        "a zip64 offset of 2**63": (
            with_(2, offset=2**32 - 1, extra=_zip64_extra(2**63)),
            two,
        ),
        "zip64 fields that are cut off": (
            with_(2, size=2**32 - 1, packed_size=2**32 - 1, extra=_zip64_extra(256)),
            two,
        ),
    }


def _contents() -> dict[str, tuple[Callable[[], bytes] | bytes, str]]:
    bomb = Entry(b"archive/data/1", bytes(64 << 20), DEFLATED)
    zeros = Entry(b"archive/data/0", bytes(4 * NUMEL), DEFLATED)

    def replacing(entry: Entry, number: int = 2) -> bytes:
        entries = good()
        entries[number] = entry
        return build(entries)

    return {
        "a storage with a flipped bit": (with_(2, crc=7), "checksum"),
        "a pickle with a flipped bit": (with_(0, crc=7), "checksum"),
        "a byte order with a flipped bit": (with_(1, crc=7), "checksum"),
        "a big-endian file": (replacing(Entry(b"archive/byteorder", b"big"), 1), "big-endian"),
        "an encrypted entry": (with_(2, flags=1), "encrypted"),
        "strong encryption": (with_(2, flags=0x41), "encrypted"),
        "an encrypted directory": (with_(2, flags=0x2000), "encrypted"),
        "encrypted only in the local header": (with_(2, local_flags=1), "two ways"),
        "deflated only in the local header": (with_(2, local_method=8), "two ways"),
        "an unknown method": (with_(2, method=99), "method 99"),
        "bzip2": (with_(2, method=12), "method 12"),
        "lzma": (with_(2, method=14), "method 14"),
        "two sizes of a stored entry": (with_(2, size=128), "two sizes"),
        "a deflated entry longer than declared": (
            replacing(replace(zeros, data=bytes(4 * NUMEL + 4), size=4 * NUMEL)),
            "not as long as declared",
        ),
        "a deflated entry shorter than declared": (
            replacing(replace(zeros, data=bytes(4 * NUMEL - 4), size=4 * NUMEL)),
            "not as long as declared",
        ),
        "a deflated entry of 16 TiB": (replacing(replace(zeros, size=2**32 - 2)), "cannot hold"),
        "a deflated entry that is none": (
            replacing(replace(zeros, method=DEFLATED, packed_size=3)),
            "",
        ),
        "a deflated pickle of 64 MiB of zeros": (
            lambda: replacing(Entry(b"archive/data.pkl", bytes(64 << 20), DEFLATED), 0),
            "damaged",
        ),
        "a deflated pickle above the limit": (
            lambda: replacing(Entry(b"archive/data.pkl", bytes(65 << 20), DEFLATED), 0),
            "declares a pickle",
        ),
        "a byte order of 64 MiB": (
            lambda: replacing(Entry(b"archive/byteorder", bytes(64 << 20), DEFLATED), 1),
            "big-endian",
        ),
        "an unused bomb and a broken tensor": (
            lambda: build([*good()[:2], replace(good()[2], crc=1), bomb, good()[3]]),
            "checksum",
        ),
    }


def _npz() -> dict[str, tuple[Callable[[], bytes] | bytes, str]]:
    def npy(header: str, data: bytes = bytes(16), version: bytes = b"\1\0") -> bytes:
        spelled = header.encode() + b"\n"
        size = struct.pack("<H" if version == b"\1\0" else "<I", len(spelled))
        return build([Entry(b"w.npy", b"\x93NUMPY" + version + size + spelled + data)])

    def described(descr: str = "'<f4'", shape: str = "(4,)", order: str = "False", **_: str) -> str:
        return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"

    def objects() -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, w=np.array([print, {"a": 1}], object))
        return buffer.getvalue()

    damaged = "damaged"
    code = "__import__('os').system('touch canary')"
    return {
        "an array of objects": (objects, "Python objects"),
        "a descr that is code": (npy(described(descr=code)), damaged),
        "a header that is code": (npy(code), damaged),
        "a header that is a comprehension": (npy("[x for x in ().__class__.__mro__]"), damaged),
        "a header with a key more": (npy(described()[:-1] + ", 'x': 1}"), damaged),
        "a header that is cut off": (npy("{'descr': '<f4', "), damaged),
        "a header with unbalanced brackets": (npy("((((((((" * 100), damaged),
        "a header 5 000 brackets deep": (npy("(" * 5000 + ")" * 5000), damaged),
        "a header of 20 000 characters": (
            npy(described() + " " * 20_000, version=b"\2\0"),
            damaged,
        ),
        "a negative size": (npy(described(shape="(-4,)")), "negative size"),
        "a size that is text": (npy(described(shape="('4',)")), damaged),
        "a size that is a float": (npy(described(shape="(4.0,)")), damaged),
        "sizes whose product overflows": (npy(described(shape=f"({2**40}, {2**40})")), "declares"),
        "a shape larger than the data": (npy(described(shape="(5,)")), "declares"),
        "a shape smaller than the data": (npy(described(shape="(3,)")), "declares"),
        "an array of records": (npy(described(descr="[('a', '<i4')]")), "not supported"),
        "an array of text": (npy(described(descr="'<U4'")), "not supported"),
        "an array of dates": (npy(described(descr="'<M8[s]'", shape="(2,)")), "not supported"),
        "a descr of 1 000 000 fields": (
            npy(described(descr="'" + "f4," * 1000 + "'")),
            "",
        ),
        "an unknown version": (
            build([Entry(b"w.npy", b"\x93NUMPY\x09\0\x10\0" + bytes(16))]),
            "version",
        ),
        "an array without a header": (build([Entry(b"w.npy", b"\x93NUMPY")]), damaged),
        "an array that is no npy": (build([Entry(b"w.npy", b"abc")]), ""),
        "the same array twice": (build([Entry(b"w.npy", b"x"), Entry(b"w.npy", b"y")]), "twice"),
    }


def deflated(data: dict[str, bytes]) -> bytes:
    """Packs records as `zipfile` does when it is asked to compress."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in data.items():
            file.writestr(name, value)
    return buffer.getvalue()


def cases() -> list[Case]:
    """Returns all of them."""
    return [
        *from_bytes("zip names", "evil.pt", {f"zip: {k}": v for k, v in _names().items()}),
        *from_bytes("zip places", "evil.pt", {f"zip: {k}": v for k, v in _places().items()}),
        *from_bytes("zip contents", "evil.pt", {f"zip: {k}": v for k, v in _contents().items()}),
        *from_bytes("arrays of NumPy", "evil.npz", {f"npz: {k}": v for k, v in _npz().items()}),
    ]
