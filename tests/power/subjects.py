"""The models that faults are planted in: made ready in one process, one at a time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tests.architectures import ARCHITECTURES, saved
from tests.zoo.requests import PASSING

from ascend_migrate.converters import checkpoint_to_safetensors, torch_to_onnx
from ascend_migrate.flows.sources import CheckpointSource, open_source
from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.pipeline.spec import read_spec
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import Golden, Recorded, capture, read_golden
from ascend_migrate.validators.torch_original import TorchOriginal

PUBLIC = ("attacut-sc", "deepcr-acs-wfc", "rxnmapper", "silero-vad-script", "wordllama", "beatnet")
SUBJECTS = (*PUBLIC, *ARCHITECTURES)

CASES = 8
"""Random cases beside the structured ones: the product's default."""

SMALLER = {
    "deepcr-acs-wfc": ("x=float32[batch=1..2,1,32,32]:0..200",),
    "rxnmapper": (
        "input_ids=int64[batch=1..2,length=8..24]:5..590",
        "attention_mask=int64[batch,length]:0..1",
    ),
}
"""Sizes at which hundreds of runs take minutes; what a weight does is the same at any size."""

_PROBES = 977
"""Seed of the inputs that decide what is above the noise floor."""


@dataclass(frozen=True)
class Subject:
    """A correct conversion and what it is judged by.

    Attributes:
        artifact: its ONNX form.
        truth: the original's answers.
        probes: its answers to inputs of another seed.
    """

    artifact: Artifact
    truth: Golden
    probes: tuple[Recorded, ...]


def ready(name: str, folder: Path) -> Subject:
    """Exports a model and records its answers, as the product does."""
    build, checkpoint, inputs = of_package(name, folder) if name in PUBLIC else _own(name, folder)
    made = folder / "made"
    made.mkdir()
    weights = checkpoint_to_safetensors.convert(checkpoint, made)
    artifact = torch_to_onnx.convert(
        build(), inputs, made, weights=weights.path, parent=checkpoint.digest
    )
    original = TorchOriginal(build, checkpoint)

    def recorded(seed: int) -> Golden:
        path = folder / f"golden-{seed}.safetensors"
        capture(original, make_cases(inputs, seed=seed, count=CASES), path, source="")
        return read_golden(path)

    truth, probes = recorded(0), recorded(_PROBES)
    judged = {_key(case) for case in truth.cases}
    fresh = tuple(case for case in probes.cases if _key(case) not in judged)
    return Subject(artifact, truth, fresh)


def _key(case: Recorded) -> tuple[bytes, ...]:
    return tuple(array.tobytes() for array in case.feeds.values())


Found = tuple[Callable[[], torch.nn.Module], Checkpoint, tuple[InputSpec, ...]]


def of_package(name: str, folder: Path) -> Found:
    """Returns what builds a public model, its checkpoint and its inputs."""
    request = PASSING[name]
    request = replace(request, inputs=SMALLER.get(name, request.inputs))
    source = open_source(read_spec(request.write(name, folder)))
    assert isinstance(source, CheckpointSource)
    return source.build, source.weights, source.inputs


def _own(name: str, folder: Path) -> Found:
    architecture = ARCHITECTURES[name]
    return saved(architecture.build, architecture.inputs, folder / "own.safetensors")
