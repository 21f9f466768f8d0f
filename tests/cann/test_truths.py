"""What the rewrites rest on, for all numbers rather than for examples."""

import math

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cann.attempt import operated
from tests.cann.graphs import one, operators, run

from ascend_migrate.converters.resample import Line, nearest

TORCH = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CANN = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
WHOLE = st.integers(-(2**31) + 1, 2**31 - 1)


@given(size=st.integers(1, 4096), factor=st.integers(1, 16))
def test_a_whole_factor_repeats_on_both_grids(size: int, factor: int) -> None:
    line = Line(size, size * factor, float(factor))
    wanted = np.arange(size).repeat(factor)
    assert np.array_equal(nearest(line, TORCH), wanted)
    assert np.array_equal(nearest(line, CANN), wanted)


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 40), target=st.integers(1, 90))
def test_nearest_takes_onnxruntime_s_elements(size: int, target: int) -> None:
    inputs = {"x": [1, 1, 1, size], "r": None, "s": None, "z": np.array([1, 1, 1, target])}
    before = one("Resize", inputs, **TORCH)  # type: ignore[arg-type]
    x = np.arange(size, dtype=np.float32).reshape(1, 1, 1, size)
    after, _ = operated(before)
    assert np.array_equal(run(before, {"x": x})[0], run(after, {"x": x})[0])


@settings(max_examples=15, deadline=None)
@given(x=st.lists(WHOLE, min_size=1, max_size=20), y=WHOLE.filter(bool))
def test_the_remainder_of_integers_is_that_of_c(x: list[int], y: int) -> None:
    kinds = {"x": onnx.TensorProto.INT32}
    before = one("Mod", {"x": ["n"], "d": np.array(y, np.int32)}, kinds=kinds, fmod=1)
    after, _ = operated(before)
    found = run(after, {"x": np.array(x, np.int32)})[0]
    assert found.tolist() == [int(math.fmod(item, y)) for item in x]


@settings(max_examples=10, deadline=None)
@given(length=st.integers(1, 1200), low=st.integers(0, 255), seed=st.integers(0, 99))
def test_sums_of_bytes_are_exact(length: int, low: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = (generator.integers(low, 256, (1, length)).astype(np.uint8) for _ in range(2))
    kinds = {"x": onnx.TensorProto.UINT8}
    model, _ = operated(one("MatMulInteger", {"x": [1, length], "w": b.T.copy()}, kinds=kinds))
    assert operators(model) <= {"MatMul", "Cast", "Slice", "Add"}
    assert run(model, {"x": a})[0].item() == (a.astype(np.int64) @ b.astype(np.int64).T).item()
