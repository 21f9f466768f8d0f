"""Where an artifact that failed first differs from its original; never part of the verdict."""

import time
from collections.abc import Iterator, Mapping, Sequence
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
)
from ascend_migrate.validators.localisation.reproduction import write_reproduction
from ascend_migrate.validators.localisation.steps import StepError, Steps
from ascend_migrate.validators.original import NoTraceError, Original, Outputs
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
    original: Original,
    weights: Mapping[str, str],
    into: Path | None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Returns where an artifact first differs, as plain JSON data; raises nothing.

    Args:
        artifact: what failed; runs again.
        truth: the original's inputs and outputs.
        original: runs again, and shows its intermediates.
        weights: what the ledger says about each tensor that is wrong, by its name.
        into: folder for the reproduction, made if need be; None to write none.
        limits: of the runtime.
        seconds: after which what is known is told.

    Returns:
        ``case``, and if a place was found ``tensor``, ``node``, ``operator``, ``module`` (the
        source's, "" if not known), ``kind`` and ``why``, ``mended`` (the outputs become right
        with the original's value in place of that tensor), ``original`` (its counterpart there),
        ``curve`` (name and error of at most 64 tensors, in limits) and ``reproduction``
        (its folder in ``into``). Otherwise ``note`` says why not.
    """
    deadline = time.monotonic() + seconds
    about: dict[str, Any] = {}
    try:
        case = telling_case(truth.cases, _answers(artifact, truth, limits))
        about["case"] = case.name
        with _opened(artifact, limits) as subject:
            place = _Place(artifact.form, subject, original, truth, case, deadline)
            return about | place.described(weights, into)
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
        original: Original,
        truth: Golden,
        case: Recorded,
        deadline: float,
    ) -> None:
        self._form, self._subject, self._original = form, subject, original
        self._truth, self._case, self._deadline = truth, case, deadline

    def described(self, told_of: Mapping[str, str], into: Path | None) -> dict[str, Any]:
        """Looks for the place, and says what is known of it."""
        case = self._case
        alignment = aligned(self._original, case.feeds, self._form, self._truth.precision)
        try:
            search = Search(
                self._subject,
                alignment,
                self._original,
                feeds=case.feeds,
                own=case.own,
                deadline=self._deadline,
            )
        except StepError as error:
            step = self._subject.steps[error.step]
            return self._step(error.step, step.outputs[0]) | {
                "module": step.module,
                "kind": REFUSED,
                "why": plain(str(error)),
            }
        weights = {f"{prefix}{n}": why for n, why in told_of.items() for prefix in _PREFIX}
        found = search.find(weights)
        if found is None or search.outputs_right():
            kind = RUNTIME if search.outputs_right() else UNKNOWN
            return {"kind": kind, "note": _NOTES[kind]}
        item = alignment.intermediates[found.number] if found.number >= 0 else None
        step = self._subject.steps[found.step]
        wrong, reads = self._values(search, found)
        told = [weights[n] for n in search.read_wrong(found.step, weights)]
        if found.expected is None:
            kind, why = (WEIGHT, "; ".join(told)) if told else (UNKNOWN, _WITHOUT)
        else:
            kind, why = kind_of(found.expected, wrong, told, self._subject.numbers(found.step))
        about = self._step(found.step, found.tensor) | {
            "module": step.module or (item.module if item else ""),
            "original": item.name if item else "",
            "mended": found.mended,
            "kind": kind,
            "why": plain(why),
            "curve": _curve(search, found, alignment),
        }
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

_NOTES = {
    RUNTIME: "run node by node, without the runtime's optimisations, the graph answers this case "
    "rightly: look at how the runtime fuses nodes, and at the other cases",
    UNKNOWN: "every tensor equals one of the original's, and an output still differs",
}

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


def _answers(artifact: Artifact, truth: Golden, limits: Limits) -> list[Outputs | str]:
    """Returns the artifact's outputs in each case, or why it refused."""
    try:
        with open_runner(artifact, limits) as runner:
            return [_answer(runner, case) for case in truth.cases]
    except CheckError as error:
        return [str(error)] * len(truth.cases)


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
