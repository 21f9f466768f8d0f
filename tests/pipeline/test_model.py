"""The original model: built by its own code, filled with exactly the checkpoint's numbers."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import ExitCode, ModelError
from ascend_migrate.pipeline.model import build_model, load_state

CODE = """
import torch
print("hello from the model's code")

class Toy(torch.nn.Module):
    def __init__(self, width, *, bias=True):
        super().__init__()
        self.layer = torch.nn.Linear(width, 2, bias=bias)

class Outer:
    Inner = Toy
    @staticmethod
    def make(**kwargs):
        return Toy(**kwargs)

def fails(): raise ValueError("several\\n  lines\\tof text")
def leaves(): raise SystemExit(3)
def silent(): raise KeyError
def number(): return 7
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module ``toy_code``, forgotten afterwards."""
    (tmp_path / "toy_code.py").write_text(CODE)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("toy_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "args", "kwargs"),
    [
        ("toy_code:Toy", [3], {}),
        ("toy_code:Toy", [], {"width": 3, "bias": True}),
        ("toy_code:Outer.Inner", [3], {}),
        ("toy_code:Outer.make", [], {"width": 3}),
    ],
)
def test_builds(
    code: Path,
    target: str,
    args: list[Any],
    kwargs: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = list(sys.path)
    model = build_model(target, args, kwargs, code)
    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == {
        "layer.weight": (2, 3),
        "layer.bias": (2,),
    }
    assert not model.training
    assert sys.path == path
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello from the model's code\n")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("toy_code", "expected MODULE:CALLABLE"),
        (":Toy", "expected MODULE:CALLABLE"),
        ("toy_code:", "expected MODULE:CALLABLE"),
        ("toy_absent:Toy", "no module named 'toy_absent' in "),
        ("toy_code:Absent", "has no attribute 'Absent'"),
        ("toy_code:Toy", "TypeError: Toy.__init__() missing 1 required positional argument"),
        ("toy_code:fails", "ValueError: several lines of text"),
        ("toy_code:leaves", "SystemExit: 3"),
        ("toy_code:silent", "model toy_code:silent: KeyError"),
        ("toy_code:number", "returned int, not a torch.nn.Module"),
        ("toy_broken:Toy", "SyntaxError"),
    ],
)
def test_says_why_it_cannot_be_built(code: Path, target: str, reason: str) -> None:
    (code / "toy_broken.py").write_text("def (:\n")
    path = list(sys.path)
    with pytest.raises(ModelError) as caught:
        build_model(target, [], {}, code)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.INPUT
    assert sys.path == path


def test_a_module_of_the_same_name_from_elsewhere_is_never_used(code: Path) -> None:
    build_model("toy_code:Toy", [3], {}, code)
    other = code / "other"
    other.mkdir()
    (other / "toy_code.py").write_text(CODE)
    with pytest.raises(ModelError, match="already loaded from") as caught:
        build_model("toy_code:Toy", [3], {}, other)
    assert str(other / "toy_code.py") in str(caught.value)
    assert str(code / "toy_code.py") in str(caught.value)
    assert build_model("toy_code:Toy", [3], {}, code) is not None
    (other / "sys.py").write_text(CODE)
    with pytest.raises(ModelError, match="already loaded from inside Python"):
        build_model("sys:Toy", [3], {}, other)


def test_an_installed_module_needs_no_folder(tmp_path: Path) -> None:
    assert isinstance(build_model("torch.nn:Linear", [2, 3], {}, None), nn.Linear)
    assert isinstance(build_model("torch.nn:Linear", [2, 3], {}, tmp_path), nn.Linear)


def fill(model: nn.Module, state: Mapping[str, Any], folder: Path, **allowed: Any) -> list[str]:
    torch.save(dict(state), folder / "a.pt")
    return list(load_state(model, open_checkpoint(folder / "a.pt"), **allowed))


def fresh(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """A state for `Linear(3, 2)` whose numbers no initialisation gives."""
    return {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([7.0, 8.0]), **changes}


def same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return found.dtype == wanted.dtype and torch.equal(found, wanted)


def test_fills_every_tensor(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.LSTM(3, 4)).train()
    state = {
        name: torch.full_like(value, 5 + at)
        for at, (name, value) in enumerate(model.state_dict().items())
    }
    assert fill(model, state, tmp_path) == []
    found = model.state_dict()
    assert list(found) == list(state)
    assert all(same(found[name], value) for name, value in state.items())
    assert not model.training


@pytest.mark.parametrize(
    ("state", "reasons"),
    [
        ({"weight": torch.ones(2, 3)}, ["missing bias"]),
        (fresh(other=torch.ones(1)), ["unexpected other"]),
        (fresh(weight=torch.ones(3, 2)), ["shape of weight is [3, 2], the model's [2, 3]"]),
        (fresh(bias=torch.ones(2, 1)), ["shape of bias is [2, 1], the model's [2]"]),
        (fresh(bias=torch.tensor(1.0)), ["shape of bias is [], the model's [2]"]),
        (
            {"weigth": torch.ones(2, 3), "bias": torch.ones(3)},
            ["missing weight", "unexpected weigth", "shape of bias is [3], the model's [2]"],
        ),
        (fresh(**{"a\nb": torch.ones(1)}), ["unexpected 'a\\nb'"]),
        (fresh(bias=torch.tensor([1j, 2j])), ["bias is torch.complex64 and not exact as"]),
        (fresh(bias=torch.tensor([2**24 + 1, 0])), ["bias is torch.int64 and not exact as"]),
    ],
)
def test_every_name_must_fit(tmp_path: Path, state: dict[str, Any], reasons: list[str]) -> None:
    model = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        fill(model, state, tmp_path)
    for reason in (f"{tmp_path / 'a.pt'} does not fit Linear: ", *reasons):
        assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(same(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_allowed_is_noted(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    own = model.bias.clone()
    state = {"weight": torch.ones(2, 3), "head.a": torch.ones(1), "head.b": torch.ones(1)}
    notes = fill(model, state, tmp_path, allow_missing=["bi*"], allow_unexpected=["head.?"])
    assert notes == [
        "bias is not in the checkpoint and keeps the value of the model's code",
        "head.a is in the checkpoint and not in the model",
        "head.b is in the checkpoint and not in the model",
    ]
    assert same(model.bias, own)
    assert same(model.weight, torch.ones(2, 3))
    with pytest.raises(ModelError, match=r"unexpected head\.b"):
        fill(model, state, tmp_path, allow_missing=["*"], allow_unexpected=["head.a"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2])
def test_the_type_stays_that_of_the_checkpoint(tmp_path: Path, dtype: torch.dtype) -> None:
    model = nn.Linear(3, 2)
    state = {name: value.to(dtype) for name, value in fresh().items()}
    assert fill(model, state, tmp_path) == []
    assert {value.dtype for value in model.state_dict().values()} == {dtype}
    assert bytes(model.weight.detach().reshape(-1).view(torch.uint8).tolist()) == bytes(
        state["weight"].reshape(-1).view(torch.uint8).tolist()
    )


def test_mixed_types_are_kept_and_noted(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    notes = fill(model, fresh(bias=torch.tensor([0.5, 2.0]).half()), tmp_path)
    assert notes == ["the weights mix torch.float16 and torch.float32, kept as trained"]
    assert model.bias.dtype == torch.float16


@pytest.mark.parametrize(
    "value", [torch.tensor([3, 4]), torch.tensor([True, False]), torch.tensor([3, 4]).byte()]
)
def test_whole_numbers_become_the_models_type_where_that_is_exact(
    tmp_path: Path, value: torch.Tensor
) -> None:
    model = nn.Linear(3, 2)
    fill(model, fresh(bias=value), tmp_path)
    assert same(model.bias, value.float())


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_number_without_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Torch before 0.4 saved them with one element."""
    model = nn.BatchNorm1d(1)
    state = dict(model.state_dict()) | {"num_batches_tracked": torch.full(shape, 9)}
    fill(model, state, tmp_path)
    counter = model.num_batches_tracked
    assert isinstance(counter, torch.Tensor)
    assert same(counter, torch.tensor(9))


