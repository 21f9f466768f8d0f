"""Where an artifact that failed first differs from its original; never part of the verdict."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline.errors import CheckError, MigrationError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.printable import first_line, plain
from ascend_migrate.pipeline.records import ONNX_FORMS, Artifact, Form
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.golden import Golden, Recorded
from ascend_migrate.validators.localisation.alignment import Alignment, aligned
from ascend_migrate.validators.localisation.culprit import Culprit, Search, TimeUpError
from ascend_migrate.validators.localisation.fault_kinds import (
    REFUSED,
    RUNTIME,
    UNKNOWN,
    WEIGHT,
    kind_of,
    kind_of_sketches,
)
from ascend_migrate.validators.localisation.reproduction import write_reproduction
from ascend_migrate.validators.localisation.steps import StepError, Steps
from ascend_migrate.validators.localisation.witness import Testimony, Witness
from ascend_migrate.validators.original import NoTraceError, Outputs
from ascend_migrate.validators.runners import Runner, open_runner

SECONDS = 60.0
"""What a localisation may take: a FAIL is to be told soon, and what is known by then is told."""

POINTS = 64
"""Points of the curve of growth: what fits a line of a report."""

_FOLDER = "localisation"

_DULL = 1e-6
"""Weight of a case with constant inputs: there many tensors are equal that should not be."""


def localise(  # noqa: PLR0913 - what failed, what it is compared with, and for how long
    artifact: Artifact,
    truth: Golden,
    witness: Witness,
    weights: Mapping[str, str],
    into: Path | None,
    *,
    failed: Collection[str] = (),
    limits: Limits = DEFAULT_LIMITS,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Returns where an artifact first differs, as plain JSON data; raises nothing.

    Args:
        artifact: what failed; runs again.
        truth: the original's inputs and outputs.
        witness: tells the original's intermediates.
        weights: what the ledger says about each tensor that is wrong, by its name.
        into: folder for the reproduction, made if need be; None to write none.
        failed: outputs that a check refused which looks at parts of them: such a fault may be too
            small for the whole to show it.
        limits: of the runtime.
        seconds: after which what is known is told.

    Returns:
        ``case``, and if a place was found ``tensor``, ``node``, ``operator``, ``module`` (the
        source's, "" if not known), ``kind`` and ``why``, ``tried`` (a value of the original's was
        put in place of that tensor, and made right what comes after it; otherwise it is the first
        that differs, and no more is known), ``mended`` (the outputs become right as well),
        ``original`` (its counterpart there), ``curve`` (name and error of at most 64 tensors, in
        limits), ``reproduction`` (its folder in ``into``) and ``coarse`` (why it may be less exact
        than with the original at hand). Otherwise ``note`` says why not.
    """
    deadline = time.monotonic() + seconds
    about: dict[str, Any] = {}
    try:
        told = [(case, found) for case in truth.cases if (found := witness(case)) is not None]
        if not told:
            return about | {"note": _UNKNOWN_CASE}
        known = [case for case, _ in told]
        case = telling_case(known, _answers(artifact, known, limits))
        about["case"] = case.name
        testimony = next(found for known_case, found in told if known_case is case)
        with _opened(artifact, limits) as subject:
            place = _Place(artifact.form, subject, testimony, truth, case, deadline)
            return about | place.described(weights, into, failed)
    except TimeUpError:
        return about | {"note": f"not found within {seconds:g} s"}
    except (MigrationError, NoTraceError) as error:
        return about | {"note": plain(str(error))}
    except Exception as error:
        return about | {"note": f"localisation failed: {first_line(plain(repr(error)))}"}


class _Place:
    """One localisation."""

    def __init__(
        self,
        form: Form,
        subject: Steps,
        testimony: Testimony,
        truth: Golden,
        case: Recorded,
        deadline: float,
    ) -> None:
        self._form, self._subject, self._testimony = form, subject, testimony
        self._truth, self._case, self._deadline = truth, case, deadline

    def described(
        self, told_of: Mapping[str, str], into: Path | None, failed: Collection[str]
    ) -> dict[str, Any]:
        """Looks for the place, and says what is known of it."""
        case, coarse = self._case, self._testimony.coarse
        alignment = aligned(self._testimony.intermediates(), self._form, self._truth.precision)
        try:
            search = Search(
                self._subject,
                alignment,
                self._testimony.values,
                feeds=case.feeds,
                own=case.own,
                failed=failed,
                deadline=self._deadline,
            )
        except StepError as error:
            step = self._subject.steps[error.step]
            return self._step(error.step, step.outputs[0]) | {
                "module": plain(step.module),
                "kind": REFUSED,
                "why": plain(str(error)),
            }
        weights = {f"{prefix}{n}": why for n, why in told_of.items() for prefix in _PREFIX}
        found = search.find(weights)
        if search.outputs_right():
            return {"kind": RUNTIME, "note": _RUNTIME if not coarse else f"{_ELSEWHERE}; {coarse}"}
        if found is None or search.is_doubted(found.tensor):
            return {"kind": UNKNOWN, "note": _ALL_EQUAL}
        item = alignment.intermediates[found.number] if found.number >= 0 else None
        step = self._subject.steps[found.step]
        wrong, reads = self._values(search, found)
        told = [weights[n] for n in search.read_wrong(found.step, weights)]
        numbers = self._subject.numbers(found.step)
        if found.expected is not None:
            kind, why = kind_of(found.expected, wrong, told, numbers)
        elif item is not None:
            kind, why = kind_of_sketches(item.own, search.sketches[found.tensor], told, numbers)
        else:
            kind, why = (WEIGHT, "; ".join(told)) if told else (UNKNOWN, _WITHOUT)
        about = self._step(found.step, found.tensor) | {
            "module": plain(step.module or (item.module if item else "")),
            "original": plain(item.name) if item else "",
            "tried": found.expected is not None,
            "mended": found.mended,
            "kind": kind,
            "why": plain(why),
            "curve": _curve(search, found, alignment),
        }
        if coarse:
            about["coarse"] = coarse
        if into is not None:
            about |= self._reproduced(into, search, found, wrong, reads)
        return about

    def _step(self, number: int, tensor: str) -> dict[str, Any]:
        step = self._subject.steps[number]
        return {
            "tensor": plain(tensor),
            "node": plain(step.name),
            "operator": step.operator,
        }

    def _values(self, search: Search, found: Culprit) -> tuple[Array, Outputs]:
        """Returns the wrong tensor, and what the steps to it read, as the artifact computes it."""
        numbers = search.guilty(found)
        reads = {name for n in numbers for name in self._subject.steps[n].inputs}
        kept: Outputs = {n: a for n, a in self._case.feeds.items() if n in reads}

        def seen(name: str, array: Array) -> None:
            if name in reads or name == found.tensor:
                kept[name] = array.copy()

        self._subject.observe(self._case.feeds, seen, {})
        return kept[found.tensor], kept

    def _reproduced(
        self, into: Path, search: Search, found: Culprit, wrong: Array, reads: Outputs
    ) -> dict[str, Any]:
        """Writes the folder with the step alone."""
        if found.expected is None:
            return {}
        try:
            numbers = search.guilty(found)
            alone = self._subject.alone(numbers, reads)
            step = self._subject.steps[found.step]
            write_reproduction(
                into / _FOLDER / str(self._form),
                alone,
                about=f"{step.operator} {step.name}",
                tensor=found.tensor,
                found=wrong,
                expected=found.expected,
            )
        except (MigrationError, OSError) as error:
            return {"no_reproduction": plain(str(error))}
        return {"reproduction": f"{_FOLDER}/{self._form}"}


