"""An artifact in which faults are planted, each judged by the outputs and by the ledger."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.records import GRAPH_FORMS, Artifact, Finding, Form, Outcome
from ascend_migrate.validators import calls
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.ledger import ledger
from ascend_migrate.validators.ledger.stored_weights import stored_weights
from ascend_migrate.validators.ledger.weights import Stored, Weight
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import limits, wide
from ascend_migrate.validators.power.faults import Fault, WeightFault
from ascend_migrate.validators.power.planted import FLOATS, Plantation, Run
from ascend_migrate.validators.tolerances import NOISE_PEAK, NOISE_RMS


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
        sizes: the elements that each is fed, as a measure of what it costs.

    Raises:
        CheckError: onnxruntime refuses the file.
        SourceError: a file is damaged.
    """

    def __init__(self, artifact: Artifact, truth: Golden, limits: Limits = DEFAULT_LIMITS) -> None:
        self.plants = Plantation(artifact, truth.weights, limits)
        self.ledger = Ledger(artifact, truth)
        self._truth = truth
        self.cases = len(truth.cases)
        self.sizes = [sum(a.size for a in case.feeds.values()) for case in truth.cases]

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
        if self._form not in GRAPH_FORMS:
            cast = self._truth.precision is not None
            return _failures(ledger.check_equal(self._form, source, stored, cast=cast))
        return _failures(ledger.check_ledger(self._form, source, stored))


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
    if not a.size:
        return 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = np.abs(a - b)
        largest = float(np.max(gaps))
        if not np.isfinite(largest):
            gaps = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, gaps)
            largest = float(np.max(gaps))
        return float(np.sqrt(np.mean(np.square(gaps)))), largest


def _failures(findings: list[Finding] | tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.outcome is not Outcome.PASS]
