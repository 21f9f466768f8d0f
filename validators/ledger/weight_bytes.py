"""The bytes of tensors, in pieces: hashed, and looked through for what is no ordinary number.

What is mapped from a file is read from there, so that neither a large tensor nor a large file
takes memory.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ascend_migrate.pipeline.checkpoint.faults import named
from ascend_migrate.pipeline.checkpoint.mapped import PIECE, Mapped, pieces
from ascend_migrate.pipeline.digest import bytes_digest
from ascend_migrate.validators.cases import Array


def content_digest(array: Array) -> str:
    """Returns the digest of the array's contiguous bytes; its shape does not count."""
    state = hashlib.sha256()
    for piece in octets(array):
        state.update(piece)
    return f"sha256:{state.hexdigest()}"


def octets(array: Array) -> Iterator[memoryview]:
    """Yields the contiguous bytes of an array, in pieces of whole elements.

    Raises:
        SourceError: the file that they are in has been changed.
    """
    mapped = mapped_bytes(array)
    if mapped is not None and isinstance(mapped.obj, Mapped):
        with named(mapped.obj.path, "weights"):
            yield from pieces(mapped)
        return
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    for at in range(0, len(data), PIECE):
        yield data[at : at + PIECE]


def mapped_bytes(array: Array) -> memoryview | None:
    """Returns the part of a mapped file that an array shows; None where it is in memory."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if not isinstance(owner, Mapped) or not array.flags.c_contiguous:
        return None
    start = array.ctypes.data - owner.address
    return memoryview(owner)[start : start + array.nbytes]


class Digests:
    """Digests of arrays; of one part of one mapped file it is computed once.

    Artifacts share files: the graph its weights with the safetensors form, and several graphs
    theirs with each other.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def of(self, array: Array) -> str:
        """Returns the digest of the array's contiguous bytes."""
        mapped = mapped_bytes(array)
        if mapped is None or not isinstance(mapped.obj, Mapped):
            return content_digest(array)
        start = array.ctypes.data - mapped.obj.address
        place = (*mapped.obj.state, start, array.nbytes)
        if place not in self._known:
            self._known[place] = content_digest(array)
        return self._known[place]


@dataclass(slots=True)
class Oddities:
    """Elements that are no ordinary numbers.

    Attributes:
        nan: how many are NaN.
        infinite: how many are infinite.
        denormal: how many are below the type's normal range, and not zero.
    """

    nan: int = 0
    infinite: int = 0
    denormal: int = 0

    def add(self, array: Array) -> None:
        """Counts those of one more piece of a tensor."""
        if array.dtype.kind in "biu" or not array.size:
            return
        if array.dtype.kind == "c":
            array = array.view(np.dtype(f"f{array.dtype.itemsize // 2}"))
        if array.dtype.name not in _EXPONENTS:  # 8-bit floats, of which a model has few
            wide = array.astype(np.float32)
            self.nan += int(np.count_nonzero(np.isnan(wide)))
            self.infinite += int(np.count_nonzero(np.isinf(wide)))
            return
        unsigned = np.dtype(f"u{array.dtype.itemsize}").type
        exponent = unsigned(_EXPONENTS[array.dtype.name])
        bits = array.view(unsigned) & unsigned((1 << 8 * array.dtype.itemsize - 1) - 1)
        if bits.max() >= exponent:
            self.nan += int(np.count_nonzero(bits > exponent))
            self.infinite += int(np.count_nonzero(bits == exponent))
        bits -= unsigned(1)  # zero becomes the largest
        self.denormal += int(np.count_nonzero(bits < (exponent & (~exponent + unsigned(1))) - 1))


_EXPONENTS = {
    "float64": 0x7FF0 << 48,
    "float32": 0x7F80 << 16,
    "bfloat16": 0x7F80,
    "float16": 0x7C00,
}
"""Bits of the exponent, all set in infinity; with a bit below them set as well, it is NaN."""


def oddities(array: Array) -> Oddities:
    """Counts the elements of a tensor that are no ordinary numbers."""
    odd = Oddities()
    if array.dtype.kind not in "biu":
        for piece in octets(array):
            odd.add(np.frombuffer(piece, array.dtype))
    return odd


def is_mask(array: Array) -> bool:
    """Whether infinities have a purpose in this tensor: to switch off what they are added to.

    A mask knows few numbers, or is minus infinity in large part. A weight that overflowed, or one
    of whose exponent bits flipped, is neither.
    """
    wide = array.reshape(-1)
    if wide.dtype.kind == "c":
        return False
    lowest = int(np.count_nonzero(np.isneginf(wide.astype(np.float32))))
    only_lowest = lowest == int(np.count_nonzero(np.isinf(wide)))
    return bool(np.unique(wide).size <= _NUMBERS or (only_lowest and lowest >= wide.size / 4))


_NUMBERS = 3
"""Different numbers in a mask: none, one, and infinity."""


def integers_digest(array: Array) -> str:
    """Returns the digest of whole numbers as int64, whatever type they have; empty for others."""
    if array.dtype.kind not in "biu":
        return ""
    return bytes_digest(np.ascontiguousarray(array, np.int64).reshape(-1).view(np.uint8).data)
