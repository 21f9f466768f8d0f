"""Writes laid-out safetensors files side by side, and goes on where a killed run was stopped.

While a run is unfinished, its folder holds ``.unfinished-<key>/``: the files that are complete, and
for each a small record with its digest. Whoever runs the same conversion again finds them, proves
them by their digests, and writes only the others. The index comes last, so that a set of files
without it is one that is not complete.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event, Lock

from ascend_migrate.converters.safetensors_layout import Shard, index_of
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.checkpoint.faults import shown
from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.errors import ConversionError, MigrationError
from ascend_migrate.pipeline.records import FileEntry
from ascend_migrate.pipeline.streamed_file import StreamedFile

UNFINISHED = ".unfinished-"
"""How the folder of a conversion begins that was stopped and can go on."""

_WORKERS = 2
"""Files that are written at a time. Each has a hashing thread beside it; more of them would only
wait for the same disk."""

Told = Callable[[int, int], None]
"""Told how many bytes are written, and how many there will be; from any thread."""


def write_shards(
    shards: Sequence[Shard], into: Path, name: str, *, key: str, hashed: bool, told: Told | None
) -> list[FileEntry]:
    """Writes the files and, where there are several, their index.

    Args:
        shards: what to write.
        into: an existing folder; what it holds under the same names is replaced at the end.
        name: of the file if it were one; the index has ``.index.json`` behind it.
        key: stands for everything that decides the bytes of the files.
        hashed: whether the files are hashed; those that are not are never taken up again.
        told: see `Told`.

    Returns:
        The files, the index first; digests are empty where they are not hashed.

    Raises:
        StoreError: a file cannot be written; nothing is left behind.
        SourceError, ConversionError: a tensor cannot be read or made; likewise.
    """
    work = into / f"{UNFINISHED}{key}"
    resumable = hashed and len(shards) > 1
    with durable.held_folder(work):
        try:
            with durable.storing(into):
                entries = _Job(into, work, resumable, hashed, told, shards).run()
                if len(shards) > 1:
                    index = f"{name}.index.json"
                    durable.write_file(work / index, index_of(shards))
                    entries.insert(0, FileEntry.of(work, index))
                _move(entries, work, into)
        # What can go on is kept when the user stops it, and never when it cannot be done.
        except BaseException as error:
            if isinstance(error, MigrationError) or not resumable:
                shutil.rmtree(work, ignore_errors=True)
            raise
    return entries


def _move(entries: Sequence[FileEntry], work: Path, into: Path) -> None:
    for entry in reversed(entries):
        if (work / entry.path).exists():
            (work / entry.path).replace(into / entry.path)
    durable.sync_folder(into)
    for folder in into.glob(f"{UNFINISHED}*"):
        shutil.rmtree(folder)
    durable.sync_folder(into)


class _StoppedError(Exception):
    """Another file failed, so that this one is not wanted any more."""


class _Job:
    """The files of one conversion, and how far they are."""

    def __init__(
        self,
        into: Path,
        work: Path,
        resumable: bool,
        hashed: bool,
        told: Told | None,
        shards: Sequence[Shard],
    ) -> None:
        self._into, self._work = into, work
        self._resumable, self._hashed, self._told = resumable, hashed, told
        self._shards = shards
        self._done, self._total = 0, sum(len(s.header) + s.data for s in shards)
        self._lock, self._stop = Lock(), Event()

    def run(self) -> list[FileEntry]:
        """Writes what is not there yet."""
        if len(self._shards) == 1:
            return [self._shard(self._shards[0])]
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = [pool.submit(self._shard, shard) for shard in self._shards]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
            errors = [error for future in done if (error := future.exception())]
            pool.shutdown(cancel_futures=True)
        for error in sorted(errors, key=lambda error: isinstance(error, _StoppedError)):
            raise error
        return [future.result() for future in futures]

    def _shard(self, shard: Shard) -> FileEntry:
        record = self._work / f"{shard.name}.json"
        found = self._finished(record, shard)
        if found is not None:
            self._count(found.size)
            return found
        part = self._work / f"{shard.name}.part"
        part.unlink(missing_ok=True)
        with StreamedFile(part, hashed=self._hashed) as file:
            self._write(file, shard)
            entry = FileEntry(shard.name, file.finish(), file.size)
        part.replace(self._work / shard.name)
        if self._resumable:
            durable.write_file(record, canonical_json(entry.to_json()))
        return entry

    def _write(self, file: StreamedFile, shard: Shard) -> None:
        file.write(memoryview(shard.header))
        self._count(len(shard.header))
        for tensor in shard.tensors:
            start = file.size
            for piece in tensor.pieces():
                file.write(piece)
                self._count(len(piece))
            if file.size - start != tensor.nbytes:
                raise ConversionError(
                    f"tensor {shown(tensor.name)} came to {file.size - start} bytes, and its sizes "
                    f"need {tensor.nbytes}: the source is damaged; get a fresh copy"
                )

    def _finished(self, record: Path, shard: Shard) -> FileEntry | None:
        """Returns the file's entry if a former run has finished it and its bytes are intact."""
        if not self._resumable or not record.exists():
            return None
        try:
            entry = FileEntry.from_json(json.loads(record.read_bytes()))
        except (ValueError, KeyError, TypeError):
            return None
        for folder in (self._work, self._into):
            path = folder / shard.name
            if path.is_file() and path.stat().st_size == entry.size:
                return entry if FileEntry.of(folder, shard.name) == entry else None
        return None

    def _count(self, size: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        with self._lock:
            self._done += size
            if self._told:
                self._told(self._done, self._total)
