"""Whether a simulated model would pass, by the limits of the judgement, and how near it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import Answer, compare
from ascend_migrate.validators.tolerances import FLOOR, NOISE_RMS, allowed


@dataclass(frozen=True, slots=True)
class Truth:
    """What the model returns in one case.

    Attributes:
        case: its name.
        own: outputs in float32.
        exact: outputs in float64.
    """

    case: str
    own: Outputs
    exact: Outputs


def findings(truth: Sequence[Truth], found: Sequence[Outputs], number: Precision) -> list[Finding]:
    """Returns what the judgement says of outputs whose noise is what was simulated.

    Args:
        truth: of each case.
        found: what the simulation returned in each case.
        number: the lower type.
    """
    return [
        finding
        for name in truth[0].own
        for finding in compare(
            Form.ONNX,
            name,
            [
                Answer(item.case, item.own[name], item.exact[name], made[name], made[name])
                for item, made in zip(truth, found, strict=True)
            ],
            number,
        )
    ]


def passes(truth: Sequence[Truth], found: Sequence[Outputs], number: Precision) -> bool:
    """Whether every finding passes."""
    return all(f.outcome is Outcome.PASS for f in findings(truth, found, number))


def strain(truth: Sequence[Truth], found: Sequence[Outputs], number: Precision) -> float:
    """Returns how much of the most that any noise allows the worst output uses; above 1 it fails.

    Distances as a root mean square, of integers the share that differs. Infinite where a number
    became none. Only for putting nodes in an order: `passes` decides.
    """
    shares = [0.0]
    for name, own in truth[0].own.items():
        if own.dtype.kind in "biu":
            shares += [
                float(np.mean(item.own[name] != made[name])) if item.own[name].size else 0.0
                for item, made in zip(truth, found, strict=True)
            ]
            continue
        scales = [_mean_square(item.exact[name]) for item in truth]
        usual = float(np.median(scales))
        for item, made, scale in zip(truth, found, scales, strict=True):
            limit = allowed(math.inf, max(scale, usual), number.epsilon, NOISE_RMS, FLOOR)
            distance = _distance(item.own[name], item.exact[name], made[name])
            shares.append(distance / limit if limit else (math.inf if distance else 0.0))
    return max(shares)


def _distance(own: Array, exact: Array, found: Array) -> float:
    finite = np.isfinite(own)
    if not np.array_equal(finite, np.isfinite(found)):
        return math.inf
    return _mean_square(found[finite].astype(np.float64) - exact[finite])


def _mean_square(array: Array) -> float:
    """Returns the root mean square of what is finite."""
    wide = array[np.isfinite(array)].astype(np.float64)
    return float(np.sqrt(np.mean(np.square(wide)))) if wide.size else 0.0
