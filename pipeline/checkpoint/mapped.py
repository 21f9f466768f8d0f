"""Files that are mapped to be looked at, and read when all of their bytes are wanted."""

import ctypes
import io
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import local

from ascend_migrate.pipeline.checkpoint.faults import FormatError

PIECE = 1 << 19
"""Bytes that are read at a time, 512 KiB: they stay in the processor's cache until they are
checked, hashed and written. Blocks of 1 MiB and more cost twice the processor time."""


class Mapped(mmap.mmap):
    """A mapped file that can be opened again.

    Attributes:
        path: where it was.
        state: what tells one file, and one version of it, from another.
        address: of its first byte in memory.
    """

    path: Path
    state: tuple[int, ...]
    address: int


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
        found = Mapped(stream.fileno(), 0, access=mmap.ACCESS_READ)
        found.path, found.state = path, file_state(os.fstat(stream.fileno()))
    data = memoryview(found)
    found.address = _address(data)
    return data


def file_state(found: os.stat_result) -> tuple[int, ...]:
    """Returns what changes when a file is replaced or written to."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def pieces(data: memoryview, start: int = 0, size: int | None = None) -> Iterator[memoryview]:
    """Yields ``size`` bytes of ``data`` from ``start`` on in pieces of at most `PIECE` bytes.

    What is mapped is read from its file instead. So no pages add up in memory, and a disk that
    fails is an error and not the end of the process.

    Raises:
        FormatError: the file has been changed since it was mapped.
        OSError: it cannot be read.
    """
    owner = data.obj
    end = len(data) if size is None else start + size
    if not isinstance(owner, Mapped):
        for at in range(start, end, PIECE):
            yield data[at : min(at + PIECE, end)]
        return
    if start == end:
        return
    shift = _place(data, owner)
    at, end = start + shift, end + shift
    stream = _opened.again(owner)
    while at < end:
        # Asked again each time: closed, its number may be another file's.
        piece = os.pread(stream.fileno(), min(PIECE, end - at), at)
        if not piece:
            raise FormatError(f"{owner.path.name} was cut off while it was read; start again")
        yield memoryview(piece)
        at += len(piece)


Peek = Callable[[int, int], bytes]
"""Returns up to so many bytes (second) from a place (first) on."""


def peeking(data: memoryview) -> Peek:
    """Returns what looks at few bytes of ``data`` without mapping any of its file.

    Looking at a mapped page costs ten times as much, and brings those around it into memory.

    Raises:
        FormatError: the file has been changed since it was mapped.
        OSError: it cannot be read.
    """
    owner = data.obj
    if not isinstance(owner, Mapped):
        return lambda start, size: bytes(data[start : start + size])
    stream, shift, end = _opened.again(owner), _place(data, owner), len(data)

    def peek(start: int, size: int) -> bytes:
        return os.pread(stream.fileno(), max(min(size, end - start), 0), shift + start)

    return peek


def _place(data: memoryview, owner: Mapped) -> int:
    """Returns where mapped bytes are in their file, which a slice does not say."""
    return 0 if len(data) == len(owner) else _address(data) - owner.address


class _Opened(local):
    """The file that a thread has read last, which it mostly reads next."""

    stream: io.FileIO | None = None

    def again(self, mapped: Mapped) -> io.FileIO:
        """Opens a mapped file once more.

        Raises:
            FormatError: it is another one now, or has been written to.
        """
        if self.stream is not None:
            if file_state(os.fstat(self.stream.fileno())) == mapped.state:
                return self.stream
            self.stream.close()
        self.stream = io.FileIO(mapped.path)
        if file_state(os.fstat(self.stream.fileno())) != mapped.state:
            raise FormatError(f"{mapped.path.name} was changed while it was read; start again")
        return self.stream


_opened = _Opened()


def forget(data: memoryview) -> None:
    """Gives the pages of mapped ``data`` back; they are read again when they are touched."""
    owner = data.obj
    if isinstance(owner, Mapped) and len(data):
        start = _place(data, owner)
        first = start - start % mmap.PAGESIZE
        owner.madvise(mmap.MADV_DONTNEED, first, start + len(data) - first)


class PrivateMaps:
    """Writable views of mapped files: what is written stays in memory, and in these views alone.

    A page takes memory only once it is written to, and files and other maps stay as they are. So a
    model can be given its weights without a copy of them, and do with them what it likes.
    """

    def __init__(self) -> None:
        self._maps: dict[int, mmap.mmap] = {}

    def writable(self, data: memoryview) -> memoryview | None:
        """Returns the same bytes in a private map; None where they are not in a mapped file.

        Raises:
            FormatError: the file has been changed since it was mapped.
        """
        owner = data.obj
        if not isinstance(owner, Mapped) or not len(data):
            return None
        if id(owner) not in self._maps:
            with owner.path.open("rb") as stream:
                if file_state(os.fstat(stream.fileno())) != owner.state:
                    raise FormatError(f"{owner.path.name} was changed while it was read")
                self._maps[id(owner)] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        start = _place(data, owner)
        return memoryview(self._maps[id(owner)])[start : start + len(data)]


class _Buffer(ctypes.Structure):
    """Py_buffer of CPython's Include/pybuffer.h."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _address(data: memoryview) -> int:
    """Returns where the bytes are: a slice does not say which part of its file it is."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(buffer), 0)
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
