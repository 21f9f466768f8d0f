"""The best of a row: the same ones wherever the original is sure of it."""

import numpy as np
import pytest

from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.decisions import check_decisions
from ascend_migrate.validators.outputs import Answer, limits
from ascend_migrate.validators.tolerances import NOISE_PEAK

EXACT = np.array([[9.0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8]])


def decided(answers: list[Answer]) -> list[Finding]:
    allowed = [0.0] * len(answers)
    if answers[0].own.dtype.kind == "f":
        allowed = limits(Form.ONNX, answers, NOISE_PEAK)
    return check_decisions(Form.ONNX, "y", answers, allowed)


def judged(
    exact: np.ndarray, found: np.ndarray, own: np.ndarray | None = None, axis: int = -1
) -> tuple[Outcome, str] | None:
    first, twin, given = (
        np.moveaxis(np.asarray(a, t), -1, axis)
        for a, t in ((exact if own is None else own, "f4"), (exact, "f8"), (found, "f4"))
    )
    answer = Answer("a", first, twin, given)
    turned, turned_twin = np.roll(first, 1, axis), np.roll(twin, 1, axis)
    other = Answer("b", turned, turned_twin, turned)
    findings = decided([answer, other])
    return (findings[0].outcome, findings[0].note) if findings else None


def exchanged(rank: int) -> np.ndarray:
    """The values of the first row's best number ``rank`` and the next one, exchanged."""
    found = EXACT.copy()
    places = np.argsort(-EXACT[0])[rank - 1 : rank + 1]
    found[0, places] = EXACT[0, places[::-1]]
    return found


def test_the_same_best_pass_and_are_counted() -> None:
    found = judged(EXACT, EXACT)
    assert found == (Outcome.PASS, "0 of 20 sets of the best 5 or fewer differ")


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_two_of_the_best_exchanged_fail(rank: int) -> None:
    found = judged(EXACT, exchanged(rank))
    assert found == (
        Outcome.FAIL,
        "1 of 20 sets of the best 5 or fewer differ, first in case a",
    )


def test_beyond_the_fifth_the_order_is_not_compared() -> None:
    assert judged(EXACT, exchanged(6)) == judged(EXACT, EXACT)


@pytest.mark.parametrize("axis", [1, -1])
def test_classes_may_be_the_second_axis_or_the_last(axis: int) -> None:
    exact = np.stack([EXACT, EXACT[::-1]], 0)
    wrong = exact.copy()
    wrong[1, 1, [0, 7]] = wrong[1, 1, [7, 0]]
    assert judged(exact, exact, axis=axis) is not None
    found = judged(exact, wrong, axis=axis)
    assert found is not None
    assert found[0] is Outcome.FAIL


def test_what_rounding_decides_is_left_out() -> None:
    tie = EXACT.copy()
    tie[0, 0] = 7 + 1e-7
    found = judged(tie, np.where(tie == 7 + 1e-7, 7 - 1e-6, tie))
    assert found is not None
    assert found[0] is Outcome.PASS
    assert "2 that rounding decides were left out" in found[1]


def test_what_the_original_decides_otherwise_than_its_twin_is_left_out() -> None:
    found = judged(EXACT, exchanged(1), own=exchanged(1))
    assert found is not None
    assert found[0] is Outcome.PASS


def test_nan_is_no_best() -> None:
    wrong = EXACT.copy()
    wrong[0] = np.nan
    found = judged(EXACT, wrong)
    assert found is not None
    assert found[0] is Outcome.FAIL


def test_masked_alternatives_are_the_last() -> None:
    masked = EXACT.copy()
    masked[:, :5] = -np.inf
    found = judged(masked, masked)
    assert found is not None
    assert found[0] is Outcome.PASS


def test_nothing_is_said_where_nothing_can_be_decided() -> None:
    assert judged(np.ones((2, 8)), np.ones((2, 8))) is None
    row = EXACT[0].astype(np.float32)
    flat = Answer("c", row, EXACT[0], row)
    assert decided([flat]) == []
    whole = np.arange(8).reshape(1, 8)
    assert decided([Answer("c", whole, whole, whole)]) == []
