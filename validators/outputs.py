"""Comparing one output over all cases with the original and its float64 twin.

Every comparison is spelled so that NaN fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.tolerances import (
    FLIPS,
    NOISE_PEAK,
    NOISE_RMS,
    SHARE_UNIT,
    UNDECIDED,
    Limit,
    allowed,
    floor_of,
)

CLOSE = "outputs.close"
PEAK = "outputs.peak"

Wide = NDArray[np.float64]
Metric = Callable[[Wide], float]
"""The size of a difference, or of an output."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One output of one case.

    Attributes:
        case: its name.
        own: what the original returned, in its own precision.
        exact: what its float64 twin returned; ``own`` where there is none.
        found: what the artifact returned; of the same sizes.
        low: what the original returned with the rounding of a policy; None without one.
    """

    case: str
    own: Array
    exact: Array
    found: Array
    low: Array | None = None


@dataclass(frozen=True, slots=True)
class Units:
    """What limits are counted in.

    Attributes:
        epsilon: unit roundoff of the type that is computed in.
        floor: of the runtime.
        noise: what the noise is, for a reader.
    """

    epsilon: float
    floor: Limit
    noise: str

    @classmethod
    def of(cls, form: Form, own: Array, precision: Precision | None) -> "Units":
        """Returns the units of a form for outputs of the type of ``own``, under a policy."""
        epsilon = BY_NAME[own.dtype.name].epsilon
        if epsilon is None:
            raise TypeError(f"{own.dtype} is no floating type")
        if precision is None:
            return cls(epsilon, floor_of(form, own.dtype.name), "the original's own noise")
        epsilon = max(epsilon, precision.epsilon)
        floor = floor_of(form, precision.dtype)
        return cls(epsilon, floor, f"the original's noise in {precision.dtype}")


@dataclass(frozen=True, slots=True)
class _Distances:
    """What one metric says about one case.

    Attributes:
        case: its name.
        noise: from the original to its twin.
        found: from the artifact to the twin.
        scale: size of the twin's output.
        share: whether all of it is between 0 and 1.
    """

    case: str
    noise: float
    found: float
    scale: float
    share: bool


def compare(
    form: Form, output: str, answers: Sequence[Answer], precision: Precision | None = None
) -> list[Finding]:
    """Returns what the answers to all cases say about one output.

    Args:
        form: of the artifact.
        output: its name.
        answers: one for each case.
        precision: the policy of a lower precision, if the artifact is under one.
    """
    if answers[0].own.dtype.kind in "biu":
        return [_discrete(form, output, answers)]
    strange = _nonfinite(answers)
    if strange:
        return [Finding(CLOSE, form, output, Outcome.FAIL, note=strange)]
    means = [_distances(answer, mean_square) for answer in answers]
    peaks = [_distances(answer, largest) for answer in answers]
    units = Units.of(form, answers[0].own, precision)
    return [
        _verdict(CLOSE, form, output, means, NOISE_RMS, units),
        _verdict(PEAK, form, output, peaks, NOISE_PEAK, units),
    ]


def limits(
    form: Form, answers: Sequence[Answer], factor: Limit, precision: Precision | None = None
) -> list[float]:
    """Returns the largest distance that passes in each case, relative to nothing.

    Args:
        form: of the artifact.
        answers: the original's, for each case; what was found does not count.
        factor: `NOISE_RMS` or `NOISE_PEAK`.
        precision: the policy of a lower precision, if the artifact is under one.
    """
    metric = largest if factor is NOISE_PEAK else mean_square
    found = [_distances(answer, metric) for answer in answers]
    return _limits(found, factor, Units.of(form, answers[0].own, precision))


def _limits(distances: Sequence[_Distances], factor: Limit, units: Units) -> list[float]:
    """Judges each case by its own noise or the usual one, absolute or relative: the largest.

    One case alone may round luckily, and a saturated one is nearly constant. Rounding follows the
    size of what is computed on the way, which is the same in all cases, not that of the result: a
    kernel for the sigmoid is as inexact near 0 as near 1. The median over the cases is what the
    model usually does, and unlike the largest it is not set by one odd case.
    """
    usual_scale = float(np.median([d.scale for d in distances]))
    usual_noise = float(np.median([d.noise for d in distances]))
    relative = [d.noise / d.scale for d in distances if d.scale > 0]
    usual_share = float(np.median(relative)) if relative else 0.0
    # What is a share of 1 in every case may come from a kernel that is exact to units of 1.
    least = SHARE_UNIT.value if all(d.share for d in distances) else 0.0
    return [
        max(
            allowed(
                max(d.noise, usual_noise, usual_share * d.scale),
                max(d.scale, usual_scale),
                units.epsilon,
                factor,
                units.floor,
            ),
            allowed(0.0, least, units.epsilon, factor, units.floor),
        )
        for d in distances
    ]


def _verdict(
    check: str,
    form: Form,
    output: str,
    distances: Sequence[_Distances],
    factor: Limit,
    units: Units,
) -> Finding:
    """Returns the case that used most of its limit, relative to the size of that output."""
    worst: Finding | None = None
    most = -1.0
    for item, limit in zip(distances, _limits(distances, factor, units), strict=True):
        passed = bool(np.isfinite(item.found)) and item.found <= limit
        if limit and np.isfinite(item.found):
            used = item.found / limit
        else:
            used = 0.0 if passed else np.inf
        if worst is not None and (not used > most) and passed:
            continue
        scale = item.scale or 1.0
        note = (
            f"worst of {len(distances)} cases: {item.case}; {units.noise} there is "
            f"{item.noise / scale:.2g}"
        )
        outcome = Outcome.PASS if passed else Outcome.FAIL
        if worst is None or used > most:
            most = used
            worst = Finding(check, form, output, outcome, item.found / scale, limit / scale, note)
    if worst is None:
        return Finding(check, form, output, Outcome.FAIL, note="no case was compared")
    return worst


def _distances(answer: Answer, metric: Metric) -> _Distances:
    own, low, exact, found = filled(answer)
    kept = np.isfinite(own) & np.isfinite(found)
    own, low, exact, found = (array[kept] for array in (own, low, exact, found))
    noise = max(metric(own - exact), metric(low - exact))
    share = bool(np.all((exact >= 0) & (exact <= 1)))
    return _Distances(answer.case, noise, metric(found - exact), metric(exact), share)


def filled(answer: Answer) -> tuple[Wide, Wide, Wide, Wide]:
    """Returns what the original, the policy, the twin and the artifact say, as float64.

    Where only the original is finite, it stands in for the twin and for the policy: no element
    that it answers goes uncompared, and no noise excuses the artifact there.
    """
    own, exact, found = (wide(array) for array in (answer.own, answer.exact, answer.found))
    low = own if answer.low is None else wide(answer.low)
    exact, low = (np.where(np.isfinite(array), array, own) for array in (exact, low))
    return own, low, exact, found


def distance(one: Array, other: Array) -> float:
    """Returns the largest difference of two answers; NaN where only one of them is finite.

    Of integers and bools it is the number of elements that differ, at any size of theirs.
    """
    if one.shape != other.shape:
        return float("nan")
    if one.dtype.kind in "biu":
        return float(np.count_nonzero(one != other))
    a, b = wide(one), wide(other)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return float(np.max(np.where(same, 0.0, gaps), initial=0.0))


def wide(array: Array) -> Wide:
    """Returns the array as float64, itself if it is; a complex number as two reals."""
    if array.dtype.kind == "c":
        array = np.ascontiguousarray(array).astype(np.complex128).view(np.float64)
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a NaN
        return array.astype(np.float64, copy=False)


def mean_square(array: Wide) -> float:
    """Returns the root mean square; 0 of nothing."""
    # Relative to the largest, because the square of a float64 may be infinite, or nothing.
    most = largest(array)
    return most * float(np.sqrt(np.mean(np.square(array / most)))) if most else 0.0


def largest(array: Wide) -> float:
    """Returns the largest size of an element; 0 of nothing."""
    return float(np.max(np.abs(array))) if array.size else 0.0


def _nonfinite(answers: Sequence[Answer]) -> str:
    """Says where NaN and infinities are not those of the original, or that nothing is left."""
    compared = 0
    for answer in answers:
        own, found = wide(answer.own), wide(answer.found)
        for name, test in (("NaN", np.isnan), ("+Inf", np.isposinf), ("-Inf", np.isneginf)):
            differing = int(np.count_nonzero(test(own) != test(found)))
            if differing:
                return (
                    f"case {answer.case}: {differing} of {own.size} elements are {name} on one "
                    "side only"
                )
        compared += int(np.count_nonzero(np.isfinite(own)))
    return "" if compared else "not one finite element was compared"


def _discrete(form: Form, output: str, answers: Sequence[Answer]) -> Finding:
    """Integers and bools are equal wherever the original and its twin agree on them.

    Under a policy of a lower precision some may differ, as many as its rounding explains.
    """
    wrong = undecided = compared = flipped = 0
    where = ""
    for answer in answers:
        decided = answer.own == answer.exact.astype(answer.own.dtype)
        undecided += int(np.count_nonzero(~decided))
        compared += int(np.count_nonzero(decided))
        bad = int(np.count_nonzero(decided & (answer.found != answer.own)))
        where = where or (answer.case if bad else "")
        wrong += bad
        if answer.low is not None:
            flipped += int(np.count_nonzero(decided & (answer.low != answer.own)))
    note = f"{wrong} of {compared} elements differ"
    note += f", first in case {where}" if where else ""
    enough = compared > 0 and compared >= UNDECIDED.value * (compared + undecided)
    if undecided:
        note += f"; {undecided} that rounding decides were left out"
        note += "" if enough else ", too much of the output to call the rest a proof"
    note += f"; the policy's rounding changes {flipped} in the original" if flipped else ""
    outcome = Outcome.PASS if wrong <= FLIPS.value * flipped and enough else Outcome.FAIL
    share = wrong / compared if compared else None
    limit = FLIPS.value * flipped / compared if compared else 0.0
    return Finding(CLOSE, form, output, outcome, share, limit, note)
