"""What all checkpoints of several files need: confined paths, and one view of many files."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown, strict_json
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE
from ascend_migrate.pipeline.checkpoint.packed import Packed
from ascend_migrate.pipeline.checkpoint.views import View


def confined(folder: Path, name: str) -> Path:
    """Returns the regular file ``name`` of ``folder``, which an untrusted file has named.

    Symbolic links may lead anywhere within the folder and, in a Hugging Face cache, from
    ``snapshots/<revision>`` to the ``blobs`` beside it.

    Raises:
        FormatError: it leaves the folder, is missing, or is no regular file.
    """
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise FormatError(f"names the file {shown(name)}, which leaves its folder; refused")
    try:
        home = folder.resolve(strict=True)
        target = (folder / name).resolve(strict=True)
    # A cycle of links is a RuntimeError before Python 3.13.
    except (OSError, RuntimeError):
        raise FormatError(f"lacks the file {shown(name)}; get a complete copy") from None
    if not any(target.is_relative_to(root) for root in _roots(home)):
        raise FormatError(
            f"names the file {shown(name)}, a link that leads out of its folder; put the file "
            "itself there"
        )
    if not target.is_file():
        raise FormatError(f"names {shown(name)}, which is no regular file; refused")
    return target


def _roots(home: Path) -> list[Path]:
    caches = [parent for parent in (home, *home.parents) if parent.parent.name == "snapshots"]
    return [home, *(cache.parent.parent / "blobs" for cache in caches)]


def read_json(path: Path) -> Any:
    """Reads a JSON file of bearable size in which no table has a name twice.

    Raises:
        FormatError: it is too large, or a name occurs twice.
        ValueError: no JSON.
    """
    size = path.stat().st_size
    if size > MAX_PICKLE:
        raise FormatError(f"is an index of {size} bytes; refused above {MAX_PICKLE}")
    return strict_json(path.read_bytes())


def prefixed(prefix: str, path: Path, contents: Contents) -> tuple[Any, dict[str, Storage]]:
    """Returns tree and storages of one file, fit to be joined with those of others.

    Args:
        prefix: goes before each storage's name.
        path: named in whatever goes wrong when a storage is loaded.
        contents: the opened file.
    """
    storages = {
        f"{prefix}:{name}": _within(path, contents.format, storage)
        for name, storage in contents.storages.items()
    }
    return renamed(contents.root, prefix), storages


def _within(path: Path, what: str, storage: Storage) -> Storage:
    """Returns the same storage, with whatever goes wrong in it laid to its own file."""

    def load() -> memoryview:
        with named(path, what):
            return storage.load()

    def stream(inner: Callable[[], Iterator[memoryview]]) -> Iterator[memoryview]:
        with named(path, what):
            yield from inner()

    inner = storage.stream
    return replace(storage, load=load, stream=inner and partial(stream, inner))


def renamed(root: Any, prefix: str) -> Any:
    """Returns a tree whose tensors' storages have ``prefix`` before their names."""
    if isinstance(root, View):
        return replace(root, storage=f"{prefix}:{root.storage}")
    if isinstance(root, Packed):
        return root.moved(prefix)
    if isinstance(root, dict):
        return {
            name: renamed(value, prefix) if isinstance(value, View | Packed) else value
            for name, value in root.items()
        }
    return root
