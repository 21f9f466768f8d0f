"""Which of the original's intermediates a wrong tensor may have had to be."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import numpy as np

from ascend_migrate.validators.localisation.alignment import Alignment
from ascend_migrate.validators.localisation.sketch import Sketch, distances

_TRIALS = 5
"""Counterparts named for one tensor; the right one is nearly always the first or the second."""

_OTHERS = 2
"""Counterparts of another size that are named after them."""

_FAR = 0.9
"""Relative distance from which on two tensors have nothing to do with each other."""


class Counterparts:
    """The original's intermediates that may be meant by what is wrong in an artifact.

    Args:
        alignment: the intermediates.
        claimed: numbers of those that a tensor of the artifact equals.
    """

    def __init__(self, alignment: Alignment, claimed: Collection[int]) -> None:
        self._alignment, self._claimed = alignment, claimed

    def of(self, found: Sketch, fed_by: Sequence[int]) -> list[int]:
        """Returns what a tensor may have to be: of its size, not yet found, after its inputs.

        Or what it reads: a step may have been put in that should do nothing.

        Args:
            found: the wrong tensor.
            fed_by: numbers of what the steps behind it read.

        Returns:
            Numbers, the likeliest first.
        """
        numbers = [
            n
            for n in self._alignment.of_size(found.size)
            if (n > max(fed_by, default=-1) and n not in self._claimed) or n in fed_by
        ]
        far = {n: self._far(found, n) for n in numbers}
        alike = sorted(numbers, key=lambda n: (far[n] >= _FAR, min(far[n], _FAR), n))[:_TRIALS]
        # A wrong axis makes another size: then it is what comes next in the original.
        return [*alike, *islice(self._after(fed_by, numbers), _OTHERS)]

    def likeliest(self, found: Sketch, fed_by: Sequence[int]) -> int:
        """Returns the first of those, if it is of the tensor's size; else -1."""
        items = self._alignment.intermediates
        return next((n for n in self.of(found, fed_by)[:1] if items[n].own.size == found.size), -1)

    def is_like(self, found: Sketch, number: int) -> bool:
        """Whether a tensor has anything to do with an intermediate."""
        return number >= 0 and self._far(found, number) < _FAR

    def _after(self, fed_by: Sequence[int], but: Collection[int]) -> Iterator[int]:
        items = self._alignment.intermediates
        for number in range(max(fed_by, default=-1) + 1, len(items)):
            own = items[number].own
            if number not in self._claimed and number not in but and own.floating and own.size > 1:
                yield number

    def _far(self, found: Sketch, number: int) -> float:
        own = self._alignment.intermediates[number].own
        if own.size != found.size or not own.scale:
            return np.inf
        return float(distances(found, own.sums)[0]) / own.scale
