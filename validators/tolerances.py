"""Every limit of the judgement, each with its reason; nothing else in the project has one.

The original is run in its own precision and in float64. The distance between the two is its
*noise*: what its own rounding costs. An artifact does the same arithmetic in another order and
with other kernels, so its distance to the float64 outputs is of the size of that noise. Limits are
multiples of it; there is no fixed tolerance.
"""

import math
from dataclasses import dataclass

from ascend_migrate.pipeline.precision import LOWER_TYPES
from ascend_migrate.pipeline.records import Form


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
    "polynomials for exp, erf and tanh) up to about 4 in the models measured, so 6 leaves some "
    "room. An epsilon off by a factor of ten, the least fault that one would plant, costs 12 to "
    "600 times the noise.",
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

FLOOR_MINDSPORE = Limit(
    32.0,
    "the unit roundoff of the output's type, times its typical size",
    "MindSpore's CPU kernels of exp, log, sigmoid and softmax are short polynomials: measured "
    "against float64 they err by up to 21 units as a root mean square and 35 at the worst element, "
    "where other runtimes err by 2 or 3. It is the accuracy of this runtime, not of the file; what "
    "the kernels of a device do has to be measured there. For outputs in float16 or bfloat16 the "
    "ordinary floor holds: there these errors are far below one unit.",
)

LOST_DIGITS = Limit(
    0.5,
    "the digits of the output's type, which must survive in the original",
    "Where the original itself loses more than half of its digits, its noise says nothing about "
    "the artifact; the limit stops at the square root of the unit roundoff times the typical size. "
    "For the worst element at twice that, as with factor and floor: half of bfloat16's 8 bits are "
    "6 percent, which the worst element of a small transformer loses by the original's rounding "
    "alone (measured: 2 to 6 percent in the original, 4 to 8 in sound artifacts), though the root "
    "mean square is 3.",
)

FLIPS = Limit(
    3.0,
    "the decisions that the policy's rounding changes in the original",
    "A lower precision decides near ties otherwise, here and there, and the artifact rounds other "
    "ones than the original. Both change about as many; counts of a few vary by a factor of 2, and "
    "3 leaves some room. Without such a policy not one decision may differ.",
)

UNDECIDED = Limit(
    0.5,
    "the integers of an output that the original and its float64 twin must agree on, at least",
    "What rounding decides is not compared. Ties are few where a model decides anything; where "
    "most of an output is left out, equality of the rest proves too little to be called a pass.",
)

GROUP_SPAN = Limit(
    8.0,
    "the typical size of an output's smallest channels in a group",
    "Within a group what is wrong with a small channel is at most this factor harder to see than "
    "alone. More groups hold fewer elements each, and a noise that is measured on few may be low "
    "by luck.",
)

GROUP_LEAST = Limit(
    32.0,
    "an element of a group of channels, over all cases",
    "The root mean square of 32 roundings is within a factor of 1.5 of what it is on average, save "
    "once in ten thousand; the limit is 6 times that, so that even 8 groups of each output cost no "
    "false alarm. Fewer elements are judged together with the next larger channels.",
)

SHARE_UNIT = Limit(
    1.0,
    "itself, the size that the floor of a share of 1 is counted in",
    "A sigmoid is 0.5 and an odd part in many kernels, which are exact to some units of 1 and not "
    "of a result near 0: onnxruntime's errs by up to 1e-7 where the result is 1e-4, a thousandth "
    "of it. So the floor of outputs that are between 0 and 1 in all cases is that of 1. The same "
    "holds for the small channels of an output, which may be such shares beside other things, but "
    "never with more than the floor of the whole output.",
)

FOLDED = Limit(
    16.0,
    "the unit roundoff of float32, times the number itself",
    "A kernel into which a converter folded a normalisation is computed again, in float64, with an "
    "epsilon that is solved for. The converter rounded a sum, a root, a quotient and a product, "
    "and of the bias two products and two sums, each by one unit at most; the epsilon that is "
    "solved for has such an error of its own. Nothing else of the ledger has a tolerance.",
)

CLEAR = Limit(
    0.5,
    "the size of the output in that case, as a root mean square",
    "Answers that are off by half of what they should be have not one right digit: no rounding "
    "does that, in no precision, so that it is another function. The verdict is FAIL from the "
    "first case beyond its limit; what the further ones tell, how often and by how much a nearly "
    "right one is off, says nothing more of such a one. NaN, infinities and missing outputs count "
    "as well. Only a case that is beyond its limit too can be clear.",
)

