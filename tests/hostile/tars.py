"""Tar files of torch's first releases, the format through which ``weights_only`` was got around."""

import io
import struct
import tarfile
from collections.abc import Callable

from tests.hostile.case import Case, from_bytes
from tests.hostile.words import call, named, program, text, tup, whole

EVIL = program(call(named("os", "system"), text("touch canary")))
FLOATS = named("torch", "FloatStorage")

Records = dict[str, bytes]


def records() -> Records:
    """A good file: the tensor w of four numbers."""
    storages = program(whole(1)) + program(tup(whole(0), text("cpu"), FLOATS))
    storages += struct.pack("<q4f", 4, 1, 2, 3, 4) + program(b"]")
    kind = named("torch", "FloatTensor")
    tensors = program(whole(1)) + program(tup(whole(0), whole(0), kind))
    tensors += struct.pack("<iiqqq", 1, 0, 4, 1, 0)
    pickle = program(b"}" + text("w") + b"K\0Qs")
    return {
        "sys_info": program(b"}(" + text("little_endian") + b"\x88u"),
        "pickle": pickle,
        "tensors": tensors,
        "storages": storages,
    }


def packed(entries: Records, *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
        for entry in more:
            file.addfile(entry)
    return buffer.getvalue()


def _of(**changed: bytes) -> bytes:
    return packed({**records(), **changed})


def _special(kind: bytes, name: str = "storages") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/hostname"
    return packed({n: d for n, d in records().items() if n != name}, entry)


def _altered(change: Callable[[bytearray], object]) -> bytes:
    data = bytearray(packed(records()))
    change(data)
    return bytes(data)


def _size(text_: bytes) -> bytes:
    """A file whose first header declares another size, with the checksum that fits it."""

    def change(data: bytearray) -> None:
        data[124:136] = text_.ljust(12, b"\0")
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])

    return _altered(change)


def cases() -> list[Case]:
    """Returns all of them."""
    good = records()
    shape = good["tensors"][:-28]
    listed = {
        "a call": (_of(pickle=EVIL), ""),
        "a call among its facts": (_of(sys_info=EVIL), ""),
        "a call among its storages": (_of(storages=EVIL), ""),
        "a call among its tensors": (_of(tensors=program(whole(1)) + EVIL), ""),
        "a symbolic link": (_special(tarfile.SYMTYPE), "a link or a device"),
        "a hard link": (_special(tarfile.LNKTYPE), "a link or a device"),
        "a device": (_special(tarfile.CHRTYPE), "a link or a device"),
        "a pipe": (_special(tarfile.FIFOTYPE), "a link or a device"),
        "no storages": (packed({n: d for n, d in good.items() if n != "storages"}), "without"),
        "a checksum that fails": (_altered(lambda d: d.__setitem__(0, ord("x"))), ""),
        "a size of 8 GiB": (_size(b"77777777777"), "cut off"),
        "a negative size": (_size(b"-1"), ""),
        "a size that is no number": (_size(b"x"), "damaged"),
        "a file that is cut off": (packed(good)[:1500], ""),
        "something behind its end": (packed(good) + b"x" * 10240, ""),
        "2**40 storages": (_of(storages=program(whole(2**40))), "damaged"),
        "a storage of 2**62 numbers": (
            _of(storages=good["storages"].replace(struct.pack("<q", 4), struct.pack("<q", 2**62))),
            "",
        ),
        "a storage of -1 numbers": (
            _of(storages=good["storages"].replace(struct.pack("<q", 4), struct.pack("<q", -1))),
            "",
        ),
        "a tensor of 2**31 - 1 axes": (
            _of(tensors=shape + struct.pack("<iiqqq", 2**31 - 1, 0, 4, 1, 0)),
            "",
        ),
        "a tensor past its storage": (
            _of(tensors=shape + struct.pack("<iiqqq", 1, 0, 5, 1, 0)),
            "",
        ),
        "a negative stride": (_of(tensors=shape + struct.pack("<iiqqq", 1, 0, 4, -1, 0)), ""),
        "16 bytes that become 4 TiB": (
            _of(tensors=shape + struct.pack("<iiqqq", 1, 0, 2**40, 0, 0)),
            "",
        ),
        "a tensor that is not there": (
            _of(pickle=program(b"}" + text("w") + b"K\7Qs")),
            "not there",
        ),
    }
    return from_bytes("tar files", "evil.pt", {f"tar: {n}": value for n, value in listed.items()})
