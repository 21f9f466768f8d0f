"""The model's own code on a device: everything around the device, which this machine lacks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ascend_migrate.converters.checkpoint_to_torch_npu import convert
from ascend_migrate.pipeline.errors import CheckError, ExitCode, ToolchainError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.pipeline.spec import MigrationSpec, make_spec
from ascend_migrate.validators import worker
from ascend_migrate.validators.device import torch_npu, torch_npu_worker
from ascend_migrate.validators.runners import open_runner

CODE = """
import torch

class Doubles(torch.nn.Module):
    def __init__(self, times):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(3))
        self.times = times

    def forward(self, x, low):
        return {"scaled": self.times * self.scale * x, "third": low.bfloat16() / 3}
"""


@pytest.fixture
def spec(tmp_path: Path) -> MigrationSpec:
    (tmp_path / "doubling.py").write_text(CODE)
    save_file({"scale": torch.tensor([1.0, 2.0, 4.0])}, tmp_path / "model.safetensors")
    tables = {
        "name": "toy",
        "to": ["torch-npu"],
        "inputs": ["x=float32[n=1..4,3]", "low=float32[2]"],
        "source": {"path": "model.safetensors"},
        "model": {"callable": "doubling:Doubles", "kwargs": {"times": 2}},
    }
    return make_spec(tables, subject="toy", base=tmp_path)


@pytest.fixture
def artifact(spec: MigrationSpec) -> Artifact:
    folder = spec.source.parent
    weights = Artifact.of(Form.SAFETENSORS, folder, ["model.safetensors"], parent="p")
    return convert(weights, None)


def test_a_golden_file_alone_has_no_code_to_run(artifact: Artifact) -> None:
    with pytest.raises(CheckError, match="validate against the specification"):
        open_runner(artifact, DEFAULT_LIMITS, "torch-npu")


def test_torch_npu_is_missing(artifact: Artifact, spec: MigrationSpec) -> None:
    said = (
        r"^torch-npu: .*model\.safetensors: not loaded: torch_npu cannot be imported; install the "
        r"one that goes with this torch and this CANN, .*No module named 'torch_npu'"
    )
    with pytest.raises(ToolchainError, match=said) as caught:
        open_runner(artifact, DEFAULT_LIMITS, "torch-npu", spec=spec)
    assert caught.value.exit_code == ExitCode.UNABLE
    assert "\n" not in str(caught.value)


def test_what_the_process_does_once_it_has_a_device(
    artifact: Artifact, spec: MigrationSpec, tmp_path: Path
) -> None:
    # The CPU in place of the device; the code around it is the same.
    graphs = torch_npu_worker.Graphs(torch_npu.model_of(spec), lambda: "cpu")
    described = [{"name": item.name} for item in spec.inputs]
    graphs.load("0", str(artifact.root / "model.safetensors"), described)
    x, low = np.array([[1, 1, 3]], np.float32), np.array([1, 2], np.float32)
    np.savez(tmp_path / "feeds.npz", x, low)
    graphs.run("0", str(tmp_path / "feeds.npz"), str(tmp_path / "outputs.npz"))
    with np.load(tmp_path / "outputs.npz") as found:
        names = found[worker.NAMES].tolist()
        arrays = dict(zip(names, (found[f"arr_{i}"] for i in range(len(names))), strict=True))
    assert arrays["scaled"].tolist() == [[2, 4, 24]]
    assert arrays["third"].dtype == np.float32  # bfloat16 does not travel; its values do
    assert arrays["third"].tolist() == (torch.tensor([1.0, 2.0]).bfloat16() / 3).float().tolist()


def test_what_is_set_before_torch_is_imported() -> None:
    assert torch_npu.ENVIRONMENT == {
        "TORCH_NPU_USE_COMPATIBLE_IMPL": "1",
        "TORCH_NPU_FALLBACK_CPU_DISABLE": "1",
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
    }
