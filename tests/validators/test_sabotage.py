"""Bar of the whole product: a planted fault ends in FAIL, and nothing is published.

Every fault is judged twice: by the outputs alone, and by the ledger alone, because each has to see
it without the other's help. An epsilon is no weight; only outputs see it.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from tests.architectures import ARCHITECTURES, saved
from tests.validators import sabotage

from ascend_migrate.converters import checkpoint_to_safetensors, onnx_to_mindir, torch_to_onnx
from ascend_migrate.pipeline.errors import PublicationRefusedError
from ascend_migrate.pipeline.evidence import write_report
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome, Verdict
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import capture
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.torch_original import TorchOriginal

pytestmark = pytest.mark.mindspore

MODELS = ("resnet", "bert", "llama", "unet", "recurrent")
FORMS = (Form.ONNX, Form.MINDIR)
WITHOUT_EPSILON = ("recurrent",)


@dataclass(frozen=True)
class Migrated:
    """A model with its artifacts and golden file."""

    artifacts: dict[Form, Artifact]
    golden: Path
    source: str
    weights: tuple[str, ...]


@pytest.fixture(scope="module", params=MODELS)
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Migrated:
    folder = tmp_path_factory.mktemp(request.param)
    architecture = ARCHITECTURES[request.param]
    build, checkpoint, inputs = saved(
        architecture.build, architecture.inputs, folder / "source.safetensors"
    )
    made = folder / "made"
    made.mkdir()
    weights = checkpoint_to_safetensors.convert(checkpoint, made)
    onnx = torch_to_onnx.convert(
        build(), inputs, made, weights=weights.path, parent=checkpoint.digest
    )
    mindir = onnx_to_mindir.convert(onnx.path, made, inputs=inputs, parent=onnx.digest)
    golden = folder / "golden.safetensors"
    original = TorchOriginal(build, checkpoint)
    capture(original, make_cases(inputs, seed=0, count=4), golden, source=checkpoint.digest)
    names = [n for n, p in build().named_parameters() if p.dtype == torch.float32]
    return Migrated({Form.ONNX: onnx, Form.MINDIR: mindir}, golden, checkpoint.digest, tuple(names))


@pytest.fixture(params=FORMS)
def copy(migrated: Migrated, request: pytest.FixtureRequest, tmp_path: Path) -> Artifact:
    """A copy of one artifact that may be spoiled."""
    artifact = migrated.artifacts[request.param]
    shutil.copytree(artifact.root, tmp_path / "copy")
    return replace(artifact, root=tmp_path / "copy")


def judged(migrated: Migrated, artifact: Artifact) -> Verdict:
    now = Artifact.of(
        artifact.form, artifact.root, [artifact.entry, *(f.path for f in artifact.files)], parent=""
    )
    return judge([now], migrated.golden, source_digest=migrated.source, source_weights=None)


def failed(verdict: Verdict, check: str) -> Iterator[Finding]:
    return (f for f in verdict.findings if f.check == check and f.outcome is Outcome.FAIL)


def assert_refused(verdict: Verdict, artifact: Artifact, folder: Path) -> None:
    assert verdict.outcome is Outcome.FAIL
    registry = OciRegistry(folder / "registry")
    write_report(folder / "report.json", verdict)
    now = Artifact.of(
        artifact.form, artifact.root, [artifact.entry, *(f.path for f in artifact.files)], parent=""
    )
    with pytest.raises(PublicationRefusedError):
        registry.publish("broken", [now], verdict, {"report.json": folder / "report.json"})
    assert registry.list() == ()


def test_the_sound_artifact_passes(migrated: Migrated, copy: Artifact) -> None:
    verdict = judged(migrated, copy)
    assert [f for f in verdict.findings if f.outcome is not Outcome.PASS] == []


@pytest.mark.parametrize("name", sabotage.WEIGHT_FAULTS)
def test_a_wrong_weight_fails_by_outputs_and_by_ledger(
    migrated: Migrated, copy: Artifact, tmp_path: Path, name: str
) -> None:
    sabotage.plant(copy, migrated.weights, sabotage.WEIGHT_FAULTS[name])
    verdict = judged(migrated, copy)
    assert list(failed(verdict, "outputs.close"))
    assert list(failed(verdict, "weights.ledger"))
    assert_refused(verdict, copy, tmp_path)


def test_a_wrong_epsilon_fails_by_outputs(
    migrated: Migrated, copy: Artifact, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["migrated"] in WITHOUT_EPSILON:
        with pytest.raises(AssertionError, match="no epsilon"):
            sabotage.change_epsilon(copy)
        return
    sabotage.change_epsilon(copy)
    verdict = judged(migrated, copy)
    assert list(failed(verdict, "outputs.close"))
    assert list(failed(verdict, "weights.ledger")) == []
    assert_refused(verdict, copy, tmp_path)
