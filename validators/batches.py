"""Whether a row of a batch is what it is alone: nothing of its neighbours may leak into it.

The original is asked as well. Where its own rows know of each other, as under a normalisation over
the batch, that is said, and the cases are compared one by one all the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.case_values import Array
from ascend_migrate.validators.cases import Feeds
from ascend_migrate.validators.golden import Golden, Recorded, same_bits
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import distance

BATCH = "calls.batch"


@dataclass(frozen=True, slots=True)
class Pair:
    """A case that feeds one row of another one.

    Attributes:
        whole: number of the case with the batch.
        alone: number of the case with the row.
        row: which one.
    """

    whole: int
    alone: int
    row: int


def check_batch(
    form: Form,
    name: str,
    truth: Golden,
    found: Sequence[Outputs],
    allowed: Sequence[float],
    pairs: Sequence[Pair],
) -> list[Finding]:
    """Compares an output's row in a batch with the same row alone.

    Args:
        form: of the artifact.
        name: of the output.
        truth: the original's answers.
        found: the artifact's answers to the same cases.
        allowed: what the worst element of each case may be off by.
        pairs: what `pairs_of` finds in the cases.

    Returns:
        One finding, or nothing where no case feeds a row of another one, or the output has no
        dimension of the batch's size.
    """
    if truth.cases[0].own[name].dtype.kind in "biu":
        return []
    finding = None
    for pair in pairs:
        own = _apart(truth.cases[pair.whole].own[name], truth.cases[pair.alone].own[name], pair.row)
        if own is None:
            continue
        limit = max(allowed[pair.whole], allowed[pair.alone])
        where = f"row {pair.row} of case {truth.cases[pair.whole].name}"
        if not own <= limit:
            note = f"the original itself answers {where} differently when it is asked alone"
            return [Finding(BATCH, form, name, Outcome.PASS, note=note)]
        gap = _apart(found[pair.whole][name], found[pair.alone][name], pair.row)
        if gap is None or not gap <= limit:
            note = (
                f"answers {where} differently when it is asked alone, which the original does not"
            )
            return [Finding(BATCH, form, name, Outcome.FAIL, gap, limit, note)]
        note = f"{where} is answered as when it is asked alone"
        finding = finding or Finding(BATCH, form, name, Outcome.PASS, gap, limit, note)
    return [] if finding is None else [finding]


def pairs_of(cases: Sequence[Recorded]) -> list[Pair]:
    """Returns every case that feeds one row of another one."""
    return list(_pairs([case.feeds for case in cases]))


def _pairs(feeds: Sequence[Feeds]) -> Iterator[Pair]:
    for whole, alone in permutations(range(len(feeds)), 2):
        row = _row(feeds[whole], feeds[alone])
        if row is not None:
            yield Pair(whole, alone, row)


def _row(whole: Feeds, alone: Feeds) -> int | None:
    """Returns which row of the inputs ``whole`` the inputs ``alone`` are."""
    rows: set[int] | None = None
    for name, array in whole.items():
        other = alone[name]
        if same_bits(array, other):
            continue  # of no batch, as a table that all rows use
        axis = _batch_axis(array, other)
        if axis is None:
            return None
        same = {i for i in range(array.shape[axis]) if same_bits(array.take([i], axis), other)}
        rows = same if rows is None else rows & same
        if not rows:
            return None
    return min(rows) if rows else None


def _batch_axis(whole: Array, alone: Array) -> int | None:
    """Returns the only axis in which the two differ, of the size 1 in ``alone``."""
    if whole.ndim != alone.ndim:
        return None
    differing = [
        axis for axis, (n, one) in enumerate(zip(whole.shape, alone.shape, strict=True)) if n != one
    ]
    return differing[0] if len(differing) == 1 and alone.shape[differing[0]] == 1 else None


def _apart(whole: Array, alone: Array, row: int) -> float | None:
    """Returns how far a row is from the same one alone; None where the output has no rows."""
    axis = _batch_axis(whole, alone)
    if axis is None or not row < whole.shape[axis]:
        return None
    return distance(np.ascontiguousarray(whole.take([row], axis)), alone)
