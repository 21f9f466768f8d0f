"""Every limit of the judgement, each with its reason; nothing else in the project has one.

The original is run in its own precision and in float64. The distance between the two is its
*noise*: what its own rounding costs. An artifact does the same arithmetic in another order and
with other kernels, so its distance to the float64 outputs is of the size of that noise. Limits are
multiples of it; there is no fixed tolerance.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """One number.

    Attributes:
        value: the number.
        unit: what it is a multiple of.
        reason: why it is not smaller, and why not larger.
    """

    value: float
    unit: str
    reason: str


NOISE_RMS = Limit(
    6.0,
    "the original's root-mean-square noise",
    "Another order of summation alone gives a ratio near 1, and other kernels (fused convolutions, "
    "polynomials for exp, erf and tanh) up to about 3, so 6 leaves a factor of 2. The least fault "
    "that a person would plant, an epsilon off by a factor of ten, costs ten times the noise or "
    "more.",
)

NOISE_PEAK = Limit(
    12.0,
    "the original's largest noise",
    "The largest of n rounding errors grows like the logarithm of n and varies from run to run by "
    "a factor of about 2, which the mean square does not; hence twice the factor of the latter.",
)

FLOOR = Limit(
    4.0,
    "the unit roundoff of the output's type, times its typical size",
    "A model may by luck round to exactly its float64 outputs, and noise 0 would then refuse every "
    "other kernel. Elementary functions are accurate to 2 or 3 units in the last place, and the "
    "result is rounded once more.",
)

LOST_DIGITS = Limit(
    0.5,
    "the digits of the output's type",
    "Where the original itself loses more than half of its digits, its noise says nothing about "
    "the artifact; the limit stops at the square root of the unit roundoff times the typical size.",
)

LIMITS = {
    "noise, root mean square": NOISE_RMS,
    "noise, largest element": NOISE_PEAK,
    "floor": FLOOR,
    "lost digits": LOST_DIGITS,
}


def allowed(noise: float, scale: float, epsilon: float, factor: Limit) -> float:
    """Returns the largest distance that passes.

    Args:
        noise: distance of the original from its float64 twin, in the metric in question.
        scale: typical size of the output in the same metric.
        epsilon: unit roundoff of the output's element type.
        factor: `NOISE_RMS` or `NOISE_PEAK`.
    """
    floor = FLOOR.value * epsilon * scale
    ceiling = math.pow(epsilon, LOST_DIGITS.value) * scale
    return max(floor, min(factor.value * noise, ceiling))
