"""The original under a policy: rounded where the policy lowers, untouched where it does not."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import parser
from tests.validators.lowering import Amplifier, Loud
from torch import Tensor, nn

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.ledger.weights import Cast
from ascend_migrate.validators.onnx_original import OnnxOriginal
from ascend_migrate.validators.torch_lowered import Lowering

HALF = Precision("float16")
X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


def low(array: Any, dtype: str = "float16") -> Any:
    return np.asarray(array).astype(numpy_dtype(dtype)).astype(np.float32)


def called(model: nn.Module, x: Any = X, policy: Precision = HALF) -> tuple[Any, dict[str, float]]:
    overflows: dict[str, float] = {}
    lowering = Lowering(model.eval(), policy, overflows)
    with torch.no_grad(), lowering.rounding():
        found = model(torch.from_numpy(x))
    return found.numpy(), overflows


class Of(nn.Module):
    """Calls a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x)
        return y


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_is_lowered_reads_and_makes_rounded_numbers(dtype: str) -> None:
    layer = nn.Linear(4, 2)
    found, _ = called(layer, policy=Precision(dtype))
    w, b = (low(p.detach().numpy(), dtype).astype(float) for p in (layer.weight, layer.bias))
    exact = low(X, dtype).astype(float) @ w.T + b
    np.testing.assert_array_equal(found, low(found, dtype))
    step = float(np.finfo(np.float32).eps) * 4
    assert np.all(np.abs(found - low(exact, dtype)) <= HALF.epsilon * 8 * np.abs(exact) + step)
    plain = layer(torch.from_numpy(X)).detach().numpy()
    assert np.any(plain != low(plain, dtype))  # outside, nothing is rounded


@pytest.mark.parametrize(
    ("function", "lowers"),
    [
        (lambda x: x * 0.3, True),
        (lambda x: x.clone().mul_(0.3), True),
        (torch.tanh, True),
        (lambda x: torch.softmax(x, -1), False),
        (lambda x: x.mean(-1), False),
        (torch.exp, False),
        (lambda x: torch.cat([x, x]).T[1:], False),
        (lambda x: nn.functional.layer_norm(x, (4,)), False),
        (lambda x: nn.functional.scaled_dot_product_attention(x[None], x[None], x[None]), True),
    ],
)
def test_each_operator_by_its_onnx_type(function: Any, lowers: bool) -> None:
    found, _ = called(Of(function))
    assert bool(np.all(found == low(found))) is lowers


def test_recurrent_layers_round_at_every_step() -> None:
    lstm = nn.LSTM(4, 3)
    found, _ = called(Of(lambda x: lstm(x)[0]), X[:, None])
    np.testing.assert_array_equal(found, low(found))


class Tagger(nn.Module):
    """A recurrent layer of its own, as models have it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = getattr(nn, kind)(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)[0]
        return y


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_are_whole_operators_and_kept_as_the_policy_says(kind: str) -> None:
    model, x = Tagger(kind), X[:, None]
    plain = model(torch.from_numpy(x)).detach().numpy()
    # Other kernels of torch, and nothing rounded to 2**-11: a few units of float32 near 1.
    np.testing.assert_allclose(called(model, x)[0], plain, rtol=0, atol=1e-6)
    rounded, _ = called(model, x, Precision("bfloat16"))
    np.testing.assert_array_equal(rounded, low(rounded, "bfloat16"))


def test_a_kept_module_computes_in_float32_and_its_reader_rounds() -> None:
    model = nn.Sequential(Amplifier(), nn.Tanh())
    found, overflows = called(model, X, Precision("float16", ("0",)))
    np.testing.assert_array_equal(found, np.sign(X))
    assert list(overflows) == ["1 (tanh)"]  # it reads what only float32 holds


def test_what_leaves_the_range_is_named_with_its_size() -> None:
    torch.manual_seed(0)
    found, overflows = called(Loud(), np.ones((2, 8), np.float32))
    assert not np.isfinite(found).all()
    first = next(iter(overflows))
    assert first == "amplifier (mul)"
    assert overflows[first] > HALF.largest


@pytest.mark.parametrize("least", [float(np.finfo(np.float32).min), -1e30])
def test_a_row_hidden_by_a_mask_stays_a_number(least: float) -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.ones_like(x) * least
            return torch.softmax(x[None] + hidden[None, :], -1)

    found, overflows = called(Masked())
    assert np.isfinite(found).all()
    assert overflows == {}


def graph(folder: Path, body: str, name: str = "net.onnx") -> Path:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[3,4] x) => (float[3,4] y) {{{body}}}'
    onnx.save(parser.parse_model(text), folder / name)
    return folder / name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_graph_is_rounded_at_every_lowered_node(tmp_path: Path, dtype: str) -> None:
    path = graph(tmp_path, "a = Add (x, x) b = Exp (a) c = Neg (b) y = Mul (c, x)")
    found = OnnxOriginal(path).lowered(Precision(dtype), {})({"x": X})["y"]
    doubled = low(low(X, dtype) + low(X, dtype), dtype)
    grown = low(np.exp(doubled.astype(float)), dtype)
    np.testing.assert_array_equal(found, low(-grown * low(X, dtype), dtype))


def test_a_graph_names_the_node_that_leaves_the_range(tmp_path: Path) -> None:
    path = graph(
        tmp_path,
        "k = Constant <value = float {30000.0}> () big = Mul (x, k) sum = Add (big, big) "
        "y = Tanh (sum)",
    )
    overflows: dict[str, float] = {}
    OnnxOriginal(path).lowered(HALF, overflows)({"x": X})
    assert overflows == {"sum": 120000.0}
    overflows.clear()
    OnnxOriginal(path).lowered(Precision("float16", ("Add",)), overflows)({"x": X})
    assert overflows == {}


def test_inner_graphs_are_rounded_too(tmp_path: Path) -> None:
    body = """
        n = Constant <value = int64 {2}> ()
        go = Constant <value = bool {1}> ()
        y = Loop (n, go, x) <body = b (int64 i, bool c, float[3,4] v) => (bool d, float[3,4] w)
            { d = Identity (c) w = Mul (v, v) }>
    """
    found = OnnxOriginal(graph(tmp_path, body)).lowered(HALF, {})({"x": X})["y"]
    once = low(low(X) * low(X))
    np.testing.assert_array_equal(found, low(once * once))


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.sampled_from(["float16", "bfloat16"]),
)
@settings(max_examples=60, deadline=None)
def test_what_a_cast_loses_is_counted(array: np.ndarray, dtype: str) -> None:
    cast = Cast.of(array, dtype)
    policy = Precision(dtype)
    with np.errstate(over="ignore"):
        back = low(array, dtype)
    assert cast.overflowed == np.count_nonzero(np.isinf(back))
    assert cast.vanished == np.count_nonzero((back == 0) & (array != 0))
    ordinary = np.isfinite(back) & (np.abs(array) >= policy.smallest)
    if ordinary.size and ordinary.all():
        assert cast.change <= policy.epsilon
    assert Cast.of(back[np.isfinite(back)], dtype).change == 0.0
