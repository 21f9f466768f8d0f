"""An artifact whose answers are those of another function is asked no further, and no other one."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline.records import Form, Outcome
from ascend_migrate.validators.calls import findings
from ascend_migrate.validators.cases import Feeds
from ascend_migrate.validators.clear_fail import first_pass
from ascend_migrate.validators.golden import Golden, Recorded
from ascend_migrate.validators.original import Outputs

CASES = 6
Wrong = Callable[[np.ndarray], np.ndarray]


def golden(seed: int = 0, state: float = 0.0) -> Golden:
    rng = np.random.default_rng(seed)
    cases = []
    for place in range(CASES):
        exact = {"y": rng.standard_normal((3, 6))}
        own = {"y": exact["y"].astype(np.float32)}
        again = {"y": own["y"] + np.float32(state)}
        feeds = {"x": np.array([place], np.float32)}
        cases.append(Recorded(f"no {place}", feeds, own, again, exact))
    return Golden("source", "digest", tuple(cases), {}, {}, "")


TRUTH = golden()


def asked(truth: Golden, answers: Sequence[Outputs | str]) -> tuple[int, list[str]]:
    """Returns how many cases were asked, and what is said."""
    count = 0

    def ask(feeds: Feeds) -> Outputs | str:
        nonlocal count
        count += 1
        return answers[int(feeds["x"][0])]

    got, found = first_pass(Form.ONNX, truth, ask)
    assert len(got) == count
    assert all(item.outcome is Outcome.FAIL for item in found)
    return count, [f"{item.check} {item.subject}: {item.note}" for item in found]


def answers(truth: Golden, wrong: Wrong, first: int = 0) -> list[Outputs | str]:
    """Returns answers that are wrong from a case on."""
    return [
        {"y": case.own["y"] if place < first else wrong(case.own["y"])}
        for place, case in enumerate(truth.cases)
    ]


def nan(array: np.ndarray) -> np.ndarray:
    return np.where(array == array.max(), np.float32(np.nan), array)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.negative, "outputs.close y: case no 0; so clear"),
        (
            nan,
            "outputs.close y: case no 0: 1 of 18 elements are NaN or infinite here only; so clear",
        ),
        (lambda a: a[:, :5], "outputs.present y: case no 0: has the sizes [3, 5]"),
        (lambda a: a.astype(np.float64), "outputs.present y: case no 0: is float64"),
    ],
)
def test_two_clear_failures_are_enough(wrong: Wrong, said: str) -> None:
    count, found = asked(TRUTH, answers(TRUTH, wrong))
    assert count == 2
    assert said in found[0]
    assert all(line.endswith("so clear that only 2 of 6 cases were asked") for line in found)


def test_they_count_from_where_they_begin() -> None:
    count, found = asked(TRUTH, answers(TRUTH, np.negative, first=3))
    assert count == 5
    assert found == ["outputs.close y: case no 3; so clear that only 5 of 6 cases were asked"]


@pytest.mark.parametrize(
    "given",
    [
        answers(TRUTH, np.positive),
        answers(TRUTH, lambda a: a * np.float32(1.4)),  # a fault, whose worst case is to be told
        answers(TRUTH, np.negative, first=5),  # one clear case is not enough
        answers(TRUTH, np.negative, first=4),  # two, and no case is left to be spared
        ["refused"] * CASES,
    ],
)
def test_all_others_are_asked_everything(given: list[Outputs | str]) -> None:
    assert asked(TRUTH, given) == (CASES, [])


def test_an_original_that_remembers_is_told_as_such() -> None:
    truth = golden(state=1.0)
    assert asked(truth, answers(truth, np.negative)) == (CASES, [])


def test_outputs_that_never_change_are_told_as_such() -> None:
    constant: list[Outputs | str] = [{"y": np.full((3, 6), 9, np.float32)}] * CASES
    assert asked(TRUTH, constant) == (CASES, [])


def test_how_far_off_the_largest_numbers_are_is_a_number() -> None:
    doubles = [case.exact or {} for case in TRUTH.cases]
    cases = (replace(c, own=y, again=y) for c, y in zip(TRUTH.cases, doubles, strict=True))
    truth = replace(TRUTH, cases=tuple(cases))
    huge = [{"y": 1e300 * case.own["y"]} for case in truth.cases]
    _, found = first_pass(Form.ONNX, truth, lambda feeds: huge[int(feeds["x"][0])])
    (said,) = found
    assert said.measured == pytest.approx(1e300)


@given(st.integers(0, 2**32 - 1), st.floats(-8, 4), st.integers(0, CASES - 1))
def test_what_stops_would_have_failed(seed: int, size: float, first: int) -> None:
    """Of any answers: where the asking stops, the comparison of all cases fails as well."""
    truth, rng = golden(seed), np.random.default_rng(seed)
    error = np.float32(10.0**size)

    def wrong(array: np.ndarray) -> np.ndarray:
        found: np.ndarray = array + error * rng.standard_normal(array.shape).astype(np.float32)
        return found

    whole = answers(truth, wrong, first)
    count, found = asked(truth, whole)
    failed = any(f.outcome is Outcome.FAIL for f in findings(Form.ONNX, truth, whole, whole))
    assert failed or (count == CASES and not found)