class Tied(nn.Module):
    """An embedding whose weight is also the head's, and a layer that is there twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.embed.weight
        self.one = nn.Linear(3, 3)
        self.two = self.one


TIED = {
    "embed.weight": torch.arange(12.0).reshape(4, 3),
    "head.weight": torch.arange(12.0).reshape(4, 3),
    "one.weight": torch.ones(3, 3),
    "one.bias": torch.ones(3),
    "two.weight": torch.ones(3, 3),
    "two.bias": torch.ones(3),
}


@pytest.mark.parametrize(
    "absent", [(), ("head.weight",), ("embed.weight",), ("two.weight", "one.bias")]
)
def test_ties_stay_ties(tmp_path: Path, absent: tuple[str, ...]) -> None:
    model = Tied()
    assert fill(model, {n: t for n, t in TIED.items() if n not in absent}, tmp_path) == []
    assert model.head.weight is model.embed.weight
    assert model.two is model.one
    assert all(same(value, TIED[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("other", [torch.zeros(4, 3), TIED["head.weight"].half()])
def test_a_tie_that_the_checkpoint_does_not_know(tmp_path: Path, other: torch.Tensor) -> None:
    state = TIED | {"head.weight": other}
    with pytest.raises(ModelError, match=r"head\.weight differs from the names that the model"):
        fill(Tied(), state, tmp_path)


def test_not_a_number_is_no_difference_between_tied_names(tmp_path: Path) -> None:
    odd = torch.full((4, 3), float("nan"))
    fill(Tied(), TIED | {"head.weight": odd, "embed.weight": odd.clone()}, tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers(tmp_path: Path, prefix: str) -> None:
    model = nn.Linear(3, 2)
    fill(model, {f"{prefix}{name}": value for name, value in fresh().items()}, tmp_path)
    assert same(model.weight, fresh()["weight"])


class Wrapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 2)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_model_that_is_a_wrapper_itself(tmp_path: Path, prefix: str) -> None:
    model = Wrapper()
    fill(model, {f"{prefix}{name}": value for name, value in fresh().items()}, tmp_path)
    assert same(model.module.weight, fresh()["weight"])


def test_lazy_models_must_have_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"lazy parameters \(weight, bias\)"):
        fill(nn.LazyLinear(2), fresh(), tmp_path)


def test_buffers_that_are_not_kept_are_not_asked_for(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    model.register_buffer("cache", torch.ones(1), persistent=False)
    assert fill(model, fresh(), tmp_path) == []


def test_gradients_are_as_the_code_wants_them(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    fill(model, fresh(), tmp_path)
    assert (model.weight.requires_grad, model.bias.requires_grad) == (True, False)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "recurrent": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), (5, 1, 3)),
    "gru": (lambda: nn.GRU(3, 4), (5, 1, 3)),
    "normed": (lambda: nn.Sequential(nn.Conv1d(3, 3, 1), nn.BatchNorm1d(3)), (1, 3, 4)),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), (1, 3)),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)), (1, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(6, 2, 8), (5, 1, 6)),
}


@pytest.mark.parametrize("name", MODELS)
def test_computes_as_after_torchs_own_loading(tmp_path: Path, name: str) -> None:
    make, shape = MODELS[name]
    trained, ours, theirs = make().eval(), make().eval(), make().eval()
    fill(ours, trained.state_dict(), tmp_path)
    theirs.load_state_dict(trained.state_dict())
    x = torch.linspace(-1, 1, math.prod(shape)).reshape(shape)
    with torch.no_grad():
        found, wanted = ours(x), theirs(x)
    for one, other in zip(pytree.tree_leaves(found), pytree.tree_leaves(wanted), strict=True):
        assert torch.equal(one, other)
