"""Inputs for weights that the judged ones leave dark: found in the artifact, not in the original.

A tensor is dark where random numbers in its place change no output. All dark tensors are spoiled at
once, and cases that wander through the declared ranges are fed to the artifact with and without: a
case whose answers differ reaches some of them. It takes an original to say what is right there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators import calls
from ascend_migrate.validators.cases import Array, Case, wandering_cases
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import largest, limits, wide
from ascend_migrate.validators.power.faults import together
from ascend_migrate.validators.power.faults_weights import STALE, weight_fault
from ascend_migrate.validators.power.planted import Plantation, Run
from ascend_migrate.validators.tolerances import NOISE_PEAK

TRIES = 64
"""Cases that are tried: with two runs for each, some three times what judging itself takes. Only a
model with dark weights pays for it."""

MOST_FOUND = 4
"""Cases that are kept; the original answers each of them three times."""

_SEED = 2


@dataclass(frozen=True, slots=True)
class Reached:
    """A case that shows what no judged case does.

    Attributes:
        case: what to feed.
        weights: names of the tensors that it reaches, of those that were dark.
    """

    case: Case
    weights: tuple[str, ...]


def reach(
    artifact: Artifact,
    truth: Golden,
    dark: Sequence[str],
    inputs: Sequence[InputSpec],
    bounds: Limits = DEFAULT_LIMITS,
) -> list[Reached]:
    """Searches for cases that reach dark weights of an ONNX artifact; same arguments, same cases.

    Args:
        artifact: it; it has passed.
        truth: the original's answers, for how far off an answer may be.
        dark: names of its weights that no case of ``truth`` exercises.
        inputs: what the model is fed.
        bounds: of the runtime.

    Returns:
        At most `MOST_FOUND` cases, each with weights that those before it do not reach.

    Raises:
        CheckError: onnxruntime refuses the file.
        SourceError: a file is damaged.
    """
    plants = Plantation(artifact, truth.weights, bounds)
    stale = {name: weight_fault(STALE, name, plants.weights, _SEED) for name in dark}
    left = {name: fault for name, fault in stale.items() if fault is not None}
    allowed = _allowed(truth)
    found: list[Reached] = []
    sound = plants.sound()
    for case in islice(wandering_cases(inputs, seed=_SEED), TRIES):
        if not left or len(found) == MOST_FOUND:
            break
        right, run = _answer(sound, case), plants.spoiled(together(left.values()))
        if right is None or not _differs(run, case, right, allowed):
            continue
        new = [n for n, f in left.items() if _differs(plants.spoiled(f), case, right, allowed)]
        if new:
            found.append(Reached(case, tuple(new)))
            left = {name: fault for name, fault in left.items() if name not in new}
    return found


def _allowed(truth: Golden) -> dict[str, float]:
    """Returns by output what may be off, over its largest element; nothing may for integers.

    No judged case allows more: a bias that a softmax takes away again changes an output by less.
    """
    found: dict[str, float] = {}
    for name, own in truth.cases[0].own.items():
        if own.dtype.kind in "biu":
            continue
        answers = [calls.given(case, name, case.own[name]) for case in truth.cases]
        allowed = limits(Form.ONNX, answers, NOISE_PEAK, truth.precision)
        scales = [largest(wide(answer.exact)) for answer in answers]
        found[name] = max(
            (most / scale for most, scale in zip(allowed, scales, strict=True) if scale > 0),
            default=0.0,
        )
    return found


def _differs(run: Run, case: Case, right: Outputs, allowed: Mapping[str, float]) -> bool:
    wrong = _answer(run, case)
    if wrong is None or wrong.keys() != right.keys():
        return True
    return any(
        wrong[name].shape != array.shape
        or not _off(wide(wrong[name]), wide(array)) <= allowed.get(name, 0.0)
        for name, array in right.items()
    )


def _off(found: Array, right: Array) -> float:
    """Returns the largest difference over the largest size; NaN where only one is finite."""
    with np.errstate(invalid="ignore"):
        gaps = np.where((found == right) | (np.isnan(found) & np.isnan(right)), 0.0, found - right)
    most = largest(gaps)
    return most / (largest(right[np.isfinite(right)]) or 1.0) if most else 0.0


def _answer(run: Run, case: Case) -> Outputs | None:
    try:
        return run(case.feeds)
    except CheckError:
        return None
