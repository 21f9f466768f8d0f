"""A folder for a process that is not trusted: what it holds is bounded, and it goes in the end."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 512
"""Bytes of a block as stat counts them."""

_NODE = 4096
"""Bytes that a file of no size is counted as: a disk has only so many."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields an empty folder, and removes it with whatever is in it by then."""
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as name:
        folder = Path(name).resolve()
        try:
            yield folder
        finally:
            _clear(folder)


def taken(folder: Path, most: int) -> bool:
    """Tells whether a folder holds more than ``most`` bytes, in files and in their number."""
    size = 0
    waiting = [os.fspath(folder)]
    while waiting and size <= most:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    size += _NODE + entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:  # gone meanwhile, or deeper than a path is long
            size += _NODE
    return size > most


def _clear(folder: Path) -> None:
    """Empties a folder of any depth: `shutil.rmtree` calls itself, and a path has an end."""
    while inner := list(os.scandir(folder)):
        for entry in inner:
            if not entry.is_dir(follow_symlinks=False):
                Path(entry).unlink()
                continue
            Path(entry).chmod(0o700)
            for below in list(os.scandir(entry)):
                if below.is_dir(follow_symlinks=False):
                    Path(below).chmod(0o700)
                Path(below).rename(folder / secrets.token_hex(16))
            Path(entry).rmdir()
