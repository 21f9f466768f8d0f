"""From a model to both graphs, and from a declared input to tensors of every size."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ascend_migrate.converters.torch_to_onnx import convert
from ascend_migrate.pipeline.inputs import InputSpec, dynamic_dims, parse_inputs
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.tolerances import (
    FLOOR,
    FLOOR_MINDSPORE,
    NOISE_RMS,
    Limit,
    allowed,
)

EPSILON = 2.0**-24

ONNXRUNTIME, MINDSPORE = FLOOR, FLOOR_MINDSPORE
"""What each runtime is accurate to at best, by the product's own limits."""


def specs(texts: Sequence[str]) -> tuple[InputSpec, ...]:
    inputs, faults = parse_inputs(texts)
    assert not faults
    return inputs


def export(model: nn.Module, inputs: Sequence[InputSpec], folder: Path) -> Artifact:
    weights = folder / "model.safetensors"
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, weights)
    return convert(model.eval(), inputs, folder, weights=weights, parent="p")


def all_sizes(inputs: Sequence[InputSpec]) -> list[dict[str, int]]:
    """The least, a middle and the greatest size of every dynamic dimension at once."""
    dims = dynamic_dims(inputs).values()
    return [
        {d.name: d.low for d in dims},
        {d.name: d.sizes[(len(d.sizes) - 1) // 2] for d in dims},
        {d.name: d.high for d in dims},
    ]


def feeds(inputs: Sequence[InputSpec], sizes: dict[str, int]) -> dict[str, Tensor]:
    """Random tensors; the first place of a mask of several is 1, as in every real batch."""
    torch.manual_seed(5)
    made = {}
    for item in inputs:
        shape = item.sizes(sizes)
        if item.dtype == "int64":
            made[item.name] = torch.randint(int(item.low or 0), int(item.high or 1) + 1, shape)
        else:
            made[item.name] = torch.randn(shape)
        if "mask" in item.name:
            made[item.name][:, 0] = 1
    return made


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


class Original:
    """A model together with its float64 twin, which says what its own rounding costs."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model.eval()
        self._double = copy.deepcopy(model).double()

    def assert_close(
        self, tensors: Mapping[str, Tensor], found: Sequence[np.ndarray], floor: Limit
    ) -> None:
        """Accepts what is no further from the twin than the product's own limit allows."""
        wide = {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}
        own, exact = _outputs(self._model, tensors), _outputs(self._double, wide)
        assert [y.shape for y in found] == [y.shape for y in own]
        for mine, noisy, right in zip(found, own, exact, strict=True):
            assert mine.dtype == noisy.dtype
            noise, size = _rms(noisy - right), _rms(right)
            limit = allowed(noise, size, EPSILON, NOISE_RMS, floor)
            assert _rms(mine - right) <= limit


def _outputs(model: nn.Module, tensors: Mapping[str, Tensor]) -> list[np.ndarray]:
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(model(**tensors))
    return [leaf.numpy() for leaf in leaves]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
