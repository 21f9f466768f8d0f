"""A new file that is written piece by piece, and hashed by a second thread beside the writing."""

import hashlib
import os
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Self

from ascend_migrate.pipeline.durable import create_file, storing

_WAITING = 4
"""Pieces that are written and not yet hashed: enough that neither side waits for the other."""


class StreamedFile:
    """A file that must not exist yet, to be used in a ``with`` statement.

    Hashing costs more than copying, and needs every byte in order; in a thread of its own it costs
    no time, as hashlib lets other threads run meanwhile.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, path: Path, *, hashed: bool = True) -> None:
        self._path = path
        self.size = 0
        self._state = hashlib.sha256()
        self._queue: Queue[memoryview | None] = Queue(_WAITING)
        self._thread = Thread(target=self._hash, daemon=True) if hashed else None

    def __enter__(self) -> Self:
        """Makes the file."""
        with storing(self._path):
            self._descriptor = create_file(self._path)
        if self._thread:
            self._thread.start()
        return self

    def write(self, piece: memoryview) -> None:
        """Appends bytes, which must not change any more.

        Raises:
            StoreError: the disk is full, or refuses for another reason.
        """
        with storing(self._path):
            rest = piece
            while len(rest):
                rest = rest[os.write(self._descriptor, rest) :]
        self.size += len(piece)
        if self._thread:
            self._queue.put(piece)

    def finish(self) -> str:
        """Waits until all is on the disk.

        Returns:
            The digest of the file, or an empty text if it is not hashed.

        Raises:
            StoreError: the disk refuses.
        """
        if self._thread:
            self._queue.put(None)
        with storing(self._path):
            os.fsync(self._descriptor)
        if not self._thread:
            return ""
        self._thread.join()
        self._thread = None
        return f"sha256:{self._state.hexdigest()}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file, finished or not."""
        if self._thread:
            self._queue.put(None)
            self._thread.join()
        os.close(self._descriptor)

    def _hash(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._state.update(piece)
