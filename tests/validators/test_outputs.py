"""The comparison itself: what it lets pass, what it never lets pass."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.records import Form, Outcome
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.outputs import Answer, compare
from ascend_migrate.validators.tolerances import NOISE_PEAK, NOISE_RMS, allowed, floor_of

RNG = np.random.default_rng(3)


def rounded(exact: Array, dtype: str, seed: int, times: float = 1.0) -> Array:
    """``exact`` with as much noise as a sum of a few hundred terms has."""
    rng = np.random.default_rng(seed)
    epsilon = BY_NAME[dtype].epsilon
    assert epsilon is not None
    noisy = exact * (1 + times * 4 * epsilon * rng.standard_normal(exact.shape))
    return np.asarray(noisy.astype(numpy_dtype(dtype)))


def answers(dtype: str = "float32", times: float = 1.0, count: int = 5) -> list[Answer]:
    found = []
    for case in range(count):
        exact = RNG.standard_normal((4, 50)) * 3
        own = rounded(exact, dtype, 2 * case)
        found.append(Answer(f"case {case}", own, exact, rounded(exact, dtype, 2 * case + 1, times)))
    return found


def outcome(given_answers: Sequence[Answer]) -> Outcome:
    found = compare(Form.ONNX, "y", given_answers)
    assert found
    return Outcome.FAIL if any(f.outcome is not Outcome.PASS for f in found) else Outcome.PASS


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_rounding_of_the_same_size_passes_and_ten_times_that_fails(dtype: str) -> None:
    assert outcome(answers(dtype)) is Outcome.PASS
    assert outcome(answers(dtype, times=10)) is Outcome.FAIL


def test_a_finding_says_measured_allowed_and_why() -> None:
    close, peak = compare(Form.ONNX, "y", answers())
    for finding in (close, peak):
        assert finding.measured is not None
        assert finding.allowed is not None
        assert 0 < finding.measured <= finding.allowed < 1e-5
        assert "the original's own noise there is" in finding.note
    assert (close.check, peak.check) == ("outputs.close", "outputs.peak")


def replaced(index: int, value: float, count: int = 5) -> list[Answer]:
    found = answers(count=count)
    old = found[index]
    changed = old.found.copy()
    changed.reshape(-1)[7] = value
    found[index] = Answer(old.case, old.own, old.exact, changed)
    return found


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_one_bad_element_in_one_case_fails(value: float) -> None:
    assert outcome(replaced(3, value)) is Outcome.FAIL


def test_one_slightly_wrong_element_fails_by_its_peak_alone() -> None:
    found = answers()
    old = found[2]
    changed = old.found.copy()
    changed[1, 1] += np.float32(1e-4)
    found[2] = Answer(old.case, old.own, old.exact, changed)
    outcomes = {f.check: f.outcome for f in compare(Form.ONNX, "y", found)}
    assert outcomes["outputs.peak"] is Outcome.FAIL
    (peak,) = [f for f in compare(Form.ONNX, "y", found) if f.check == "outputs.peak"]
    assert "case 2" in peak.note


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_in_both_is_compared_as_such(value: float) -> None:
    found = answers()
    old = found[0]
    own, other = old.own.copy(), old.found.copy()
    own[0, 0] = other[0, 0] = value
    found[0] = Answer(old.case, own, old.exact, other)
    assert outcome(found) is Outcome.PASS
    other[0, 0] = 1.0
    found[0] = Answer(old.case, own, old.exact, other)
    assert outcome(found) is Outcome.FAIL


def test_outputs_without_a_finite_element_prove_nothing() -> None:
    empty = np.full((2, 2), np.nan, np.float32)
    assert outcome([Answer("c", empty, empty, empty)]) is Outcome.FAIL


@pytest.mark.parametrize("part", [slice(None), slice(0, 1)])
def test_a_twin_that_is_not_finite_leaves_no_element_uncompared(part: slice) -> None:
    found = answers()
    for index, old in enumerate(found):
        exact = old.exact.copy()
        exact[part] = np.nan
        found[index] = Answer(old.case, old.own, exact, old.own)
    assert outcome(found) is Outcome.PASS
    old = found[2]
    found[2] = Answer(old.case, old.own, old.exact, old.own * np.float32(1.01))
    assert outcome(found) is Outcome.FAIL


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_numbers_whose_squares_float64_does_not_hold_are_compared(size: float) -> None:
    exact = RNG.standard_normal((4, 50)) * size
    assert outcome([Answer("c", exact, exact, exact)]) is Outcome.PASS
    assert outcome([Answer("c", exact, exact, exact * 1.01)]) is Outcome.FAIL
    assert outcome([Answer("c", exact, exact, -exact * 1e4)]) is Outcome.FAIL


def test_a_noise_that_swallows_half_the_digits_is_no_licence() -> None:
    exact = RNG.standard_normal((4, 50))
    own = (exact * 1.5).astype(np.float32)  # a twin that computes something else
    found = (exact * 1.4).astype(np.float32)
    assert outcome([Answer("c", own, exact, found)]) is Outcome.FAIL


def test_an_exactly_right_original_still_admits_the_last_bit() -> None:
    exact = RNG.standard_normal((4, 50)).astype(np.float32)
    off = np.nextafter(exact, np.float32(10))
    assert outcome([Answer("c", exact, exact.astype(np.float64), off)]) is Outcome.PASS


def test_a_saturated_case_is_judged_by_the_usual_size() -> None:
    found = answers()
    nearly_zero = np.full((4, 50), 1e-20)
    flushed = np.zeros((4, 50), np.float32)
    found.append(Answer("saturated", nearly_zero.astype(np.float32), nearly_zero, flushed))
    assert outcome(found) is Outcome.PASS


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.bool_])
def test_integers_and_bools_are_equal(dtype: type) -> None:
    own: Array = np.array([0, 1, 1, 0]).astype(dtype)
    assert outcome([Answer("c", own, own, own)]) is Outcome.PASS
    assert outcome([Answer("c", own, own, own[::-1])]) is Outcome.PASS
    assert outcome([Answer("c", own, own, np.roll(own, 1))]) is Outcome.FAIL


def test_an_index_that_rounding_decides_is_left_out_but_not_all_may_be() -> None:
    own, exact = np.array([4, 9, 2]), np.array([4, 9, 3])
    assert outcome([Answer("c", own, exact, np.array([4, 9, 3]))]) is Outcome.PASS
    assert outcome([Answer("c", own, exact, np.array([4, 8, 3]))]) is Outcome.FAIL
    assert outcome([Answer("c", own, own + 1, own)]) is Outcome.FAIL
    assert outcome([Answer("c", own, np.array([4, 8, 3]), own)]) is Outcome.FAIL


def test_complex_outputs_are_compared_as_pairs() -> None:
    exact = RNG.standard_normal(30) + 1j * RNG.standard_normal(30)
    own = exact.astype(np.complex64)
    assert outcome([Answer("c", own, exact, own)]) is Outcome.PASS
    assert outcome([Answer("c", own, exact, own.conj())]) is Outcome.FAIL


@given(
    noise=st.floats(0, 1e3),
    more=st.floats(0, 1e3),
    scale=st.floats(1e-6, 1e6),
    dtype=st.sampled_from(["float32", "float16", "bfloat16", "float64"]),
)
def test_limits_grow_with_noise_between_a_floor_and_a_ceiling(
    noise: float, more: float, scale: float, dtype: str
) -> None:
    epsilon = BY_NAME[dtype].epsilon
    assert epsilon is not None
    for factor in (NOISE_RMS, NOISE_PEAK):
        for form in (Form.ONNX, Form.MINDIR):
            floor = floor_of(form)
            low = allowed(noise, scale, epsilon, factor, floor)
            assert low <= allowed(noise + more, scale, epsilon, factor, floor)
            higher = factor.value / NOISE_RMS.value
            least, most = higher * floor.value * epsilon, higher * epsilon**0.5
            assert 0.99 * least * scale <= low <= 1.01 * max(most, least) * scale


@given(error=st.floats(1e-9, 1.0), growth=st.floats(1.0, 100.0))
def test_a_larger_error_never_turns_fail_into_pass(error: float, growth: float) -> None:
    assume(error * growth < 10)
    exact = np.linspace(1, 2, 40)
    own = rounded(exact, "float32", 1)

    def at(size: float) -> Outcome:
        return outcome([Answer("c", own, exact, (exact * (1 + size)).astype(np.float32))])

    if at(error) is Outcome.FAIL:
        assert at(error * growth) is Outcome.FAIL


def test_a_lucky_case_of_a_sigmoid_near_zero_is_judged_by_the_usual_noise() -> None:
    """A sigmoid's kernel errs absolutely, so where all results are near 0 its error stands out."""
    rng = np.random.default_rng(4)
    found = []
    for case, centre in enumerate((5e-3, 4e-3, 6e-3, 5e-3, 1e-5)):
        exact = np.full((4, 50), centre) + rng.uniform(-1e-6, 1e-6, (4, 50))
        lucky = 0.0 if centre == 1e-5 else 3e-8
        own = (exact + lucky * rng.standard_normal(exact.shape)).astype(np.float32)
        kernel = (exact + 3e-8 * rng.standard_normal(exact.shape)).astype(np.float32)
        found.append(Answer(f"case {case}", own, exact, kernel))
    assert outcome(found) is Outcome.PASS


def test_the_runtime_that_judges_decides_the_floor() -> None:
    """A kernel that errs by ten units is MindSpore's usual one, and a fault of onnxruntime's."""
    rng = np.random.default_rng(5)
    exact = rng.uniform(0.2, 0.9, (4, 50))
    own = exact.astype(np.float32)
    off = (exact * (1 + 10 * 2.0**-24 * rng.choice([-1, 1], exact.shape))).astype(np.float32)
    answer = [Answer("c", own, exact, off)]
    onnx, mindir = (compare(form, "y", answer)[0].outcome for form in (Form.ONNX, Form.MINDIR))
    assert (onnx, mindir) == (Outcome.FAIL, Outcome.PASS)
