"""What a reader finds in a file: a tree of plain values and tensor views, and the storages."""

import mmap
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that tensors are views of.

    Attributes:
        nbytes: how many there are.
        load: returns them, checked.
        made: whether `load` puts them together in memory; False where they are mapped.
    """

    nbytes: int
    load: Callable[[], memoryview]
    made: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """A file or a folder of files, opened but with no tensor read.

    Attributes:
        format: name of the format.
        root: nested dicts and lists with `View` leaves, plain scalars and inert objects.
        storages: by name within the file.
        refusal: why the tensors must not be used, or empty; `describe` still shows them.
        notes: one line for each thing that the user should know.
        files: what is read, by the name within the folder; empty for a single file.
    """

    format: str
    root: Any
    storages: Mapping[str, Storage]
    refusal: str = ""
    notes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    _mapped: dict[str, memoryview] = field(default_factory=dict)
    _made: dict[str, memoryview] = field(default_factory=dict)

    def storage(self, name: str) -> memoryview:
        """Returns the bytes of one storage, checked on first use.

        Only the last of those that take memory is kept, so that reading all tensors in order
        needs room for the largest one.
        """
        storage = self.storages[name]
        kept = self._made if storage.made else self._mapped
        if name not in kept:
            if storage.made:
                kept.clear()
            kept[name] = storage.load()
        return kept[name]


def map_file(path: Path) -> memoryview:
    """Maps the file read-only; the pages are read when they are touched.

    Raises:
        FormatError: it is empty or no regular file.
    """
    if not path.is_file():
        raise FormatError(
            "is a folder or a device, not a file" if path.exists() else "no such file"
        )
    if path.stat().st_size == 0:
        raise FormatError("is empty; get a fresh copy of the file")
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def checked(data: memoryview, crc: int, name: str) -> memoryview:
    """Returns ``data`` if its CRC-32 is ``crc``.

    Raises:
        FormatError: it is not.
    """
    if zlib.crc32(data) != crc:
        raise FormatError(
            f"record {shown(name)} fails its checksum: the file is damaged; get a fresh copy"
        )
    return data
