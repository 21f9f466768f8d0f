"""Rounding as the device does, against what each type is defined by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.validators.forecast.rounding import HF32, Rounding, number

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def one(rounding: Rounding, value: float, *, clips: bool = False) -> float:
    return float(rounding(np.array([value], np.float32), clips=clips)[0])


@given(FLOATS)
def test_hf32_keeps_twelve_digits_and_takes_the_nearest(value: float) -> None:
    with np.errstate(over="ignore"):
        found = one(Rounding(HF32, saturates=False), value)
    mantissa, exponent = np.frexp(value)
    exact = np.ldexp(np.rint(np.ldexp(mantissa, 12)), int(exponent) - 12)  # ties to even
    if abs(value) < np.finfo(np.float32).tiny:
        step = 2.0 ** (-126 - 11)  # below the normal numbers the steps stay as they are
        exact = np.rint(value / step) * step
    with np.errstate(over="ignore"):
        assert found == np.float32(exact)


@pytest.mark.parametrize("name", ["float16", "bfloat16", HF32])
def test_rounding_twice_is_rounding_once(name: str) -> None:
    rng = np.random.default_rng(0)
    rounding = Rounding(name, saturates=False)
    once = rounding(rng.standard_normal(1000).astype(np.float32))
    np.testing.assert_array_equal(rounding(once), once)
    relative = np.abs(once / once.astype(np.float64) - 1)
    assert relative.max() <= number(name).epsilon


@pytest.mark.parametrize(
    ("value", "infinite", "largest"),
    [
        (65519.0, 65504.0, 65504.0),
        (65520.0, np.inf, 65504.0),
        (-1e6, -np.inf, -65504.0),
        (np.inf, np.inf, 65504.0),
        (np.nan, np.nan, 0.0),
    ],
)
def test_old_chips_saturate_and_later_ones_have_infinities(
    value: float, infinite: float, largest: float
) -> None:
    assert np.array_equal(
        one(Rounding("float16", saturates=False), value), infinite, equal_nan=True
    )
    assert one(Rounding("float16", saturates=True), value) == largest


def test_weights_are_clipped_whatever_the_chip() -> None:
    assert one(Rounding("float16", saturates=False), -3.4e38, clips=True) == -65504.0


@pytest.mark.parametrize("strange", [np.inf, -np.inf, np.nan])
def test_hf32_hands_on_what_is_no_number(strange: float) -> None:
    found = one(Rounding(HF32, saturates=False), strange)
    assert np.array_equal(found, strange, equal_nan=True)
