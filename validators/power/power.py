"""Detection power: which faults, planted in an artifact that passes, would a verdict have seen?

Equality proves as much as the inputs exercise. So faults of the kit are planted in the weights, and
judged by the outputs and by the ledger, each without the other's help. A tensor whose corruption
changes no output is named: what it does is proved by its bytes alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ascend_migrate.pipeline import mindir_buckets
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.power.bench import Bench, Ledger
from ascend_migrate.validators.power.faults import WeightFault, together
from ascend_migrate.validators.power.faults_weights import KINDS, STALE, WILD, wrong_tensor

MOST_FAULTS = 48
"""Faults planted for a verdict: with a run for each, about what judging itself takes, which asks
some twenty cases twice. ``ascend-migrate selftest`` plants as many as one likes."""

MOST_BYTES = 1 << 30
"""Artifacts above it are measured by `selftest` alone: they would have to be loaded once more."""

_TRIES = 4
"""Cases that are tried with a fault. Before a tensor is called dark, all of them are, with another
number in every element."""

_SEED = 0


@dataclass(frozen=True, slots=True)
class Power:
    """What came of the faults that were planted for a verdict, one in a tensor.

    Attributes:
        weights: floating tensors in the artifact.
        planted: tensors in which a fault was planted.
        outputs: of these, how many the outputs show; None where they were not asked.
        ledger: of these, how many the ledger shows.
        not_exercised: tensors whose corruption no output shows, whatever is in them.
    """

    weights: int
    planted: int
    outputs: int | None
    ledger: int
    not_exercised: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as plain JSON data."""
        return {
            "weights": self.weights,
            "planted": self.planted,
            "outputs": self.outputs,
            "ledger": self.ledger,
            "not_exercised": list(self.not_exercised),
        }


class Search:
    """Looks for the cases that show faults: first in what costs least to run.

    Args:
        bench: where they are planted.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._telling: set[int] = set()

    def place(self, fault: WeightFault, places: Iterable[int]) -> int | None:
        """Returns one of these cases that shows the fault; None where none does."""
        run, turn = self._bench.plants.spoiled(fault), self._cheapest(places)
        found = next((place for place in turn if self._bench.shows(run, place)), None)
        if found is not None:
            self._telling.add(found)
        return found

    def reached(self, names: Iterable[str]) -> dict[str, int]:
        """Returns a case for each tensor that shows in any case with random numbers in it.

        All of them are spoiled at once first: only a case that shows this is tried with each.
        """
        weights, plants = self._bench.plants.weights, self._bench.plants
        left = {name: fault for name in names if (fault := _fault(STALE, name, weights))}
        found: dict[str, int] = {}
        for place in self._cheapest(range(self._bench.cases)):
            if not left or not self._bench.shows(plants.spoiled(together(left.values())), place):
                continue
            new = [n for n, f in left.items() if self._bench.shows(plants.spoiled(f), place)]
            found |= dict.fromkeys(new, place)
            left = {name: fault for name, fault in left.items() if name not in found}
        self._telling.update(found.values())
        return found

    def is_sound(self) -> bool:
        """Whether the cases that showed a fault show nothing without one."""
        run = self._bench.plants.sound()
        return not any(self._bench.shows(run, place) for place in self._telling)

    def _cheapest(self, places: Iterable[int]) -> list[int]:
        """Returns them in order; of two alike, what has to be run without a fault anyway."""
        sizes = self._bench.sizes
        return sorted(places, key=lambda place: (sizes[place], place not in self._telling))


def measure(artifact: Artifact, truth: Golden, limits: Limits = DEFAULT_LIMITS) -> Power | None:
    """Plants a fault in one weight after another of an artifact that passed.

    Every kind of fault in turn, in a seeded choice of the tensors where they are many; same
    arguments, same result.

    Returns:
        What the verdict would have seen; None where nothing can be said.
    """
    if sum(file.size for file in artifact.files) > MOST_BYTES:
        return None
    if artifact.form is not Form.ONNX:
        return _of_bytes(artifact, truth)
    try:
        bench = Bench(artifact, truth, limits)
    except CheckError:
        return None
    if not truth.cases:
        return None
    search, quiet, planted = Search(bench), list[WeightFault](), 0
    seen = known = 0
    for index, fault in enumerate(_drawn(bench.plants.weights)):
        planted += 1
        known += bench.in_ledger(fault)
        if search.place(fault, _turns(bench.cases, index)) is None:
            quiet.append(fault)
        else:
            seen += 1
    reached = search.reached([fault.place for fault in quiet])
    seen += sum(
        bench.shows(bench.plants.spoiled(fault), reached[fault.place])
        for fault in quiet
        if fault.place in reached
    )
    if not search.is_sound():
        return None
    dark = tuple(fault.place for fault in quiet if fault.place not in reached)
    return Power(len(bench.plants.weights), planted, seen, known, dark)


def _of_bytes(artifact: Artifact, truth: Golden) -> Power | None:
    """Measures the ledger alone: a session of MindSpore for each fault would take seconds."""
    if artifact.form is Form.OM or mindir_buckets.is_index(artifact.path):
        return None
    books = Ledger(artifact, truth)
    known = [books.shows(fault) for fault in _drawn(books.weights)]
    return Power(len(books.weights), len(known), None, sum(known), ())


def _drawn(weights: Mapping[str, Array]) -> Iterator[WeightFault]:
    """Yields a fault for each weight, or for a seeded choice of them, in turn of all kinds."""
    order = np.random.default_rng(_SEED).permutation(len(weights))
    names = [list(weights)[i] for i in sorted(order[:MOST_FAULTS])]
    return (_fault_for(name, weights, index) for index, name in enumerate(names))


def _fault_for(name: str, weights: Mapping[str, Array], index: int) -> WeightFault:
    """Returns a fault of the first kind that applies, from the one whose turn it is."""
    # Without the kinds that may show by what else they do; `selftest` has them all.
    kinds = [kind for kind in KINDS if kind != WILD]
    turn = index % len(kinds)
    for kind in (*kinds[turn:], *kinds[:turn]):
        fault = _fault(kind, name, weights)
        if fault is not None:
            return fault
    raise AssertionError("random numbers change any tensor")


def _fault(kind: str, name: str, weights: Mapping[str, Array]) -> WeightFault | None:
    # Without how much it changes, which nobody reads here, and which takes as long as the fault.
    wrong = wrong_tensor(kind, name, weights[name], _SEED)
    return None if wrong is None else WeightFault(kind, name, {name: wrong}, kind)


def _turns(count: int, index: int) -> Iterator[int]:
    """Yields the cases for a fault, others for the next one, so that all take part."""
    for step in range(min(_TRIES, count)):
        # The last ones are random, of all sizes; structured ones may be zero all over.
        yield (count - 1 - index - step * max(1, count // _TRIES)) % count
