"""Who tells what an original computes on its way: the original itself, or its golden file."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.golden import Recorded
from ascend_migrate.validators.localisation.alignment import Intermediate, intermediates
from ascend_migrate.validators.localisation.on_record import OnRecord
from ascend_migrate.validators.original import Original, Traced


class Testimony(Protocol):
    """What is known of the original's intermediates in one case."""

    @property
    def coarse(self) -> str:
        """Says why that is less than all; empty where the original itself tells."""

    def intermediates(self) -> Sequence[Intermediate]:
        """Returns them in the order in which they are computed.

        Raises:
            NoTraceError: the original shows none.
            ModelError: it fails.
        """

    def values(self, names: Collection[str]) -> Mapping[str, Array]:
        """Returns the values of those of ``names`` that are known whole."""


Witness = Callable[[Recorded], Testimony | None]
"""Tells what is known of a case; None where that is nothing."""


def at_hand(original: Original, precision: Precision | None = None) -> Witness:
    """Returns the original itself as a witness, under the policy of the artifact; runs again."""
    return lambda case: _Called(original, case, precision)


def on_record(record: OnRecord) -> Witness:
    """Returns what a golden file holds as a witness."""
    return lambda case: record if case.name == record.case else None


@dataclass(frozen=True, slots=True)
class _Called:
    original: Original
    case: Recorded
    precision: Precision | None
    coarse: str = ""

    def intermediates(self) -> Sequence[Intermediate]:
        return intermediates(self.original, self.case.feeds, self.precision)

    def values(self, names: Collection[str]) -> Mapping[str, Array]:
        found: dict[str, Array] = {}

        def visit(item: Traced) -> None:
            if item.name in names:
                found[item.name] = item.array.copy()

        if names:
            self.original.trace(self.case.feeds, visit)
        return found
