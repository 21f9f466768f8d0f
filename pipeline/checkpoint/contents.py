"""What a reader finds in a file: a tree of plain values and tensor views, and the storages."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from zlib_ng.zlib_ng import crc32

from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that tensors are views of.

    Attributes:
        nbytes: how many there are.
        load: returns them, checked.
        made: whether `load` puts them together in memory; False where they are mapped.
        stream: returns them in order, piece by piece, in little memory; they are checked once the
            last one has been taken. None where there is no way but `load`.
    """

    nbytes: int
    load: Callable[[], memoryview]
    made: bool = False
    stream: Callable[[], Iterator[memoryview]] | None = None

    @classmethod
    def of_stream(cls, nbytes: int, stream: Callable[[], Iterator[memoryview]]) -> "Storage":
        """Returns a storage that is put together in memory only where all of it is wanted."""
        return cls(nbytes, partial(put_together, nbytes, stream), made=True, stream=stream)


def put_together(nbytes: int, stream: Callable[[], Iterator[memoryview]]) -> memoryview:
    """Returns all that a stream of ``nbytes`` bytes yields, in one piece."""
    whole = bytearray(nbytes)
    at = 0
    for piece in stream():
        whole[at : at + len(piece)] = piece
        at += len(piece)
    return memoryview(whole).toreadonly()


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
        held: what must live as long as the storages are read.
    """

    format: str
    root: Any
    storages: Mapping[str, Storage]
    refusal: str = ""
    notes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    held: object = None
    _mapped: dict[str, memoryview] = field(default_factory=dict)
    _made: dict[str, memoryview] = field(default_factory=dict)

    def storage(self, name: str) -> memoryview:
        """Returns the bytes of one storage, checked on first use.

        Only the last of those that take memory is kept, so that reading all tensors in order
        needs room for the largest one.
        """
        storage = self.storages[name]
        kept = self._made if storage.made else self._mapped
        found = kept.get(name)
        if found is None:
            if storage.made:
                kept.clear()
            found = kept[name] = storage.load()
        return found


def checked(pieces: Iterable[memoryview], crc: int, name: str) -> Iterator[memoryview]:
    """Passes the pieces of a record on, and proves at the end that their CRC-32 is ``crc``.

    Raises:
        FormatError: it is not.
    """
    found = 0
    for piece in pieces:
        found = crc32(piece, found)
        yield piece
    if found != crc:
        raise FormatError(
            f"record {shown(name)} fails its checksum: the file is damaged; get a fresh copy"
        )