CLEAR_CASES = Limit(
    2.0,
    "a case that fails clearly",
    "One may be an odd one, as the shortest or one of zeros; two are at least of two kinds or "
    "sizes. The asking goes on until the outputs are known to depend on the inputs at all, because "
    "where they do not, that is the cause to be told.",
)

LIMITS = {
    "noise, root mean square": NOISE_RMS,
    "noise, largest element": NOISE_PEAK,
    "floor": FLOOR,
    "floor on MindSpore's CPU backend": FLOOR_MINDSPORE,
    "ceiling": LOST_DIGITS,
    "integers under a lower precision": FLIPS,
    "integers that are decided": UNDECIDED,
    "channels of one group": GROUP_SPAN,
    "elements of one group": GROUP_LEAST,
    "floor of shares of 1": SHARE_UNIT,
    "folded normalisation": FOLDED,
    "clear failure": CLEAR,
    "clear failures until no more is asked": CLEAR_CASES,
}


def floor_of(form: Form, dtype: str = "float32") -> Limit:
    """Returns the floor of the runtime that judges a form.

    Args:
        form: of the artifact.
        dtype: what it computes in. What MindSpore's float32 kernels are off by is far below the
            roundoff of a lower type.
    """
    return FLOOR_MINDSPORE if form is Form.MINDIR and dtype not in LOWER_TYPES else FLOOR


def allowed(noise: float, scale: float, epsilon: float, factor: Limit, floor: Limit) -> float:
    """Returns the largest distance that passes.

    Args:
        noise: distance of the original from its float64 twin, in the metric in question.
        scale: typical size of the output in the same metric.
        epsilon: unit roundoff of the output's element type.
        factor: `NOISE_RMS` or `NOISE_PEAK`; floor and ceiling of a peak are as much higher as it.
        floor: what the runtime is accurate to at best.
    """
    higher = factor.value / NOISE_RMS.value
    least = higher * floor.value * epsilon * scale
    ceiling = higher * math.pow(epsilon, LOST_DIGITS.value) * scale
    return max(least, min(factor.value * noise, ceiling))


def page() -> str:
    """Returns docs/tolerances.md: every limit with its reason."""
    limits = [
        f"## {name}: {limit.value:g} times {limit.unit}\n\n{limit.reason}\n"
        for name, limit in LIMITS.items()
    ]
    return "\n".join([f"# Tolerances\n\n{_PREFACE}\n", *limits])


_PREFACE = """\
This page is made from `validators/tolerances.py`; a test keeps it current.

There is no fixed tolerance. The original is run in its own precision and in float64. The distance
between the two is its *noise*: what its own rounding costs, case by case. The artifact's distance
to the float64 outputs, as a root mean square and at the worst element, may be a multiple of that:

    allowed = max(floor, min(factor x noise, ceiling))

The noise of a case is its own or the usual one over all cases, absolute or relative to the size of
the output, whichever is largest. The size of an output is that of its case or, if that is larger,
the usual size over all cases.

**Channels of very different sizes** in one output are judged by groups as well (`outputs.groups`):
over all elements the noise is that of the largest, and the smallest could be anything. Each group
has the noise of its own, over all cases together.

**Decisions** (`outputs.decisions`): the sets of the 1 to 5 best of each row are the original's
where the float64 outputs set them apart by more than the worst element may be off by. **Batches**
(`calls.batch`): a row of a batch is what it is alone, within what the worst element may be off by.

**Under a policy of a lower precision** (`[precision]`) the limits stay these multiples, of a noise
that is measured as well: the original runs once more in float32, and whatever its operators read
or make is rounded to the lower type, except where the policy keeps float32. The distance of that
to the float64 outputs is what the lower type costs this model on these inputs; the unit roundoff
is that of the lower type. No artifact takes part, so that a fault in one cannot widen its own
limit. Where that run becomes infinite, the model does not fit the type, whatever a runtime shows
(`precision.range`).

So wide a limit would hide a wrong epsilon. The artifact is therefore run a second time with its
lower type widened to float32 and the source's own weights in place of their casts, which the
ledger has compared bit by bit: it must then be the original, within the limits of float32
(`precision.graph`)."""
