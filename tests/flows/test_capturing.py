"""The original runs in a process of its own, whatever it does there."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.flows.toys import X

from ascend_migrate.flows.capturing import capture
from ascend_migrate.pipeline.errors import ModelError, ToolchainError
from ascend_migrate.pipeline.spec import MigrationSpec, make_spec
from ascend_migrate.validators.golden import read_golden

CODE = """
import ctypes, sys
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what
        self.layer = nn.Linear(3, 2)
        print("built")

    def forward(self, x):
        if self.what == "crash" and x.shape[0] == 4:
            ctypes.string_at(0)
        if self.what == "exit":
            sys.exit(0)
        return self.layer(x)
"""


def request(folder: Path, what: str, **source: object) -> MigrationSpec:
    (folder / "net_apart.py").write_text(CODE)
    torch.manual_seed(0)
    torch.save(torch.nn.Linear(3, 2).state_dict(prefix="layer."), folder / "net.pt")
    tables = {
        "name": "net",
        "to": ["onnx"],
        "inputs": [X],
        "source": {"path": "net.pt", **source},
        "model": {"callable": "net_apart:Net", "args": [what]},
        "validation": {"cases": 1},
    }
    return make_spec(tables, subject="test", base=folder)


def test_the_model_is_built_elsewhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec = request(tmp_path, "plain")
    names = capture(spec, tmp_path / "golden")
    assert "net_apart" not in sys.modules
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("built\n")
    golden = read_golden(tmp_path / "golden")
    assert [case.name for case in golden.cases] == names
    state = {name: tensor.double().numpy() for name, tensor in torch.load(spec.source).items()}
    for case in golden.cases:
        assert case.exact is not None
        wide = case.feeds["x"].astype(np.float64)
        expected = wide @ state["layer.weight"].T + state["layer.bias"]
        assert np.abs(case.exact["output_0"] - expected).max() < 1e-14


def test_each_capture_imports_the_code_as_it_is_now(tmp_path: Path) -> None:
    spec = request(tmp_path, "plain")
    capture(spec, tmp_path / "first")
    code = (tmp_path / "net_apart.py").read_text()
    (tmp_path / "net_apart.py").write_text(code.replace("self.layer(x)", "self.layer(x) * 2"))
    capture(spec, tmp_path / "second")
    first, second = (read_golden(tmp_path / name).cases[0] for name in ("first", "second"))
    assert np.array_equal(second.own["output_0"], first.own["output_0"] * 2)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("crash", "case 'longest n=4': its process ended with SIGSEGV; the fault is in native"),
        ("exit", "case 'shortest n=1': its process ended with exit code 0; its own code ends it"),
    ],
)
def test_a_crash_is_one_line_and_leaves_nothing(tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(ToolchainError, match=rf"^model net_apart:Net: {said}") as caught:
        capture(request(tmp_path, what), tmp_path / "golden")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "golden").exists()


def test_the_keys_must_fit_there_too(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not fit Net: missing layer\.bias"):
        capture(request(tmp_path, "plain", drop=["layer.bias"]), tmp_path / "golden")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_one_line(tmp_path: Path) -> None:
    spec = replace(request(tmp_path, "plain"), device="cuda:1")
    with pytest.raises(ModelError, match=r"validation\.device: cuda:1 cannot be used") as raised:
        capture(spec, tmp_path / "golden")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "golden").exists()


def test_the_device_is_recorded(tmp_path: Path) -> None:
    spec = request(tmp_path, "plain")
    assert spec.device == "cpu"
    capture(spec, tmp_path / "golden")
    assert read_golden(tmp_path / "golden").about["device"] == "cpu"
