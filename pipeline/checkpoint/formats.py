"""The registry of formats: each reader registers a name and a test of what it can read.

A file is known by its first bytes, a folder by what is in it, a zip archive by its records.
"""

from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path

from ascend_migrate.pipeline.checkpoint.archive import Archive, open_archive
from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named
from ascend_migrate.pipeline.checkpoint.mapped import map_file

MAX_PICKLE = 1 << 26
"""Bytes of one checkpoint's pickle or index: 64 MiB hold the descriptions of 200 000 tensors."""

_HEAD = 512
"""Bytes that every known magic number lies within; tar keeps its own at 257."""

# In the order in which they are asked; torch_zip takes every zip file that is left over.
_MODULES = (
    "torchscript",
    "torch_export",
    "npz_file",
    "torch_zip",
    "torch_legacy",
    "torch_tar",
    "safetensors_file",
    "gguf_file",
    "onnx_file",
    "hugging_face",
    "distributed",
    "deepspeed",
    "megatron",
)

Read = Callable[[Path], Contents]
Sniff = Callable[[bytes], bool]
Claims = Callable[[Path], bool]
ReadArchive = Callable[[Archive], Contents]
ClaimsArchive = Callable[[Archive], bool]
_READERS: dict[str, tuple[Sniff, Read]] = {}
_ARCHIVE_READERS: dict[str, tuple[ClaimsArchive, ReadArchive]] = {}
_FOLDER_READERS: dict[str, tuple[Claims, Read]] = {}

_FOREIGN: tuple[tuple[Sniff, str], ...] = (
    (lambda h: h[257:262] == b"ustar", "is a tar file; unpack it first"),
    (lambda h: h.startswith(b"\x1f\x8b"), "is gzip-compressed; unpack it first"),
    (lambda h: h.startswith(b"\x89HDF"), "is an HDF5 file (Keras?)"),
    (lambda h: h.startswith(b"\x93NUMPY"), "is a NumPy array"),
    (lambda h: h.startswith(b"version https://git-lfs"), "is a Git LFS pointer; run git lfs pull"),
    (lambda h: h[:1] in (b"\x80", b"(", b"c"), "looks like a bare pickle: it could run anything"),
)


def reader(name: str, sniff: Sniff) -> Callable[[Read], Read]:
    """Registers a reader for files whose first bytes satisfy ``sniff``."""

    def register(function: Read) -> Read:
        _READERS[name] = (sniff, function)
        return function

    return register


def archive_reader(name: str, claims: ClaimsArchive) -> Callable[[ReadArchive], ReadArchive]:
    """Registers a reader for zip archives that satisfy ``claims``."""

    def register(function: ReadArchive) -> ReadArchive:
        _ARCHIVE_READERS[name] = (claims, function)
        return function

    return register


def folder_reader(name: str, claims: Claims) -> Callable[[Read], Read]:
    """Registers a reader for folders that satisfy ``claims``."""

    def register(function: Read) -> Read:
        _FOLDER_READERS[name] = (claims, function)
        return function

    return register


def open_contents(path: Path, only: Collection[str] | None = None) -> Contents:
    """Recognises a file by its first bytes, or a folder by its files, and opens it.

    Args:
        path: the file or folder.
        only: names of the formats that fit here; None for all of them.

    Raises:
        SourceError: unreadable, unknown, damaged or hostile.
    """
    for module in _MODULES:
        import_module(f"ascend_migrate.pipeline.checkpoint.{module}")
    if path.is_dir():
        return _open_folder(path)
    with named(path, "a file"):
        if path.exists() and not path.is_file():
            raise FormatError("is a device or a pipe, not a file")  # opening one may wait forever
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if not head:
            raise FormatError("is empty; get a fresh copy of the file")
    if head.startswith(b"PK\3\4"):
        return _open_archive(path, only)
    for name, (sniff, read) in _READERS.items():
        if sniff(head):
            with named(path, name):
                _check_fits(name, only)
                return read(path)
    with named(path, "a file"):
        reason = next((text for test, text in _FOREIGN if test(head)), "is of no known format")
        raise FormatError(
            f"{reason}; known: {', '.join((*_ARCHIVE_READERS, *_READERS))}; load it where you "
            "trust it and save model.state_dict() with torch.save"
        )


def _open_archive(path: Path, only: Collection[str] | None) -> Contents:
    with named(path, "a zip file"):
        archive = open_archive(map_file(path))
        name = next(name for name, (claims, _) in _ARCHIVE_READERS.items() if claims(archive))
    with named(path, name):
        _check_fits(name, only)
        return _ARCHIVE_READERS[name][1](archive)


def _check_fits(name: str, only: Collection[str] | None) -> None:
    if only is not None and name not in only:
        raise FormatError(f"is a {name} file where one of {', '.join(only)} belongs")


def _open_folder(path: Path) -> Contents:
    for name, (claims, read) in _FOLDER_READERS.items():
        with named(path, name):
            if claims(path):
                return read(path)
    with named(path, "a folder"):
        raise FormatError(
            "is a folder; name the checkpoint file inside it (folders of these kinds are read as "
            f"a whole: {', '.join(_FOLDER_READERS)})"
        )
