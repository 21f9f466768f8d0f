"""Writing to disk so that a reader sees the old state or the new one, also after a power cut.

The order is always: write under a temporary name, fsync the file, rename, fsync the folder. A
rename without the first fsync leaves an empty file after a power cut on a journaling file system.

Whoever makes a temporary file or folder holds a kernel lock (flock) on it. The kernel frees the
lock when the process dies, so `sweep` can tell what is in use from what is left over without
process numbers or ages.
"""

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ascend_migrate.pipeline.errors import StoreError

TEMPORARY = ".tmp-"
"""How every name begins that no reader may look at."""


def write_file(path: Path, data: bytes) -> None:
    """Replaces the file ``path`` by one that holds ``data``, atomically and durably.

    Raises:
        StoreError: the disk is full, read-only, or refuses for another reason; the former file is
            untouched and nothing is left behind.
    """
    with storing(path):
        temporary, descriptor = _claim_file(path.parent)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Makes ``path`` and its missing parents, each durably entered in its own parent.

    Raises:
        StoreError: the folder cannot be made.
    """
    with storing(path):
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Gives an empty folder in ``parent`` that disappears at the end unless it was renamed.

    Raises:
        StoreError: the folder cannot be made.
    """
    with storing(parent):
        folder, descriptor = _claim_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def no_empty_folder(path: Path) -> Iterator[None]:
    """Removes the folder ``path`` after a failure that leaves it behind new and empty."""
    there = path.exists()
    try:
        yield
    except BaseException:
        if not there:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def held_folder(path: Path) -> Iterator[None]:
    """Makes the folder ``path`` unless it is there, and keeps all others out of it meanwhile.

    Raises:
        StoreError: it cannot be made.
    """
    descriptor = -1
    with storing(path):
        while descriptor < 0:
            path.mkdir(exist_ok=True)
            # Its former holder may remove it before we have the lock.
            with suppress(FileNotFoundError):
                found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                descriptor = found if _hold(path, found) else -1
    try:
        yield
    finally:
        os.close(descriptor)


def publish_folder(temporary: Path, final: Path) -> None:
    """Gives a finished folder its final name, after all in it has reached the disk.

    Raises:
        StoreError: it cannot be written, or ``final`` already holds something.
    """
    with storing(final):
        for folder, _, names in os.walk(temporary):
            for name in names:
                sync_file(Path(folder) / name)
            sync_folder(Path(folder))
        temporary.rename(final)
        sync_folder(final.parent)


def sync_file(path: Path) -> None:
    """Waits until the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Waits until the folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock file ``path``, waiting for it; several may hold it at once when ``shared``.

    The file stays. The kernel frees the lock when its holder dies, whatever the reason.

    Raises:
        StoreError: the lock file cannot be made or opened.
    """
    with storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with storing(path):
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> tuple[int, int]:
    """Removes the temporary files and folders in ``folder`` whose makers are dead.

    Returns:
        How many files were removed, and their bytes.

    Raises:
        StoreError: a left-over cannot be removed.
    """
    files = size = 0
    with storing(folder):
        for path in sorted(folder.glob(f"{TEMPORARY}*")):
            descriptor = _take_over(path)
            if descriptor is None:
                continue
            try:
                found = [p for p in (path, *path.rglob("*")) if p.is_file()]
                files += len(found)
                size += sum(p.stat().st_size for p in found)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)
    return files, size


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses into one line that names ``path`` and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        # Of a rename or a copy the second name is what was to be made.
        raise StoreError(
            f"{error.filename2 or error.filename or path}: {reason}; free space or correct the "
            "permissions, then run the same command again"
        ) from error


def create_file(path: Path) -> int:
    """Makes a file that must not exist and returns its descriptor, open for reading and writing."""
    # 0o644 rather than mkstemp's 0o600: others must be able to read what is published.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _new_name(parent: Path) -> Path:
    return parent / f"{TEMPORARY}{secrets.token_hex(8)}"


def _claim_file(parent: Path) -> tuple[Path, int]:
    while True:
        path = _new_name(parent)
        descriptor = create_file(path)
        if _hold(path, descriptor):
            return path, descriptor


def _claim_folder(parent: Path) -> tuple[Path, int]:
    while True:
        path = _new_name(parent)
        path.mkdir()
        # A sweeper may come between mkdir and the lock: then the name is gone, and we try again.
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            if _hold(path, descriptor):
                return path, descriptor


def _hold(path: Path, descriptor: int) -> bool:
    """Locks what was just made; False, with the descriptor closed, if a sweeper was faster."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if _is_at(path, descriptor):
        return True
    os.close(descriptor)
    return False


def _take_over(path: Path) -> int | None:
    """Locks a left-over; None if its maker is alive, or if it is gone or no file of ours."""
    with suppress(FileNotFoundError):
        if stat.S_IFMT(path.lstat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its maker may have given it its final name since it was opened.
            if _is_at(path, descriptor):
                return descriptor
        os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Says whether the open file still has the name ``path``."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    return False
