"""The fault kit: each kind does what its name says, and nothing else."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ascend_migrate.validators import onnx_runner
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.power.faults import GraphFault
from ascend_migrate.validators.power.faults_graph import KINDS as GRAPH_KINDS
from ascend_migrate.validators.power.faults_graph import graph_faults
from ascend_migrate.validators.power.faults_weights import (
    KINDS,
    SWAPPED,
    weight_fault,
    weight_faults,
)

_SIZES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)
_NUMBERS = st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
ARRAYS = hnp.arrays(np.float32, _SIZES, elements=_NUMBERS)
LOW = st.sampled_from(["float16", "bfloat16", "float32", "float64"])


def wrong(kind: str, array: Array, seed: int = 0) -> Array | None:
    fault = weight_fault(kind, "w", {"w": array}, seed)
    return None if fault is None else fault.weights["w"]


@given(ARRAYS, st.sampled_from([*KINDS]), LOW, st.integers(0, 3))
def test_a_fault_keeps_type_and_sizes_and_changes_something(
    array: Array, kind: str, dtype: str, seed: int
) -> None:
    import ml_dtypes

    cast = array.astype(getattr(ml_dtypes, dtype, None) or dtype)
    before = cast.tobytes()
    found = wrong(kind, cast, seed)
    assert cast.tobytes() == before
    if found is not None:
        assert (found.shape, found.dtype) == (cast.shape, cast.dtype)
        assert found.tobytes() != before
        again = wrong(kind, cast, seed)
        assert again is not None
        assert again.tobytes() == found.tobytes()


@given(ARRAYS, st.integers(0, 9))
def test_a_bit_flip_changes_one_bit_of_the_named_part(array: Array, seed: int) -> None:
    for kind, bits in (
        ("mantissa bit flipped", range(20, 23)),
        ("exponent bit flipped", range(23, 31)),
    ):
        found = wrong(kind, array, seed)
        if found is None:  # zero has no mantissa
            assert kind == "mantissa bit flipped"
            assert not array.any()
            continue
        changed = (found.view(np.uint32) ^ array.view(np.uint32))[
            found.view(np.uint32) != array.view(np.uint32)
        ]
        assert changed.tolist() in [[1 << bit] for bit in bits]


@pytest.mark.parametrize(
    "kind", ["sign flipped", "mantissa bit flipped", "scaled by 1.01", "bias dropped"]
)
def test_what_changes_no_number_is_no_fault(kind: str) -> None:
    assert wrong(kind, np.zeros(5, np.float32)) is None
    mostly = np.array([0, 0, 0, 0, 3], np.float32)
    found = wrong(kind, mostly)
    assert found is not None
    assert np.flatnonzero(found != mostly).tolist() == [4]


@given(ARRAYS)
def test_rearranged_is_the_same_numbers_elsewhere(array: Array) -> None:
    for kind in ("rows permuted", "transposed"):
        found = wrong(kind, array)
        if found is not None:
            assert sorted(found.ravel().tolist()) == sorted(array.ravel().tolist())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("scaled by 1.01", [[1.01, -2.02], [3.03, 0.0]]),
        ("sign flipped", [[-1.0, 2.0], [-3.0, 0.0]]),
        ("zeroed", [[0.0, 0.0], [0.0, 0.0]]),
        ("transposed", [[1.0, 3.0], [-2.0, 0.0]]),
        ("bias dropped", None),
        ("cast to float16", None),
    ],
)
def test_what_a_kind_makes_of_a_matrix(kind: str, expected: list[list[float]] | None) -> None:
    found = wrong(kind, np.array([[1, -2], [3, 0]], np.float32))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        np.testing.assert_allclose(found, np.array(expected), rtol=1e-7)


def test_exchanged_tensors_are_of_equal_sizes() -> None:
    weights = {
        n: np.full(s, i, np.float32) for i, (n, s) in enumerate({"a": 2, "b": 3, "c": 2}.items())
    }
    fault = weight_fault(SWAPPED, "a", weights, 0)
    assert fault is not None
    assert {name: array.tolist() for name, array in fault.weights.items()} == {
        "a": [2.0, 2.0],
        "c": [0.0, 0.0],
    }
    assert weight_fault(SWAPPED, "b", weights, 0) is None
    assert {f.place for f in weight_faults(weights, seed=0)} == {"a", "b", "c"}


GELU = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[n] x) => (float[n] y)
    <float root = {1.4142135}, float one = {1.0}, float half = {0.5}>
    {
        u = Div (x, root)
        e = Erf (u)
        s = Add (e, one)
        h = Mul (x, half)
        y = Mul (h, s)
    }
"""
TANH_GELU = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[n] x) => (float[n] y)
    <float three = {3.0}, float c = {0.044715}, float r = {0.7978846},
     float one = {1.0}, float half = {0.5}>
    {
        x3 = Pow (x, three)
        cx3 = Mul (x3, c)
        inner = Add (x, cx3)
        t = Mul (inner, r)
        e = Tanh (t)
        s = Add (e, one)
        h = Mul (x, half)
        y = Mul (h, s)
    }
