"""A U-Net that takes multiples of 4 only, and of which MindSpore needs a graph for each height."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ascend_migrate.flows import steps
from ascend_migrate.flows.sources import Source, open_source
from ascend_migrate.flows.steps_single import artifact_at
from ascend_migrate.pipeline.mindir_buckets import parts
from ascend_migrate.pipeline.mindir_format import read_model, read_signature
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.spec import read_spec
from ascend_migrate.validators.buckets import unasked
from ascend_migrate.validators.judge import judge

CODE = '''
import torch
from torch import nn
from torch.nn import functional


class UNet(nn.Module):
    """Halves its image twice, joins what comes back with what it was, and stretches the result."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)])
        self.low = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ModuleList([nn.ConvTranspose2d(8, 8, 2, 2), nn.ConvTranspose2d(16, 4, 2, 2)])

    def forward(self, x):
        a = torch.relu(self.down[0](x))
        b = torch.relu(self.down[1](functional.max_pool2d(a, 2)))
        c = torch.tanh(self.low(functional.max_pool2d(b, 2)))
        y = torch.cat([a, self.up[1](torch.cat([b, self.up[0](c)], 1))], 1)
        return functional.interpolate(y, scale_factor=(1.5, 1.0))
'''

SPEC = """
name = "unet"
to = ["onnx", "mindir"]
inputs = ["x=float32[n=1..2,1,h=8|12|16,w=8..24/4]"]
[source]
path = "unet.pt"
[model]
callable = "unet_model:UNet"
"""

GRAPHS = ("model.h=12.mindir", "model.h=16.mindir", "model.h=8.mindir")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("buckets")
    names: dict[str, type[torch.nn.Module]] = {}
    exec(CODE, names)  # noqa: S102 - the text above, which knows the weights' names
    torch.manual_seed(0)
    torch.save(names["UNet"]().state_dict(), folder / "unet.pt")
    (folder / "unet_model.py").write_text(CODE)
    (folder / "unet.toml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def work(home: Path) -> steps.Workspace:
    return steps.open_workspace(read_spec(home / "unet.toml"), lambda _line: None)


@pytest.fixture(scope="module")
def done(work: steps.Workspace) -> steps.Migration:
    return steps.migrate(work)


@pytest.fixture
def source(work: steps.Workspace, done: steps.Migration) -> Source:
    return open_source(work.spec)


@pytest.fixture
def artifacts(work: steps.Workspace, source: Source) -> tuple[Artifact, Artifact]:
    exported = steps.export(work, source)
    (mindir,) = steps.artifacts_of(steps.convert(work, exported))
    return steps.artifacts_of(exported)[-1], mindir


@pytest.fixture
def harmed(artifacts: tuple[Artifact, Artifact], tmp_path: Path) -> Path:
    """The index in a copy of the artifact's folder."""
    shutil.copytree(artifacts[1].root, tmp_path / "harmed")
    return tmp_path / "harmed" / artifacts[1].entry


@pytest.mark.mindspore
def test_a_graph_for_each_size_is_proved_published_and_pulled(
    done: steps.Migration, work: steps.Workspace, tmp_path: Path
) -> None:
    assert done.verdict.outcome is Outcome.PASS
    assert done.publication is not None
    assert work.registry.gate("unet") == done.publication
    pulled = OciRegistry(work.spec.registry).pull("unet", tmp_path / "served", Form.MINDIR)
    artifact = artifact_at(pulled / "model.buckets.json")
    assert [f.path for f in artifact.files] == [
        "model.buckets.json",
        *GRAPHS,
        "model_variables/data_0",
    ]
    assert artifact.files == done.verdict.subjects[Form.MINDIR]
    (note,) = done.verdict.context["notes"]["mindir"]
    assert note.startswith("MindIR cannot keep h dynamic, so it is 3 graphs of fixed sizes")
    ledgers = [f.subject for f in done.verdict.findings if f.check == "weights.ledger"]
    assert sorted(ledgers) == ["all weights", *(f"all weights in {graph}" for graph in GRAPHS)]


@pytest.mark.mindspore
def test_sizes_are_those_declared_and_no_others(
    done: steps.Migration, artifacts: tuple[Artifact, Artifact]
) -> None:
    words = {word for case in done.verdict.context["cases"] for word in case.split()}
    assert {word for word in words if word.startswith("h=")} == {"h=8", "h=12", "h=16"}
    widths = {word for word in words if word.startswith("w=")}
    assert {"w=8", "w=24"} <= widths <= {f"w={size}" for size in range(8, 25, 4)}
    onnx, mindir = artifacts
    assert not any("could not prove" in note for note in onnx.notes)
    shapes = [read_signature(part.path).inputs[0].shape for part in parts(mindir)]
    assert shapes == [(None, 1, height, None) for height in (8, 12, 16)]


@pytest.mark.mindspore
def test_harm_to_one_graph_fails(work: steps.Workspace, source: Source, harmed: Path) -> None:
    graph = harmed.parent / "model.h=12.mindir"
    graph.write_bytes(graph.read_bytes().replace(b"Tanh", b"Sinh"))
    golden = steps.capture(work, source)
    assert golden is not None
    failed = _failures(harmed, golden.path / steps.GOLDEN, source)
    assert "outputs.close" in {finding.check for finding in failed}
    assert all("h=12" in finding.note for finding in failed)


@pytest.mark.mindspore
def test_a_weight_of_one_graph_alone_is_missed(source: Source, harmed: Path) -> None:
    model = read_model(harmed.parent / "model.h=12.mindir")
    # Two weights of the same size, one in place of the other.
    places = {p.ref_key: p.external_data for p in model.graph.parameter}
    places["down.1.bias"].offset = places["low.bias"].offset
    (harmed.parent / "model.h=12.mindir").write_bytes(model.SerializeToString(deterministic=True))
    (failed,) = _failures(harmed, None, source)
    assert (failed.check, failed.subject) == (
        "weights.ledger",
        "down.1.bias in model.h=12.mindir",
    )


@pytest.mark.mindspore
def test_a_graph_that_no_case_fits_is_not_proved(artifacts: tuple[Artifact, Artifact]) -> None:
    feeds = [{"x": np.zeros((1, 1, height, 8), np.float32)} for height in (8, 16)]
    (found,) = unasked(artifacts[1], feeds)
    assert (found.subject, found.outcome) == ("model.h=12.mindir", Outcome.NOT_RUN)
    assert not list(unasked(artifacts[0], feeds))


def _failures(index: Path, golden: Path | None, source: Source) -> list[Finding]:
    verdict = judge(
        [artifact_at(index)],
        golden,
        source_digest=source.digest,
        source_weights=source.weights,
    )
    assert verdict.outcome is Outcome.FAIL
    return [finding for finding in verdict.findings if finding.outcome is Outcome.FAIL]
