"""Boxes that make up a tensor: the parts of sharded checkpoints, proved to fit without a gap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown

_MAX_LOOSE = 2048
"""Boxes that are compared pair by pair where they do not line up along one axis."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a tensor.

    Attributes:
        offsets: its first index on each axis.
        sizes: its sizes.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def volume(self) -> int:
        """Number of elements."""
        return math.prod(self.sizes)

    @property
    def ends(self) -> tuple[int, ...]:
        """The index after its last one on each axis."""
        return tuple(o + s for o, s in zip(self.offsets, self.sizes, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Its place as an index of the whole tensor."""
        return tuple(map(slice, self.offsets, self.ends))


def check_cover(name: str, shape: tuple[int, ...], boxes: Sequence[Box]) -> None:
    """Proves that the boxes make up a tensor of ``shape``, each element exactly once.

    Raises:
        FormatError: they do not; ``name`` is the tensor's.
    """
    said = f"tensor {shown(name)}"
    for box in boxes:
        if len(box.offsets) != len(shape) or len(box.sizes) != len(shape):
            raise FormatError(f"{said} has a part of another rank; damaged")
        if any(end > size for end, size in zip(box.ends, shape, strict=True)):
            raise FormatError(f"{said} has a part that reaches out of it; damaged")
    if not boxes or sum(box.volume for box in boxes) != math.prod(shape):
        raise FormatError(f"{said} is not covered by its parts exactly once; get a complete copy")
    # Equal volumes and no overlap leave no gap.
    if _overlap(shape, boxes):
        raise FormatError(f"{said} has parts that overlap; damaged")


def _overlap(shape: tuple[int, ...], boxes: Sequence[Box]) -> bool:
    split = [axis for axis, size in enumerate(shape) if any(b.sizes[axis] != size for b in boxes)]
    if len(split) <= 1:
        spans = sorted((b.offsets[a], b.sizes[a]) for b in boxes for a in split)
        return any(start + size > following for (start, size), (following, _) in pairwise(spans))
    if len(boxes) > _MAX_LOOSE:
        raise FormatError(f"has a tensor of {len(boxes)} scattered parts; more than {_MAX_LOOSE}")
    return any(_meet(a, b) for a, b in combinations(boxes, 2))


def _meet(a: Box, b: Box) -> bool:
    return all(
        max(p, q) < min(p + m, q + n)
        for p, m, q, n in zip(a.offsets, a.sizes, b.offsets, b.sizes, strict=True)
    )
