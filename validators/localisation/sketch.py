"""Sketches of tensors: small enough to keep one of every intermediate, and still comparable.

Elements are dealt into a fixed number of buckets and added up with random signs. The distance of
two sketches is then that of the tensors themselves: exactly where no bucket has two elements, and
otherwise on average, with a relative standard deviation of 1 / sqrt(2 * BUCKETS), 2 %, for the root
mean square. (Charikar, Chen, Farach-Colton: Finding Frequent Items in Data Streams, 2002; the
distance is Johnson and Lindenstrauss's.)
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.validators.cases import Array

BUCKETS = 1024
"""8 KiB each: of ten thousand intermediates, two sketches of each take 160 MiB."""

_HUGE = 1e30
"""Larger numbers count as infinite: for a mask one writes -Inf, another the lowest number."""

_ROWS = 512
"""Rows of signs that are drawn; they repeat, shifted, in larger tensors."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of a tensor.

    Attributes:
        shape: its sizes.
        sums: the signed sum of each bucket, float64; NaN and infinities count as 0.
        strange: how many elements are NaN, +Inf and -Inf.
        scale: root mean square of the finite elements.
        floating: whether its elements are floats or complex; others have no rounding.
    """

    shape: tuple[int, ...]
    sums: NDArray[np.float64]
    strange: tuple[int, int, int]
    scale: float
    floating: bool

    @property
    def size(self) -> int:
        """Number of elements; a complex one counts as two."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def per_bucket(self) -> float:
        """How many elements share a bucket, at least 1."""
        return max(1.0, self.size / BUCKETS)


def sketch(array: Array) -> Sketch:
    """Returns the sketch of an array of any size; needs memory for one piece of it only."""
    flat, shape = np.ascontiguousarray(array).reshape(-1), array.shape
    floating = array.dtype.kind not in "biu"
    if array.dtype.kind == "c":
        flat, shape = flat.view(flat.real.dtype), (*shape, 2)
    sums = np.zeros(min(BUCKETS, flat.size), np.float64)
    squares, strange = 0.0, np.zeros(3, np.int64)
    step = BUCKETS * _ROWS
    for number, start in enumerate(range(0, flat.size, step)):
        piece = flat[start : start + step].astype(np.float64)
        finite = np.abs(piece) <= _HUGE
        if not finite.all():
            tests = (np.isnan(piece), piece > _HUGE, piece < -_HUGE)
            strange += [np.count_nonzero(found) for found in tests]
            piece = np.where(finite, piece, 0.0)
        # Not with @: its threads cost more than they save here, and decide the last digits.
        squares += float(np.einsum("i,i->", piece, piece))
        sums += _dealt(piece, number)[: sums.size]
    return Sketch(
        tuple(int(n) for n in shape),
        sums,
        (int(strange[0]), int(strange[1]), int(strange[2])),
        float(np.sqrt(squares / flat.size)) if flat.size else 0.0,
        floating,
    )


def distances(one: Sketch, sums: NDArray[np.float64]) -> tuple[Any, Any]:
    """Returns root mean square and largest bucket of the difference to other sketches.

    Args:
        one: a sketch of at least one element.
        sums: of sketches of as many elements, one in each row.
    """
    difference = sums - one.sums
    mean = np.sqrt(np.square(difference).sum(-1) / one.size)
    return mean, np.abs(difference).max(-1)


def restored(found: Sketch) -> NDArray[np.float64] | None:
    """Returns the values of a sketch in which no two share a bucket; else None.

    None as well where some are NaN or infinite, and of complex numbers.
    """
    if found.size > BUCKETS or any(found.strange) or not found.size:
        return None
    values: NDArray[np.float64] = (found.sums * _signs()[0][: found.size]).reshape(found.shape)
    return values


def _dealt(piece: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    if piece.size <= BUCKETS:
        found = np.zeros(BUCKETS)
        found[: piece.size] = piece * np.roll(_signs()[0], number)[: piece.size]
        return found
    rows = -(-piece.size // BUCKETS)
    padded = np.zeros(rows * BUCKETS)
    padded[: piece.size] = piece
    signs = np.roll(_signs()[:rows], number, axis=1) if number else _signs()[:rows]
    dealt: NDArray[np.float64] = np.einsum("rb,rb->b", padded.reshape(rows, BUCKETS), signs)
    return dealt


@lru_cache(maxsize=1)
def _signs() -> NDArray[np.float64]:
    """Returns the random signs, the same in every process: sketches may be stored."""
    generator = np.random.Generator(np.random.PCG64(20020901))
    return np.where(generator.random((_ROWS, BUCKETS)) < 0.5, -1.0, 1.0)  # noqa: PLR2004
