from pathlib import Path

import numpy as np
import pytest
import torch
from tests.validators import toys
from torch import Tensor, nn

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import ModelError
from ascend_migrate.validators import torch_float64
from ascend_migrate.validators.torch_float64 import widened, widening
from ascend_migrate.validators.torch_original import to_numpy, to_torch

FEEDS = {"x": np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)}


def by_hand(state: dict[str, Tensor], x: np.ndarray) -> np.ndarray:
    """The model `Plain` in numpy's float64."""
    wide = {name: t.double().numpy() for name, t in state.items()}
    y = x.astype(np.float64) @ wide["first.weight"].T + wide["first.bias"]
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    y = np.tanh(y * wide["norm.weight"] + wide["norm.bias"])
    return np.asarray((y @ wide["second.weight"].T + wide["second.bias"]) * wide["scale"])


def weights(folder: Path) -> dict[str, Tensor]:
    checkpoint = toys.checkpoint_of(toys.Plain(), folder)
    return {name: torch.from_numpy(checkpoint.read(name).copy()) for name in checkpoint.tensors}


def test_own_precision_and_float64_twin(tmp_path: Path) -> None:
    original = toys.original(toys.Plain, tmp_path)
    own = original.session()(FEEDS)["output_0"]
    exact = original.exact()(FEEDS)["output_0"]
    expected = by_hand(weights(tmp_path), FEEDS["x"])
    assert own.dtype == np.float32
    assert exact.dtype == np.float64
    assert np.abs(exact - expected).max() < 1e-14
    assert 1e-9 < np.abs(own - expected).max() < 1e-5


def test_the_twin_is_exact_though_the_code_names_float32(tmp_path: Path) -> None:
    original = toys.original(toys.Narrow, tmp_path)
    exact = original.exact()(FEEDS)["output_0"]
    table = torch.linspace(0, 1, 5) / 3  # was made in float32, before the model was widened
    expected = by_hand(weights(tmp_path), FEEDS["x"]) + table.double().numpy()
    expected = expected + np.float64(np.float32(0.1)) + 1 / 3
    assert exact.dtype == np.float64
    assert np.abs(exact - expected).max() < 1e-14


def test_widening_reaches_tied_and_recurrent_weights() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, batch_first=True)
    x = torch.rand(2, 5, 3)
    narrow = layer(x)[0].detach()
    with widening(), torch.no_grad():
        wide = widened(layer)(x.double())[0]
    assert wide.dtype == torch.float64
    assert 0 < (wide - narrow).abs().max().item() < 1e-6
    assert torch.get_default_dtype() is torch.float32


class Mixed(nn.Module):
    """Its weights are used by modules, by others than their own, tied, and outside of any."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 6)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.tokens.weight
        self.recurrent = nn.LSTM(6, 6, batch_first=True)
        self.slope = nn.PReLU()
        self.scale = nn.Parameter(torch.rand(6))
        self.first = nn.Linear(6, 6)
        self.inner = nn.Sequential(self.first, nn.LayerNorm(6))
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, ids: Tensor) -> Tensor:
        self.calls += 1 / 3
        x = self.recurrent(self.tokens(ids))[0] * self.scale
        x = self.slope(self.inner(x)) @ self.first.weight.t()
        x = x.to(self.scale.dtype) + self.calls
        y: Tensor = self.head(x)
        return y


class Writing(nn.Module):
    """Changes a weight of its own in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        self.weight.mul_(1 / 3)
        return x * self.weight


@pytest.mark.parametrize(
    ("kind", "given"), [(Mixed, torch.tensor([[1, 2, 6], [0, 3, 3]])), (Writing, torch.ones(2, 3))]
)
def test_wide_while_it_runs_is_as_wide_as_ever(kind: type[nn.Module], given: Tensor) -> None:
    found = []
    for large in (0, 1 << 40):
        torch.manual_seed(0)
        model = widened(kind().eval(), large)
        with widening(), torch.no_grad():
            found.append([model(given) for _ in range(3)])
        narrow = any(parameter.dtype == torch.float32 for parameter in model.parameters())
        assert narrow is (large == 0 and kind is Mixed)
    for one, other in zip(*found, strict=True):
        assert one.dtype == torch.float64
        assert torch.equal(one, other)
    assert not torch.equal(found[0][0], found[0][2])


@pytest.mark.parametrize("block", [1, 100, 200])
def test_a_weight_that_is_widened_in_blocks_is_as_wide_as_ever(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.tensor([[1, 2, 6], [0, 3, 3]])
    found = []
    for size in (block, 1 << 40):
        monkeypatch.setattr(torch_float64, "_BLOCK", size)
        torch.manual_seed(0)
        model = widened(Mixed().eval(), 0)
        with widening(), torch.no_grad():
            found.append(model(ids))
    assert found[0].dtype == torch.float64
    # What is summed is the same; how a product is split decides the order of some sums.
    assert found[1].abs().max() > 0
    assert (found[0] - found[1]).abs().max() <= 1e-14 * found[1].abs().max()


class Recurrent(nn.Module):
    """A layer that compares its input's type with its weights' in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.view(x.shape[0], 2, 4))[0]
        return y


def test_inputs_are_widened_before_the_model_sees_them(tmp_path: Path) -> None:
    original = toys.original(Recurrent, tmp_path)
    exact, own = original.exact()(FEEDS)["output_0"], original.session()(FEEDS)["output_0"]
    assert exact.dtype == np.float64
    assert 0 < np.abs(exact - own).max() < 1e-6


def test_each_session_begins_anew_and_remembers(tmp_path: Path) -> None:
    original = toys.original(toys.Stateful, tmp_path)
    session = original.session()
    first = session(FEEDS)["output_0"]
    assert not np.array_equal(session(FEEDS)["output_0"], first)
    assert np.array_equal(original.session()(FEEDS)["output_0"], first)


def test_outputs_are_named_like_those_of_a_graph(tmp_path: Path) -> None:
    outputs = toys.original(toys.Named, tmp_path).session()(FEEDS)
    assert list(outputs) == ["logits", "states_0", "states_1", "x_out"]
    assert np.array_equal(outputs["x_out"], outputs["logits"] + 1)


def test_the_ledger_knows_what_a_call_reads(tmp_path: Path) -> None:
    found = toys.original(toys.Plain, tmp_path).weights(FEEDS)
    assert {name for name, weight in found.items() if not weight.used} == {"count"}
    assert found["first.weight"].shape == (16, 8)
    assert found["first.weight"].dtype == "float32"


def test_a_model_that_fails_is_one_line_with_the_reason(tmp_path: Path) -> None:
    session = toys.original(toys.Failing, tmp_path).session()
    with pytest.raises(ModelError) as caught:
        session({"x": np.zeros((3, 8), np.float32)})
    assert "IndexError: too many rows" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool"]
)
def test_arrays_and_tensors_keep_type_and_bits(dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(numpy_dtype(dtype))
    tensor = to_torch(array)
    assert tensor.dtype == getattr(torch, dtype)
    back = to_numpy(tensor.T)
    assert back.dtype == array.dtype
    assert back.tobytes() == array.T.copy().tobytes()
