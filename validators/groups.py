"""The channels of one output, by their size: small ones must not hide behind large ones.

A detection head may hold boxes of 1000 beside scores of 0.001 in one tensor. Over all elements the
noise is that of the boxes, and a score could be anything. So channels are put together by their
typical size in the float64 outputs, and each group is judged by its own noise, over all cases at
once: that is many elements even where a group is one channel of a small batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.outputs import Answer, Units, Wide, filled
from ascend_migrate.validators.tolerances import (
    GROUP_LEAST,
    GROUP_SPAN,
    NOISE_PEAK,
    NOISE_RMS,
    SHARE_UNIT,
    Limit,
    allowed,
)

GROUPS = "outputs.groups"

_MOST = 8
"""Groups of one axis; the last one holds all channels that are smaller still."""


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Of each channel over all cases, or of each group: float64 arrays of one length.

    Attributes:
        count: elements.
        squares: sum of the squares of the elements.
        largest: of the absolute values of the elements.
    """

    count: Wide
    squares: Wide
    largest: Wide

    def of(self, factor: Limit, channels: Sequence[int]) -> float:
        """Returns the largest element or the root mean square of some channels together."""
        if factor is NOISE_PEAK:
            return float(self.largest[channels].max())
        return float(np.sqrt(self.squares[channels].sum() / self.count[channels].sum()))


@dataclass(frozen=True, slots=True)
class _Channels:
    """What is known of each channel: the float64 outputs, and the distances from them."""

    exact: _Sizes
    own: _Sizes
    low: _Sizes
    found: _Sizes


def check_groups(
    form: Form, output: str, answers: Sequence[Answer], precision: Precision | None = None
) -> list[Finding]:
    """Returns the worst group of channels along the last axis or the second one.

    Nothing where the channels of the output are of one size.

    Args:
        form: of the artifact.
        output: its name.
        answers: one for each case; NaN and infinities are `outputs.compare`'s to judge.
        precision: the policy of a lower precision, if the artifact is under one.
    """
    if answers[0].own.dtype.kind in "biuc":
        return []
    units = Units.of(form, answers[0].own, precision)
    found = [
        (used, finding)
        for axis in channel_axes(answers)
        for used, finding in _judged(form, output, axis, _channels(answers, axis), units)
    ]
    # NaN compares with nothing, so it is looked for by itself.
    worst = max(found, key=lambda pair: np.inf if np.isnan(pair[0]) else pair[0], default=None)
    return [] if worst is None else [worst[1]]


def channel_axes(answers: Sequence[Answer]) -> Iterator[int]:
    """Yields the last axis and the second where they are of one size in all cases, and not of 1."""
    rank = answers[0].own.ndim
    for axis in sorted({1, rank - 1}) if rank > 1 else ():
        sizes = {answer.own.shape[axis] for answer in answers}
        if len(sizes) == 1 and max(sizes) > 1:
            yield axis


def _channels(answers: Sequence[Answer], axis: int) -> _Channels:
    sizes = [_case_sizes(answer, axis) for answer in answers]
    return _Channels(
        *(
            _Sizes(
                np.sum([case[place].count for case in sizes], 0),
                np.sum([case[place].squares for case in sizes], 0),
                np.max([case[place].largest for case in sizes], 0),
            )
            for place in range(4)
        )
    )


def _case_sizes(answer: Answer, axis: int) -> list[_Sizes]:
    own, low, exact, found = (
        np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in filled(answer)
    )
    kept = np.isfinite(own) & np.isfinite(found)
    count = kept.sum(1).astype(np.float64)
    sizes = []
    with np.errstate(invalid="ignore"):
        for difference in (exact, own - exact, low - exact, found - exact):
            size = np.where(kept, np.abs(difference), 0.0)
            sizes.append(_Sizes(count, np.square(size).sum(1), size.max(1, initial=0.0)))
    return sizes


def _groups(exact: _Sizes) -> list[list[int]]:
    """Puts channels together whose root mean squares are of one size, the largest first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(exact.squares / exact.count)
        steps = np.log(np.nanmax(scale) / scale) / np.log(GROUP_SPAN.value)
    places = np.where(np.isnan(steps), -1, np.minimum(np.floor(steps), _MOST - 1)).astype(int)
    groups: list[list[int]] = []
    for place in range(_MOST):
        channels = np.flatnonzero(places == place).tolist()
        if groups and exact.count[groups[-1]].sum() < GROUP_LEAST.value:
            groups[-1] += channels
        elif channels:
            groups.append(channels)
    if len(groups) > 1 and exact.count[groups[-1]].sum() < GROUP_LEAST.value:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _judged(
    form: Form, output: str, axis: int, channels: _Channels, units: Units
) -> Iterator[tuple[float, Finding]]:
    """Yields each group's use of its limit; nothing where there is one group only."""
    groups = _groups(channels.exact) if channels.exact.count.any() else []
    everything = [channel for group in groups for channel in group]
    for group in groups if len(groups) > 1 else ():
        for factor in (NOISE_RMS, NOISE_PEAK):
            scale = channels.exact.of(factor, group)
            noise = max(channels.own.of(factor, group), channels.low.of(factor, group))
            unit = min(SHARE_UNIT.value, channels.exact.of(factor, everything))
            limit = max(
                factor.value * noise,
                allowed(0.0, max(scale, unit), units.epsilon, factor, units.floor),
            )
            distance = channels.found.of(factor, group)
            passed = distance <= limit
            used = distance / limit if limit else (0.0 if passed else np.inf)
            shown = scale or 1.0
            note = (
                f"worst of {len(groups)} groups of channels by size: {len(group)} of "
                f"{len(everything)} along axis {axis}, channel {min(group)} among them, of the "
                f"size {scale:.2g}; {units.noise} there is {noise / shown:.2g}"
            )
            outcome = Outcome.PASS if passed else Outcome.FAIL
            numbers = (distance / shown, limit / shown)
            yield used, Finding(GROUPS, form, output, outcome, *numbers, note)
