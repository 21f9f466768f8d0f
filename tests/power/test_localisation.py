"""Bar: of faults planted in one place, at least 95 % are found there or right behind it.

The whole run is `make power`; what it came to is published.
"""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.architectures import ARCHITECTURES
from tests.power.located import (
    FAULTS,
    SECONDS,
    WITNESSES,
    Model,
    converted,
    faults_of,
    published,
    section,
)

from ascend_migrate.converters import onnx_to_mindir
from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.localisation.localise import localise
from ascend_migrate.validators.localisation.witness import Witness, at_hand, on_record

NAMED_WITHIN = 10.0
"""Seconds in which the first bad module of a model with two layers exchanged is named."""


def test_the_bar_is_reached_in_every_model() -> None:
    assert list(published()) == list(ARCHITECTURES)
    assert list(faults_of(published())) == []
    for found in published().values():
        assert FAULTS // 3 <= found.tried <= FAULTS
        assert list(found.missed) == list(WITNESSES)


def test_the_section_names_every_miss() -> None:
    said = section(published())
    for found in published().values():
        for lines in found.missed.values():
            assert all(f"| {line} |" in said for line in lines)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    found = converted(request.param, tmp_path_factory.mktemp(request.param))
    onnx_to_mindir.convert(found.artifact.path, found.made, inputs=found.inputs, parent="")
    return found


def witnesses(model: Model) -> list[Witness]:
    return [at_hand(model.original), on_record(model.record)]


@pytest.mark.power
def test_exchanged_layers_are_named_in_time(model: Model, tmp_path: Path) -> None:
    graph = onnx.load(model.artifact.path)
    tensors = {t.name: t for t in graph.graph.initializer}
    pairs = [(n, n.replace("layers.0", "layers.1")) for n in tensors if n.startswith("layers.0.")]
    if not pairs:
        pytest.skip("has no two layers alike")
    for one, other in pairs:
        first, second = (numpy_helper.to_array(tensors[n]) for n in (one, other))
        tensors[one].CopyFrom(numpy_helper.from_array(second, one))
        tensors[other].CopyFrom(numpy_helper.from_array(first, other))
    onnx.save(graph, tmp_path / "model.onnx")
    artifact = Artifact.of(Form.ONNX, tmp_path, ["model.onnx"], parent="")
    for witness in witnesses(model):
        begun = time.monotonic()
        found = localise(artifact, model.truth, witness, {}, None)
        assert time.monotonic() - begun < NAMED_WITHIN
        assert found["module"].startswith("layers.0"), found


@pytest.mark.power
@pytest.mark.mindspore
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_weight_is_found_in_mindir(model: Model, place: float, tmp_path: Path) -> None:
    shutil.copytree(model.made, tmp_path / "made")
    path = tmp_path / "made" / "model.mindir"
    graph = pb.ModelProto.FromString(path.read_bytes())
    floats = [t for t in graph.graph.parameter if t.data_type == pb.TensorProto.FLOAT]
    named = [t for t in floats if "." in t.name]
    tensor = named[int(place * len(named))]
    tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) * np.float32(-1.5)).tobytes()
    path.write_bytes(graph.SerializeToString(deterministic=True))
    artifact = replace(
        Artifact.of(Form.MINDIR, tmp_path / "made", ["model.mindir"], parent=""), notes=()
    )
    module = tensor.name.removeprefix("main:").rpartition(".")[0]
    for witness in witnesses(model):
        found = localise(artifact, model.truth, witness, {}, None, seconds=SECONDS)
        assert found.get("module") == module, found
