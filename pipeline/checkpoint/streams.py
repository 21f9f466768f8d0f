"""The bytes of tensors, piece by piece: what is copied need not fit into memory."""

from collections.abc import Iterable, Iterator

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.mapped import pieces
from ascend_migrate.pipeline.checkpoint.views import View, check_bools, extent, gathered

_HELD = 1 << 26
"""Bytes of a storage that is put together in memory for the sake of a part of it: 64 MiB. The
parts of a larger one are cut out of its stream, which is run through for each of them."""


def stream_view(contents: Contents, view: View) -> Iterator[memoryview]:
    """Returns the bytes of the contiguous tensor in order.

    Args:
        contents: an opened file.
        view: a view that passed `check_view`.

    Raises:
        FormatError: a record of the file is damaged; mostly known after the last piece.
        OSError: the file cannot be read.
    """
    if not view.nbytes:
        return iter(())
    if not view.as_stored:
        return gathered(view, contents.storage(view.storage))
    run = _run(contents, view.storage, *extent(view))
    return _bools(run) if view.dtype == "bool" else run


def _run(contents: Contents, name: str, begin: int, end: int) -> Iterator[memoryview]:
    storage = contents.storages[name]
    whole = (begin, end) == (0, storage.nbytes)
    if storage.stream is not None and (whole or _large(storage)):
        return storage.stream() if whole else _cut(storage.stream(), begin, end)
    return pieces(contents.storage(name), begin, end - begin)


def _large(storage: Storage) -> bool:
    return storage.made and storage.nbytes > _HELD


def _cut(stream: Iterable[memoryview], begin: int, end: int) -> Iterator[memoryview]:
    """Passes on what lies between two places, but takes everything, so that all is checked."""
    at = 0
    for piece in stream:
        inside = piece[max(begin - at, 0) : max(end - at, 0)]
        at += len(piece)
        if len(inside):
            yield inside


def _bools(stream: Iterable[memoryview]) -> Iterator[memoryview]:
    for piece in stream:
        check_bools(piece)
        yield piece