"""
SOFTMAX = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[4,4] x) => (float[4,4] y)
    {
        c = Constant <value = float {1e-5}> ()
        z = Add (x, c)
        t = Transpose <perm = [1, 0]> (z)
        y = Softmax <axis = -1> (t)
    }
"""


def faults(text: str, kind: str) -> list[GraphFault]:
    return [f for f in graph_faults(onnx.parser.parse_model(text), set()) if f.kind == kind]


def run(text: str, x: Array, fault: GraphFault | None = None) -> Array:
    model = onnx.parser.parse_model(text)
    if fault is not None:
        fault.edit(model)
    onnx.checker.check_model(model)
    return onnx_runner.run(onnx_runner.session(model.SerializeToString(), "toy"), {"x": x}, "toy")[
        "y"
    ]


@pytest.mark.parametrize(
    ("text", "before", "after"), [(GELU, "none", "tanh"), (TANH_GELU, "tanh", "none")]
)
def test_the_other_gelu_is_exactly_the_other_flavour(text: str, before: str, after: str) -> None:
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    (fault,) = faults(text, "other GELU")
    for spoiled, flavour in ((None, before), (fault, after)):
        wanted = torch.nn.functional.gelu(torch.from_numpy(x), approximate=flavour).numpy()
        np.testing.assert_allclose(run(text, x, spoiled), wanted, rtol=1e-5, atol=1e-6)


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    found: Array = e / e.sum(axis, keepdims=True)
    return found


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("axis off by one", lambda x: _softmax(x.T, 0)),
        ("transposed otherwise", lambda x: _softmax(x, -1)),
        ("epsilon times ten", lambda x: _softmax((x + np.float32(1e-4)).T, -1)),
        ("cast to float16", lambda x: _softmax(x.astype(np.float16).astype(np.float32).T, -1)),
    ],
)
def test_what_a_kind_makes_of_a_graph(kind: str, wanted: Callable[[Array], Array]) -> None:
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    found = [
        run(SOFTMAX, x, fault) for fault in faults(SOFTMAX, kind) if "axis 0" not in fault.note
    ]
    assert any(np.allclose(array, wanted(x), rtol=1e-3, atol=1e-6) for array in found)


def test_every_kind_of_fault_in_a_graph_can_happen() -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,8,8] x) => (float[n] y)
        <float[2,2,3,3] w = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
            19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35}, int64 i = {1},
            float two = {2.0}, float tiny = {1e-6}>
        {
            a = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (x, w)
            b = Relu (a)
            c = Add (x, b)
            d = Gather <axis = 0> (c, i)
            e = Transpose <perm = [1, 0, 2]> (d)
            f = Mul (e, two)
            h = Erf (f)
            j = Sub (h, tiny)
            k = MaxPool <kernel_shape = [2], ceil_mode = 0> (j)
            y = Softmax <axis = 1> (k)
        }
    """
    model = onnx.parser.parse_model(text)
    found = {fault.kind for fault in graph_faults(model, {"w"})}
    assert found == set(GRAPH_KINDS)
