"""The registry of file formats: each reader registers a name and a test of the first bytes."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named

MAX_PICKLE = 1 << 26
"""Bytes of one checkpoint's pickle: 64 MiB hold the descriptions of 200 000 tensors."""

_HEAD = 512
"""Bytes that every known magic number lies within; tar keeps its own at 257."""

_MODULES = ("torch_zip", "torch_legacy", "safetensors_file", "onnx_file")

Read = Callable[[Path], Contents]
Sniff = Callable[[bytes], bool]
_READERS: dict[str, tuple[Sniff, Read]] = {}

_FOREIGN: tuple[tuple[Sniff, str], ...] = (
    (lambda h: h[257:262] == b"ustar", "is a tar file (torch before 0.1.10, or an archive)"),
    (lambda h: h.startswith(b"\x1f\x8b"), "is gzip-compressed; unpack it first"),
    (lambda h: h.startswith(b"\x89HDF"), "is an HDF5 file (Keras?)"),
    (lambda h: h.startswith(b"GGUF"), "is a GGUF file"),
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


def open_contents(path: Path) -> Contents:
    """Recognises a file by its first bytes and opens it.

    Raises:
        SourceError: unreadable, unknown, damaged or hostile.
    """
    for module in _MODULES:
        import_module(f"ascend_migrate.pipeline.checkpoint.{module}")
    with named(path, "a file"):
        if path.is_dir():
            raise FormatError("is a folder; name the checkpoint file inside it")
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if not head:
            raise FormatError("is empty; get a fresh copy of the file")
    for name, (sniff, read) in _READERS.items():
        if sniff(head):
            with named(path, name):
                return read(path)
    with named(path, "a file"):
        reason = next((text for test, text in _FOREIGN if test(head)), "is of no known format")
        raise FormatError(
            f"{reason}; known: {', '.join(_READERS)}; load it where you trust it and save "
            "model.state_dict() with torch.save"
        )
