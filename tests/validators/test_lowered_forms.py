"""Whole models in lower precision, in every form, on the runtimes that judge them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.architectures import ARCHITECTURES
from tests.validators import sabotage
from tests.validators.lowering import (
    Lowered,
    Mlp,
    change_weight,
    copied,
    failed,
    faults,
    judged,
    lowered,
)
from torch import nn

from ascend_migrate.pipeline.mindir_format import DATA_TYPES, read_model
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Artifact, Form

pytestmark = [pytest.mark.mindspore, pytest.mark.precision]


def known(name: str) -> tuple[Callable[[], nn.Module], tuple[str, ...]]:
    return ARCHITECTURES[name].build, ARCHITECTURES[name].inputs


BOTH = (Form.ONNX, Form.MINDIR)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], str]] = {
    "mlp": (Mlp, ("x=float32[batch=1..5,8]",), "layers.2.weight"),
    "cnn": (*known("resnet"), "second.weight"),
    "block": (*known("bert"), "layers.0.up.weight"),
    "lstm": (*known("recurrent"), "head.weight"),
}
WITH_EPSILON = ("cnn", "block")


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    make, inputs, _ = MODELS[request.param]
    return lowered(make, inputs, tmp_path_factory.mktemp(request.param), forms=BOTH)


@pytest.fixture(params=BOTH)
def copy(model: Lowered, request: pytest.FixtureRequest, tmp_path: Path) -> Artifact:
    return copied(model.artifacts[request.param], tmp_path)


def test_float16_passes_at_every_size(model: Lowered, copy: Artifact) -> None:
    verdict = judged(model, copy)
    assert list(faults(verdict)) == []
    assert {"precision.range", "precision.graph"} <= {f.check for f in verdict.findings}


def test_one_percent_in_one_weight_fails_three_times(
    model: Lowered, copy: Artifact, request: pytest.FixtureRequest
) -> None:
    name = MODELS[request.node.callspec.params["model"]][2]
    change_weight(copy, name, lambda array: array * np.float32(1.01))
    assert {"weights.ledger", "precision.graph"} <= failed(judged(model, copy))


def test_a_wrong_epsilon_fails(
    model: Lowered, copy: Artifact, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["model"] not in WITH_EPSILON:
        return
    sabotage.change_epsilon(copy)
    assert failed(judged(model, copy)) == {"precision.graph"}


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_mindir_is_bfloat16_and_passes(name: str, tmp_path: Path) -> None:
    make, inputs, _ = MODELS[name]
    made = lowered(make, inputs, tmp_path / "made", Precision("bfloat16"), forms=(Form.MINDIR,))
    artifact = made.artifacts[Form.MINDIR]
    kinds = {p.data_type for p in read_model(artifact.path).graph.parameter}
    assert DATA_TYPES["bfloat16"] in kinds
    assert DATA_TYPES["float16"] not in kinds
    assert list(faults(judged(made, artifact))) == []
