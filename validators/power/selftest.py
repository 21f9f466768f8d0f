"""The judge judged: faults of every kind in one artifact, and who sees them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.records import Artifact, Finding, Form
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.original import NoExactTwinError
from ascend_migrate.validators.power.bench import Bench, Ledger
from ascend_migrate.validators.power.faults import Fault, GraphFault, WeightFault
from ascend_migrate.validators.power.faults_graph import graph_faults
from ascend_migrate.validators.power.faults_weights import KINDS, STALE, SWAPPED, WILD, weight_fault
from ascend_migrate.validators.power.strength import Strength
from ascend_migrate.validators.tolerances import NOISE_PEAK, NOISE_RMS

_SEED = 0

_IN_GRAPH = 4
"""One fault in so many is planted in the graph, where there is one."""

_MEASURED = 4
"""Cases on which a fault that nobody saw is measured: the last ones, which are random."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One planted fault.

    Attributes:
        kind: of the kit.
        place: tensor, or node by its first output.
        note: what is wrong with it.
        weight: whether it is in a weight.
        outputs: whether the outputs alone show it; None where they were not asked.
        ledger: whether the ledger alone does.
        missed: whether it ends in PASS although it changes the outputs by more than is allowed.
        why: what there is to say of a fault that ends in PASS.
    """

    kind: str
    place: str
    note: str
    weight: bool
    outputs: bool | None
    ledger: bool
    missed: bool = False
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as plain JSON data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Selftest:
    """What came of all of them.

    Attributes:
        failures: what fails without any fault; then nothing was planted.
        trials: one for each planted fault.
        not_exercised: weights that no fault in the outputs shows, nor random numbers in them.
    """

    failures: tuple[Finding, ...]
    trials: tuple[Trial, ...]
    not_exercised: tuple[str, ...]

    @property
    def missed(self) -> list[Trial]:
        """The faults that should have been seen."""
        return [trial for trial in self.trials if trial.missed]


def selftest(
    artifact: Artifact,
    truth: Golden,
    *,
    count: int,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Selftest:
    """Plants about ``count`` seeded faults, one after another; no file is changed.

    Graphs of ONNX are run with each fault in every case. Other forms are judged by their weights
    alone: a session of MindSpore takes seconds.

    Args:
        artifact: what is proved otherwise.
        truth: what it is judged against.
        count: of faults; at least one for each weight is planted.
        limits: of the runtime.
        progress: told how many of how many are done.

    Raises:
        CheckError: the runtime refuses the artifact.
        SourceError: a file is damaged.
    """
    if artifact.form is not Form.ONNX:
        books = Ledger(artifact, truth)
        wrong = books.failures()
        if wrong:
            return Selftest(tuple(wrong), (), ())
        faults = [*_in_weights(books.weights, count)]
        return Selftest((), tuple(_by_ledger(books, faults, progress)), ())
    bench = Bench(artifact, truth, limits)
    failures = bench.failures()
    if failures:
        return Selftest(tuple(failures), (), ())
    strength = Strength(artifact.path, truth.cases[-_MEASURED:])
    return _Planting(bench, strength, progress).all(count)


class _Planting:
    """Plants faults in one graph and judges each."""

    def __init__(
        self, bench: Bench, strength: Strength, progress: Callable[[int, int], None]
    ) -> None:
        self._bench = bench
        self._strength = strength
        self._progress = progress

    def all(self, count: int) -> Selftest:
        plants = self._bench.plants
        inside = [*_in_weights(plants.weights, count - count // _IN_GRAPH)]
        trials = []
        for done, fault in enumerate(inside):
            self._progress(done, count)
            trials.append(self._trial(fault, self._bench.answers(plants.spoiled(fault))))
        for trial in self._in_graph(count // _IN_GRAPH):
            trials.append(trial)
            self._progress(len(trials), count)
        # Those two may show without the tensor: by being infinite, and by the other tensor.
        telling = {trial for trial in trials if trial.kind not in (WILD, SWAPPED)}
        shown = {trial.place for trial in telling if trial.outputs}
        dark = [name for name in plants.weights if name not in shown and not self._stirs(name)]
        return Selftest((), tuple(trials), tuple(dark))

    def _in_graph(self, count: int) -> Iterator[Trial]:
        """Yields faults that run, of one kind after another."""
        plants = self._bench.plants
        kinds: dict[str, list[GraphFault]] = {}
        for fault in _shuffled([*graph_faults(plants.model, set(plants.weights))]):
            kinds.setdefault(fault.kind, []).append(fault)
        planted = 0
        while kinds and planted < count:
            for kind in list(kinds):
                answers = self._runs(kinds[kind].pop()) if kinds[kind] else None
                if not kinds[kind]:
                    del kinds[kind]
                if answers is not None and planted < count:
                    planted += 1
                    yield self._trial(*answers)

    def _runs(self, fault: GraphFault) -> tuple[Fault, list[Any]] | None:
        """Returns the fault and its answers; None where the graph does not run with it."""
        try:
            answers = self._bench.answers(self._bench.plants.spoiled(fault))
        except CheckError:
            return None
        return None if all(isinstance(a, str) for a in answers) else (fault, answers)

    def _trial(self, fault: Fault, answers: list[Any]) -> Trial:
        outputs, known = self._bench.in_outputs(answers), self._bench.in_ledger(fault)
        unseen = (False, "") if outputs or known else self._unseen(fault)
        weight = isinstance(fault, WeightFault)
        return Trial(fault.kind, fault.place, fault.note, weight, outputs, known, *unseen)

    def _unseen(self, fault: Fault) -> tuple[bool, str]:
        """Returns whether a fault that nobody saw should have been seen, and what it changes."""
        if isinstance(fault, WeightFault):
            return True, "neither the outputs nor the ledger show it"
        try:
            most = self._strength.of(fault)
        except (NoExactTwinError, CheckError) as error:
            return True, f"whether it matters is not known: {error}"
        if most == 0:
            return False, "changes nothing at all"
        said = f"changes the outputs by {most:.2g} times the original's noise"
        allowed = f"{NOISE_RMS.value:g} on the whole and {NOISE_PEAK.value:g} at the worst element"
        return not most <= NOISE_PEAK.value, f"{said}, where {allowed} are allowed"

    def _stirs(self, name: str) -> bool:
        """Whether random numbers in a weight show in any output."""
        fault = weight_fault(STALE, name, self._bench.plants.weights, _SEED)
        if fault is None:
            return False
        return self._bench.in_outputs(self._bench.answers(self._bench.plants.spoiled(fault)))


def _in_weights(weights: Any, count: int) -> Iterator[WeightFault]:
    """Yields faults of one kind after another in every weight, until there are enough."""
    kinds = [*KINDS, SWAPPED]
    planted = 0
    for turn in range(len(kinds)):
        for index, name in enumerate(weights):
            if turn and planted >= count:
                return
            fault = weight_fault(kinds[(turn + index) % len(kinds)], name, weights, _SEED)
            if fault is not None:
                planted += 1
                yield fault


def _by_ledger(
    books: Ledger,
    faults: Sequence[WeightFault],
    progress: Callable[[int, int], None],
) -> Iterator[Trial]:
    for done, fault in enumerate(faults):
        progress(done, len(faults))
        known = books.shows(fault)
        why = "" if known else "the ledger takes it for the right one"
        yield Trial(fault.kind, fault.place, fault.note, True, None, known, bool(why), why)


def _shuffled(faults: list[GraphFault]) -> list[GraphFault]:
    order = np.random.default_rng(_SEED).permutation(len(faults))
    return [faults[i] for i in order]
