"""What a user does with an output: the best of a row, and the order of the few best."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.groups import channel_axes
from ascend_migrate.validators.outputs import Answer, Wide, wide

DECISIONS = "outputs.decisions"

_BEST = 5
"""How many of the best are compared: what top-1 and top-5, the usual measures, depend on."""


def check_decisions(
    form: Form, output: str, answers: Sequence[Answer], allowed: Sequence[float]
) -> list[Finding]:
    """Compares the sets of the k best, k to 5, along the last axis and an axis of channels.

    A set is decided where the float64 outputs set it apart by more than the limit of the worst
    element (`outputs.peak`), and the original agrees: rounding decides the others. Two elements
    that a sound artifact is half as far off as it may be cannot change it. Nothing is returned
    where no set is decided: the output is none that anybody could decide by.

    Args:
        form: of the artifact.
        output: its name.
        answers: one for each case.
        allowed: what the worst element of each case may be off by.
    """
    if answers[0].own.dtype.kind in "biuc":
        return []
    axes = {answers[0].own.ndim - 1, *channel_axes(answers)} if answers[0].own.ndim > 1 else ()
    decided = undecided = wrong = 0
    where = ""
    for answer, limit in zip(answers, allowed, strict=True):
        for own, exact, found in _rows(answer, sorted(axes)):
            apart, best = _best(exact, limit)
            sure = apart & _same(best, own)
            bad = sure & ~_same(best, found)
            decided += int(np.count_nonzero(sure))
            undecided += int(np.count_nonzero(~sure))
            wrong += int(np.count_nonzero(bad))
            where = where or (answer.case if bad.any() else "")
    if not decided:
        return []
    note = f"{wrong} of {decided} sets of the best {_BEST} or fewer differ"
    note += f", first in case {where}" if where else ""
    note += f"; {undecided} that rounding decides were left out" if undecided else ""
    outcome = Outcome.PASS if wrong == 0 else Outcome.FAIL
    return [Finding(DECISIONS, form, output, outcome, wrong / decided, 0.0, note)]


def _rows(answer: Answer, axes: Iterable[int]) -> Iterator[tuple[Wide, Wide, Wide]]:
    """Yields what the original, its twin and the artifact say as rows of alternatives."""
    for axis in axes:
        size = answer.own.shape[axis]
        if size > 1 and answer.own.size:
            arrays = (answer.own, answer.exact, answer.found)
            own, exact, found = (
                np.moveaxis(wide(array), axis, -1).reshape(-1, size) for array in arrays
            )
            yield own, exact, found


def _best(exact: Wide, limit: float) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Returns which of the sets of the 1 to 5 best are set apart, and the best, best first."""
    order = _descending(exact, min(_BEST + 1, exact.shape[1]))
    values = np.take_along_axis(exact, order, 1)
    with np.errstate(invalid="ignore"):
        apart = values[:, :-1] - values[:, 1:] > limit
    return apart, order[:, :-1]


def _same(best: NDArray[np.intp], other: Wide) -> NDArray[np.bool_]:
    """Whether the k best are the same ones, for each k; NaN is no best."""
    size = best.shape[1]
    found = _descending(other, size)
    chosen = np.isfinite(np.take_along_axis(other, found, 1)).cumprod(1).astype(bool)
    equal = [
        (np.sort(best[:, :k], 1) == np.sort(found[:, :k], 1)).all(1) for k in range(1, size + 1)
    ]
    agreed: NDArray[np.bool_] = np.stack(equal, 1) & chosen
    return agreed


def _descending(rows: Wide, count: int) -> NDArray[np.intp]:
    """Returns the places of the ``count`` largest of each row, largest first; NaN last."""
    size = rows.shape[1]
    keys = np.where(np.isnan(rows), np.inf, -rows)
    if count < size:
        some = np.argpartition(keys, count - 1, 1)[:, :count]
    else:
        some = np.broadcast_to(np.arange(size), rows.shape)
    order = np.argsort(np.take_along_axis(keys, some, 1), 1, kind="stable")
    return np.take_along_axis(some, order, 1)
