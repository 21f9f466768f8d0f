"""Sizes in steps and listed sizes, as torch.export takes them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.converters.exporting import all_sizes, arrays, export, feeds, specs
from tests.converters.oracle import run_onnx
from torch import Tensor, nn

from ascend_migrate.converters.torch_to_onnx import convert
from ascend_migrate.pipeline.errors import ConversionError


class Joined(nn.Module):
    """A level of a U-Net: what was halved comes back to where it was."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(2, 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.up(nn.functional.avg_pool1d(x, 2))], 1)


class Halves(nn.Module):
    """The two halves around the middle: odd sizes only."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[2] // 2
        return x[..., :half] + x[..., half + 1 :]


@pytest.mark.parametrize(
    ("model", "dim", "out"),
    [
        (Joined(), "t=4..32/4", "t"),
        (Halves(), "t=5..17/2", "(t//2)"),
        (Halves(), "t=9|17", "2*(t//4)"),
    ],
)
def test_sizes_between_are_never_asked_for(
    model: nn.Module, dim: str, out: str, tmp_path: Path
) -> None:
    inputs = specs([f"x=float32[n=1|2,2,{dim}]"])
    artifact = export(model, inputs, tmp_path)
    graph = onnx.load(str(artifact.path), load_external_data=False).graph
    assert [d.dim_param for d in graph.input[0].type.tensor_type.shape.dim] == ["n", "", "t"]
    assert out in graph.output[0].type.tensor_type.shape.dim[2].dim_param
    for sizes in all_sizes(inputs):
        tensors = feeds(inputs, sizes)
        (found,) = run_onnx(artifact.path, arrays(tensors))
        np.testing.assert_allclose(found, model(tensors["x"]).detach().numpy(), rtol=1e-6)


class LongApart(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[1] > 20 else -x


class Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.ones(16))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.places


class Steps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x[:, 0]
        for place in range(x.shape[1]):
            y = torch.tanh(y) + x[:, place]
        return y


@pytest.mark.parametrize(
    ("model", "dim", "said"),
    [
        (LongApart(), "t=16|32", "t=16|32 was traced without 32"),
        (LongApart(), "t=16..32/8", "t=16..32/8 was traced without 24, 32"),
        (Fixed(), "t=16|32", "dynamic dimension(s) t would be fixed by the model"),
        (Fixed(), "t=8|32", "t=8|32"),
        (Steps(), "t=16|32", "dynamic dimension(s) t would be fixed by the model"),
    ],
)
def test_a_size_that_the_model_fixes_is_named(
    model: nn.Module, dim: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError) as caught:
        convert(model, specs([f"x=float32[n=1|4,{dim}]"]), tmp_path, weights=None, parent="p")
    assert said in str(caught.value)
    assert "__steps" not in str(caught.value)
    assert "\n" not in str(caught.value)
