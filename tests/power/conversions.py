"""Correct conversions: each model in several sizes, with several weights, exported in several ways.

None of them may be refused, so every one is made by the product's own converters, untouched.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tests import architectures as known
from tests.power.subjects import PUBLIC, of_package
from torch import Tensor, nn

from ascend_migrate.converters import checkpoint_to_safetensors, onnx_to_mindir, torch_to_onnx
from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Artifact

OPSETS = (17, 18)
SEEDS = (0, 1)

_SIZES: dict[str, tuple[Callable[[], nn.Module], ...]] = {
    "resnet": (known.ResNet, lambda: known.ResNet(48)),
    "bert": (known.Bert, lambda: known.Bert(96, 4)),
    "llama": (known.Llama, lambda: known.Llama(96, 4)),
    "unet": (known.UNet, lambda: known.UNet(16)),
    "recurrent": (known.Recurrent,),
}

NAMES = (
    *PUBLIC,
    *(
        f"{name}-{size}-{seed}"
        for name, s in _SIZES.items()
        for size in range(len(s))
        for seed in SEEDS
    ),
)

IN_FLOAT16 = frozenset({"attacut-sc", *(name for name in NAMES if name.endswith("-0"))})
IN_BFLOAT16 = frozenset({"resnet-0-0", "bert-0-0", "llama-0-1", "recurrent-0-1"})
IN_MINDIR = frozenset({"attacut-sc", "wordllama", *(f"{name}-0-0" for name in _SIZES)})


@dataclass(frozen=True)
class Source:
    """A model before its conversion."""

    build: Callable[[], nn.Module]
    checkpoint: Checkpoint
    inputs: tuple[InputSpec, ...]


@dataclass(frozen=True)
class Conversion:
    """One artifact; ``precision`` is None where it keeps the model's types."""

    said: str
    artifact: Artifact
    precision: Precision | None


def source(name: str, folder: Path) -> Source:
    """Returns a model by its name in `NAMES`."""
    if name in PUBLIC:
        return Source(*of_package(name, folder))
    kind, size, seed = name.split("-")
    make = _SIZES[kind][int(size)]
    torch.manual_seed(int(seed))
    state = {n: _other(t, int(seed)) for n, t in known.trained(make()).state_dict().items()}
    inputs = known.ARCHITECTURES[kind].inputs
    return Source(*known.saved(make, inputs, folder / "own.safetensors", state))


def conversions(name: str, given: Source, folder: Path) -> Iterator[Conversion]:
    """Yields the model at both opsets and, for some names, in lower precision and as MindIR."""
    plans: list[tuple[int, str | None]] = [(opset, None) for opset in OPSETS]
    plans += [(17, "float16")] * (name in IN_FLOAT16) + [(17, "bfloat16")] * (name in IN_BFLOAT16)
    for opset, dtype in plans:
        into = folder / f"{dtype or 'own'}-{opset}"
        into.mkdir()
        weights = checkpoint_to_safetensors.convert(given.checkpoint, into)
        policy = Precision(dtype) if dtype else None
        said = f"{name} in {dtype or 'its own types'} at opset {opset}"
        made = torch_to_onnx.convert(
            given.build(),
            given.inputs,
            into,
            opset=opset,
            precision=policy,
            runnable=dtype != "bfloat16",
            weights=weights.path,
            parent=given.checkpoint.digest,
        )
        if dtype != "bfloat16":
            yield Conversion(said, made, policy)
        if dtype == "bfloat16" or (name in IN_MINDIR and opset == OPSETS[0]):
            mindir = onnx_to_mindir.convert(
                made.path, into, inputs=given.inputs, parent=made.digest
            )
            yield Conversion(f"{said} as MindIR", mindir, policy)


def _other(tensor: Tensor, seed: int) -> Tensor:
    """Returns weights of the same size, other ones for each seed; vectors stay."""
    if not seed or tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor.contiguous()
    generator = torch.Generator().manual_seed(seed)
    return tensor * (1 + 0.5 * torch.randn(tensor.shape, generator=generator))
