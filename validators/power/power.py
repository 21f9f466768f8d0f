"""Detection power: which faults, planted in an artifact that passes, would a verdict have seen?

Equality proves as much as the inputs exercise. So faults of the kit are planted in the weights, and
judged by the outputs and by the ledger, each without the other's help. A tensor whose corruption
changes no output is named: what it does is proved by its bytes alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ascend_migrate.pipeline import mindir_buckets
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome
from ascend_migrate.validators import calls
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.ledger import ledger
from ascend_migrate.validators.ledger.stored_weights import stored_weights
from ascend_migrate.validators.ledger.weights import Stored, Weight
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import limits, wide
from ascend_migrate.validators.power.faults import Fault, WeightFault
from ascend_migrate.validators.power.faults_weights import KINDS, STALE, WILD, weight_fault
from ascend_migrate.validators.power.planted import FLOATS, Plantation, Run
from ascend_migrate.validators.tolerances import NOISE_PEAK, NOISE_RMS

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


class Bench:
    """An ONNX artifact in which fault after fault is planted and judged.

    Args:
        artifact: it.
        truth: the original's answers.
        limits: of the runtime.

    Attributes:
        plants: runs it with faults.
        ledger: of its weights.
        cases: how many there are.

    Raises:
        CheckError: onnxruntime refuses the file.
        SourceError: a file is damaged.
    """

    def __init__(self, artifact: Artifact, truth: Golden, limits: Limits = DEFAULT_LIMITS) -> None:
        self.plants = Plantation(artifact, truth.weights, limits)
        self.ledger = Ledger(artifact, truth)
        self._truth = truth
        self.cases = len(truth.cases)

    def failures(self) -> list[Finding]:
        """Returns what fails without any fault: then nothing can be measured."""
        found = self.judged(self.answers(self.plants.sound()))
        return [*self.ledger.failures(), *_failures(found)]

    def answers(self, run: Run) -> list[Outputs | str]:
        """Returns the answer to each case, or why the runtime refused it."""
        return [_answer(run, case.feeds) for case in self._truth.cases]

    def judged(self, answers: list[Outputs | str]) -> list[Finding]:
        """Returns what the checks of a judgement say about answers, which are given once."""
        return calls.findings(Form.ONNX, self._truth, answers, answers)

    def in_outputs(self, answers: list[Outputs | str]) -> bool:
        """Whether the outputs alone would end in FAIL."""
        return bool(_failures(self.judged(answers)))

    def in_ledger(self, fault: Fault) -> bool:
        """Whether the weights alone would; a fault in the graph is in none."""
        return isinstance(fault, WeightFault) and self.ledger.shows(fault)

    def shows(self, run: Run, place: int) -> bool:
        """Whether the answer to one case is farther off than allowed; a quick lower bound.

        The checks that look at several cases or at parts of an output are left out.
        """
        case = self._truth.cases[place]
        answer = _answer(run, case.feeds)
        if isinstance(answer, str) or answer.keys() != case.own.keys():
            return True
        exact = case.exact or case.own
        return any(
            _is_off(case.own[name], exact[name], answer[name], allowed[place : place + 1])
            for name, allowed in self._allowed.items()
        )

    @cached_property
    def _allowed(self) -> Mapping[str, list[tuple[float, float]]]:
        """What may be off in each case: as a mean square, and at the worst element.

        By output; empty for integers, of which none may be.
        """
        found: dict[str, list[tuple[float, float]]] = {}
        for name, own in self._truth.cases[0].own.items():
            if own.dtype.kind in "biu":
                found[name] = []
                continue
            answers = [calls.given(c, name, c.own[name]) for c in self._truth.cases]
            both = (
                limits(Form.ONNX, answers, factor, self._truth.precision)
                for factor in (NOISE_RMS, NOISE_PEAK)
            )
            found[name] = list(zip(*both, strict=True))
        return found


class Ledger:
    """The ledger of one artifact, asked again and again.

    Args:
        artifact: it; its tensors are mapped once.
        truth: what its weights are compared with.

    Attributes:
        weights: the artifact's floating tensors that the source has, by name.
    """

    def __init__(self, artifact: Artifact, truth: Golden) -> None:
        self._form = artifact.form
        self._truth = truth
        self._stored = {item.name: item for item in stored_weights(artifact)}
        self.weights: dict[str, Array] = {
            name: item.array
            for name, item in self._stored.items()
            if name in truth.weights and item.dtype in FLOATS and item.array.size
        }

    def failures(self) -> list[Finding]:
        """Returns what fails without any fault."""
        return self._asked(self._truth.weights, self._stored.values())

    def shows(self, fault: WeightFault) -> bool:
        """Whether it fails with a fault in a weight."""
        source = {n: self._truth.weights[n] for n in fault.weights if n in self._truth.weights}
        # Under its own name a tensor is found or not, whatever the others are.
        alone = len(source) == len(fault.weights)
        names = source if alone else self._stored
        stored = (
            replace(self._stored[name], array=fault.weights.get(name, self._stored[name].array))
            for name in names
        )
        return bool(self._asked(source if alone else self._truth.weights, stored))

    def _asked(self, source: Mapping[str, Weight], stored: Iterable[Stored]) -> list[Finding]:
        if self._form is Form.SAFETENSORS:
            cast = self._truth.precision is not None
            return _failures(ledger.check_equal(self._form, source, stored, cast=cast))
        return _failures(ledger.check_ledger(self._form, source, stored))


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
    sound = bench.plants.sound()
    if not truth.cases or any(bench.shows(sound, place) for place in range(len(truth.cases))):
        return None
    faults = _drawn(bench.plants.weights)
    seen = known = 0
    dark: list[str] = []
    for index, fault in enumerate(faults):
        known += bench.in_ledger(fault)
        shown, exercised = _tried(bench, fault, index)
        seen += shown
        if not exercised:
            dark.append(fault.place)
    return Power(len(bench.plants.weights), len(faults), seen, known, tuple(dark))


def _of_bytes(artifact: Artifact, truth: Golden) -> Power | None:
    """Measures the ledger alone: a session of MindSpore for each fault would take seconds."""
    if mindir_buckets.is_index(artifact.path):
        return None
    books = Ledger(artifact, truth)
    faults = _drawn(books.weights)
    known = sum(books.shows(fault) for fault in faults)
    return Power(len(books.weights), len(faults), None, known, ())


def _drawn(weights: Mapping[str, Array]) -> list[WeightFault]:
    """Returns a fault for each weight, or for a seeded choice of them, in turn of all kinds."""
    order = np.random.default_rng(_SEED).permutation(len(weights))
    names = [list(weights)[i] for i in sorted(order[:MOST_FAULTS])]
    return [_fault_for(name, weights, index) for index, name in enumerate(names)]


def _fault_for(name: str, weights: Mapping[str, Array], index: int) -> WeightFault:
    """Returns a fault of the first kind that applies, from the one whose turn it is."""
    # Without the kinds that may show by what else they do; `selftest` has them all.
    kinds = [kind for kind in KINDS if kind != WILD]
    turn = index % len(kinds)
    for kind in (*kinds[turn:], *kinds[:turn]):
        fault = weight_fault(kind, name, weights, _SEED)
        if fault is not None:
            return fault
    raise AssertionError("random numbers change any tensor")


def _tried(bench: Bench, fault: WeightFault, index: int) -> tuple[bool, bool]:
    """Returns whether outputs show the fault, and whether they show any fault in that tensor."""
    run = bench.plants.spoiled(fault)
    if any(bench.shows(run, place) for place in _turns(bench.cases, index)):
        return True, True
    stale = weight_fault(STALE, fault.place, bench.plants.weights, _SEED)
    if stale is None:
        return False, False
    run = bench.plants.spoiled(stale)
    reaching = next((place for place in range(bench.cases) if bench.shows(run, place)), None)
    if reaching is None:
        return False, False
    return bench.shows(bench.plants.spoiled(fault), reaching), True


def _turns(count: int, index: int) -> Iterator[int]:
    """Yields the cases for a fault, others for the next one, so that all take part."""
    for step in range(min(_TRIES, count)):
        # The last ones are random, of all sizes; structured ones may be zero all over.
        yield (count - 1 - index - step * max(1, count // _TRIES)) % count


def _answer(run: Callable[[Feeds], Outputs], feeds: Feeds) -> Outputs | str:
    try:
        return run(feeds)
    except CheckError as error:
        return str(error)


def _is_off(own: Array, exact: Array, found: Array, allowed: Sequence[tuple[float, float]]) -> bool:
    """Whether one output is farther off than allowed, or of other sizes or type."""
    if found.shape != own.shape or found.dtype != own.dtype:
        return True
    if not allowed:
        return bool(np.any((own == exact.astype(own.dtype)) & (own != found)))
    pairs = zip(_gap(found, exact), allowed[0], strict=True)
    return not all(size <= most for size, most in pairs)


def _gap(one: Array, other: Array) -> tuple[float, float]:
    """Returns the difference as a mean square and at the worst; NaN where one is not finite."""
    a, b = wide(one), wide(other)
    with np.errstate(invalid="ignore"):
        gaps = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    if not gaps.size:
        return 0.0, 0.0
    return float(np.sqrt(np.mean(np.square(gaps)))), float(np.max(gaps))


def _failures(findings: list[Finding] | tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.outcome is not Outcome.PASS]
