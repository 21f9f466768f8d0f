"""Strided views of storages: described, checked against the storage, and turned into arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ascend_migrate.pipeline.checkpoint.faults import FormatError
from ascend_migrate.pipeline.checkpoint.mapped import forget
from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_RANK = 64
"""NumPy and torch hold at most 64 dimensions."""

_MAX_ADDRESS = 2**63 - 1
"""Sizes, strides and offsets are signed 64-bit numbers everywhere."""

_MAX_EXPANSION = 16
"""A view that repeats its storage more often than this is taken for a bomb: real checkpoints
repeat a row of a small buffer, if anything."""

_HARMLESS = 1 << 20
"""Bytes below which a repeated view is no bomb, whatever its storage: 1 MiB."""

_GATHERED = 1 << 24
"""Bytes of a turned or sliced tensor that are put in order at a time: 16 MiB."""


@dataclass(frozen=True, slots=True)
class View:
    """A tensor as a file describes it; nothing of it is trusted before `check_view`.

    Attributes:
        storage: the storage's name within the file.
        dtype: our spelling of the element type.
        shape: sizes.
        stride: strides in elements.
        offset: first element, counted from the start of the storage.
        device: device tag, such as ``"cuda:0"``; empty where the format has none.
        conj: whether the stored numbers are the conjugates of the tensor's.
        neg: whether the stored numbers are the negatives of the tensor's.
    """

    storage: str
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    device: str = ""
    conj: bool = False
    neg: bool = False

    @property
    def as_stored(self) -> bool:
        """Whether the tensor's bytes are a run of the storage's, so that they can be copied."""
        straight = self.stride == contiguous(self.shape) or math.prod(self.shape) <= 1
        return straight and not self.conj and not self.neg

    @property
    def nbytes(self) -> int:
        """Bytes of the contiguous tensor."""
        return math.prod(self.shape) * BY_NAME[self.dtype].itemsize


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A tensor that is no strided view of numbers; it keeps its name, so that it can be dropped.

    Attributes:
        reason: what it is, and what to do; follows on the tensor's name.
    """

    reason: str


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the strides, in elements, of a C-contiguous tensor of ``shape``."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def extent(view: View) -> tuple[int, int]:
    """Returns the first byte and the byte after the last one that ``view`` touches."""
    width = BY_NAME[view.dtype].itemsize
    if 0 in view.shape:
        return view.offset * width, view.offset * width
    last = last_element(view.shape, view.stride)
    return view.offset * width, (view.offset + last + 1) * width


def last_element(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Returns the place of a tensor's last element, counted from its first one."""
    return sum([(size - 1) * step for size, step in zip(shape, stride, strict=True)])


def check_view(view: View, storage_bytes: int) -> None:
    """Proves that ``view`` stays inside a storage of ``storage_bytes`` bytes.

    Raises:
        FormatError: it does not, or it would grow into far more than the file holds.
    """
    if len(view.shape) != len(view.stride) or len(view.shape) > _MAX_RANK:
        raise FormatError(f"has {len(view.shape)} sizes and {len(view.stride)} strides")
    for number in (*view.shape, *view.stride, view.offset):
        if not 0 <= number <= _MAX_ADDRESS:
            raise FormatError(f"has the size, stride or offset {number}, which cannot be")
    if math.prod(max(size, 1) for size in view.shape) * 16 > _MAX_ADDRESS:
        raise FormatError(f"has the shape {list(view.shape)}, which no computer can address")
    end = extent(view)[1]
    if 0 not in view.shape and end > storage_bytes:
        raise FormatError(f"reaches byte {end} of a storage of {storage_bytes} bytes")
    if view.nbytes > max(_HARMLESS, _MAX_EXPANSION * storage_bytes):
        raise FormatError(
            f"repeats a storage of {storage_bytes} bytes into {view.nbytes} bytes: refused as a "
            "decompression bomb; save the tensor with .contiguous() if it is meant"
        )


def check_bools(data: memoryview) -> None:
    """Proves that every byte is 0 or 1: torch's kernels misread any other.

    Raises:
        FormatError: one is neither.
    """
    if bytes(data).translate(None, b"\0\1"):
        raise FormatError("is bool but holds bytes that are neither 0 nor 1")


def gathered(view: View, storage: memoryview) -> Iterator[memoryview]:
    """Yields the bytes of the contiguous tensor in order, `_GATHERED` at a time.

    Args:
        view: a view that passed `check_view`.
        storage: bytes of its storage.

    Raises:
        FormatError: a bool that is neither 0 nor 1.
    """
    import numpy as np

    if view.nbytes <= _GATHERED or not view.shape:
        yield materialise(view, storage).reshape(-1).view(np.uint8).data
        forget(storage)
        return
    count = _GATHERED * view.shape[0] // view.nbytes
    for at in range(0, view.shape[0], max(count, 1)):
        rows = narrowed(view, at, min(at + max(count, 1), view.shape[0]))
        # A row that is too long is cut along its own first axis.
        yield from gathered(
            rows if count else replace(rows, shape=view.shape[1:], stride=view.stride[1:]), storage
        )


def narrowed(view: View, start: int, end: int) -> View:
    """Returns the rows from ``start`` to before ``end`` of a tensor of rank 1 or more."""
    offset = view.offset + start * view.stride[0]
    return replace(view, shape=(end - start, *view.shape[1:]), offset=offset)


def materialise(view: View, storage: memoryview) -> NDArray[np.generic]:
    """Returns the tensor as a C-contiguous array: read-only over ``storage`` where that works.

    Args:
        view: a view that passed `check_view`.
        storage: bytes of its storage.

    Raises:
        FormatError: a bool that is neither 0 nor 1.
    """
    import numpy as np

    dtype = numpy_dtype(view.dtype)
    if 0 in view.shape:
        empty = np.empty(view.shape, dtype)
        empty.flags.writeable = False
        return empty
    start, end = extent(view)
    raw = np.frombuffer(storage[start:end], np.uint8)
    if view.dtype == "bool":
        check_bools(storage[start:end])
    flat = raw.view(dtype) if raw.ctypes.data % dtype.alignment == 0 else raw.copy().view(dtype)
    array: NDArray[np.generic]
    if view.as_stored:
        array = flat.reshape(view.shape)
    else:
        # NumPy strides no 8-bit floats, so that they pass as unsigned integers of their width.
        plain = flat.view(f"u{dtype.itemsize}") if dtype.itemsize <= 8 else flat  # noqa: PLR2004
        steps = tuple(step * dtype.itemsize for step in view.stride)
        laid = np.lib.stride_tricks.as_strided(plain, view.shape, steps, writeable=False)
        array = np.array(laid, order="C").view(dtype)
        if view.conj:
            array = np.conjugate(array)
        if view.neg:
            array = np.negative(array)
    array.flags.writeable = False
    return array