_WITHOUT = "no intermediate of the original is like it; what it reads is right"

_RUNTIME = (
    "run node by node, without the runtime's optimisations, the graph answers this case rightly: "
    "look at how the runtime fuses nodes, and at the other cases"
)

_ELSEWHERE = (
    "run node by node, the graph answers this case rightly: validate against the specification, "
    "where the original's intermediates in the other cases are at hand"
)

_ALL_EQUAL = (
    "every tensor equals one of the original's, and an output still differs, or does so in parts "
    "that are small beside the whole"
)

_UNKNOWN_CASE = "the intermediates of no case are known"

_PREFIX = ("", "main:")
"""What graphs put before the name of a weight: nothing, and MindIR that of its graph."""


def _curve(search: Search, found: Culprit, alignment: Alignment) -> list[list[Any]]:
    """Returns name and error, in limits, of at most `POINTS` tensors, the wrong one among them."""
    points: list[list[Any]] = []
    first = 0
    for name in search.in_order():
        item = search.sketches[name]
        if not item.floating or not item.size:
            continue
        if name in found.later:
            used = min(alignment.used(item, [n for n, _ in found.later[name]]))
        elif search.equal[name]:
            used = min(share for _, share in search.equal[name])
        else:
            continue
        if name == found.tensor:
            first = len(points)
        points.append([plain(name), float(f"{min(used, 1e9):.3g}")])
    if len(points) <= POINTS:
        return points
    chosen = {int(i) for i in np.linspace(0, len(points) - 1, POINTS - 1)} | {first}
    return [points[i] for i in sorted(chosen)]


def _answers(artifact: Artifact, cases: Sequence[Recorded], limits: Limits) -> list[Outputs | str]:
    """Returns the artifact's outputs in each case, or why it refused."""
    try:
        with open_runner(artifact, limits) as runner:
            return [_answer(runner, case) for case in cases]
    except CheckError as error:
        return [str(error)] * len(cases)


def _answer(runner: Runner, case: Recorded) -> Outputs | str:
    try:
        return runner.run(case.feeds)
    except CheckError as error:
        return str(error)


def telling_case(cases: Sequence[Recorded], answers: Sequence[Outputs | str]) -> Recorded:
    """Returns the case to look at: one that is refused, or where much is wrong and inputs vary."""
    ranked = []
    for index, (case, answer) in enumerate(zip(cases, answers, strict=True)):
        if isinstance(answer, str):
            return case
        varied = all(np.unique(array).size > 1 for array in case.feeds.values() if array.size > 1)
        ranked.append((_error(case, answer) * (1.0 if varied else _DULL), -index))
    return cases[-max(ranked)[1]]


def _error(case: Recorded, answer: Outputs) -> float:
    """Returns the largest relative error of the outputs; infinity where they cannot be compared."""
    worst = 0.0
    for name, own in case.own.items():
        found = answer.get(name)
        if found is None or found.shape != own.shape:
            return float("inf")
        with np.errstate(invalid="ignore"):
            error = np.abs(found.astype(np.complex128) - own.astype(np.complex128))
        scale = float(np.max(np.abs(own[np.isfinite(own)]), initial=0.0)) or 1.0
        largest = float(np.max(error, initial=0.0)) / scale
        worst = max(worst, largest if largest <= float("inf") else float("inf"))
    return worst


@contextmanager
def _opened(artifact: Artifact, limits: Limits) -> Iterator[Steps]:
    """Takes an artifact apart.

    Raises:
        MigrationError: it cannot be, or the runtime is missing.
    """
    if artifact.form in ONNX_FORMS:
        from ascend_migrate.validators.localisation.onnx_steps import OnnxSteps

        yield OnnxSteps(artifact.path, limits)
        return
    from ascend_migrate.validators.localisation.mindir_steps import MindirSteps

    with MindirSteps(artifact.path, limits) as steps:
        yield steps
