"""Faults that whole architectures brought to light, each as the smallest model that has it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.converters.exporting import export, specs
from torch import Tensor, nn

from ascend_migrate.converters import onnx_to_mindir
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.ledger.stored_weights import stored_weights
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner


class Buckets(nn.Module):
    """Positions in logarithmic buckets, as in T5, MPNet and WavLM."""

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(1, x.shape[1] + 1)
        ratio = torch.log(places.float() / 8) / math.log(16) * 8
        return torch.where(places < 8, places, 8 + ratio.to(torch.int64)) + 0 * x.long()


class Scaled(nn.Module):
    """A number of its own, in the exponent, as in CLIP and SigLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.6592))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.exp()


class Hidden(nn.Module):
    """Writes to the places of a mask, of which there may be none, as GIT does."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[x > 0] = -math.inf
        return y


def converted(model: nn.Module, inputs: str, folder: Path) -> Artifact:
    declared = specs([inputs])
    onnx = export(model, declared, folder)
    return onnx_to_mindir.convert(onnx.path, folder, inputs=declared, parent=onnx.digest)


@pytest.mark.mindspore
def test_logarithmic_buckets_are_the_same_integers(
    tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    model = Buckets()
    artifact = converted(model, "x=float32[1,time=2..300]", tmp_path)
    runner = MindSporeRunner(artifact, process=mindspore_process)
    x = np.zeros((1, 300), np.float32)
    (found,) = runner.run({"x": x}).values()
    np.testing.assert_array_equal(found, model(torch.from_numpy(x)).numpy())


def test_a_weight_of_rank_0_stays_in_the_file(tmp_path: Path) -> None:
    artifact = converted(Scaled(), "x=float32[n=1..4,3]", tmp_path)
    stored = {item.name: item.array for item in stored_weights(artifact)}
    assert stored["scale"].tolist() == np.float32(2.6592)


@pytest.mark.mindspore
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_mask_may_hide_nothing(
    sign: int, tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    artifact = converted(Hidden(), "x=float32[n=1..4,3]", tmp_path)
    runner = MindSporeRunner(artifact, process=mindspore_process)
    x = np.full((2, 3), sign, np.float32)
    (found,) = runner.run({"x": x}).values()
    np.testing.assert_array_equal(found, Hidden()(torch.from_numpy(x)).numpy())
