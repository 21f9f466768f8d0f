from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.validators import toys

from ascend_migrate.converters import checkpoint_to_safetensors, onnx_to_mindir, torch_to_onnx
from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.errors import EvidenceError, MigrationError, SourceError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.model import load_state
from ascend_migrate.pipeline.records import Artifact, Form, Outcome, Verdict
from ascend_migrate.validators import side_by_side
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import capture
from ascend_migrate.validators.judge import judge


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return toys.checkpoint_of(toys.Plain(), tmp_path)


@pytest.fixture
def artifacts(checkpoint: Checkpoint, tmp_path: Path) -> tuple[Artifact, Artifact]:
    made = tmp_path / "made"
    made.mkdir()
    weights = checkpoint_to_safetensors.convert(checkpoint, made)
    model = toys.Plain().eval()
    load_state(model, checkpoint)
    onnx = torch_to_onnx.convert(
        model, toys.X, made, weights=weights.path, parent=checkpoint.digest
    )
    return weights, onnx


@pytest.fixture
def golden(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "golden.safetensors"
    original = toys.original(toys.Plain, tmp_path)
    capture(original, make_cases(toys.X, seed=0, count=2), path, source=checkpoint.digest)
    return path


def outcomes(verdict: Verdict) -> dict[tuple[str, str], Outcome]:
    return {(str(f.form), f.check): f.outcome for f in verdict.findings}


def test_both_forms_pass_and_are_named_with_their_digests(
    checkpoint: Checkpoint, artifacts: tuple[Artifact, Artifact], golden: Path
) -> None:
    verdict = judge(artifacts, golden, source_digest=checkpoint.digest, source_weights=checkpoint)
    assert verdict.outcome is Outcome.PASS
    assert verdict.level == "cpu"
    assert verdict.subjects == {a.form: a.files for a in artifacts}
    assert verdict.context["original"]["device"] == "cpu"
    assert len(verdict.context["cases"]) > 8
    assert verdict.context["fed"] == []  # floats alone


def test_weights_alone_need_no_golden_file_and_say_how_far_that_reaches(
    checkpoint: Checkpoint, artifacts: tuple[Artifact, Artifact]
) -> None:
    verdict = judge(artifacts[:1], None, source_digest=checkpoint.digest, source_weights=checkpoint)
    assert (verdict.outcome, verdict.level, verdict.golden) == (Outcome.PASS, "ledger", "")


def test_a_form_that_did_not_run_is_not_proved_on_the_cpu(
    checkpoint: Checkpoint, artifacts: tuple[Artifact, Artifact]
) -> None:
    verdict = judge(artifacts, None, source_digest=checkpoint.digest, source_weights=checkpoint)
    assert (verdict.outcome, verdict.level) == (Outcome.NOT_RUN, "ledger")


@pytest.mark.parametrize("index", [0, 1])
def test_other_bytes_than_those_named_are_not_judged(
    checkpoint: Checkpoint, artifacts: tuple[Artifact, Artifact], golden: Path, index: int
) -> None:
    path = artifacts[index].path
    path.write_bytes(path.read_bytes() + b" ")  # which changes nothing that a check could see
    with pytest.raises(MigrationError, match=rf"{path.name}: "):
        judge(artifacts, golden, source_digest=checkpoint.digest, source_weights=checkpoint)


def test_a_golden_file_alone_is_enough(
    checkpoint: Checkpoint, artifacts: tuple[Artifact, Artifact], golden: Path
) -> None:
    verdict = judge(artifacts, golden, source_digest="", source_weights=None)
    assert verdict.outcome is Outcome.PASS
    assert verdict.source == checkpoint.digest


def test_a_graph_without_a_golden_file_is_not_judged(
    checkpoint: Checkpoint, artifacts: tuple[Artifact, Artifact]
) -> None:
    verdict = judge(artifacts, None, source_digest=checkpoint.digest, source_weights=checkpoint)
    assert verdict.outcome is Outcome.NOT_RUN
    assert outcomes(verdict)["onnx", "outputs.close"] is Outcome.NOT_RUN


def test_a_golden_file_of_another_source_is_refused(
    artifacts: tuple[Artifact, Artifact], golden: Path
) -> None:
    with pytest.raises(EvidenceError, match="is about another source"):
        judge(artifacts, golden, source_digest="sha256:" + "f" * 64, source_weights=None)


def test_a_graph_that_the_runtime_refuses_is_not_run(
    artifacts: tuple[Artifact, Artifact], golden: Path
) -> None:
    graph = artifacts[1]
    model = onnx.load(graph.path, load_external_data=False)
    model.graph.node[0].op_type = "NoSuchOperator"
    graph.path.write_bytes(model.SerializeToString())
    graph = Artifact.of(Form.ONNX, graph.root, [f.path for f in graph.files], parent=graph.parent)
    verdict = judge([graph], golden, source_digest="", source_weights=None)
    assert outcomes(verdict)["onnx", "outputs.close"] is Outcome.NOT_RUN
    (finding,) = [f for f in verdict.findings if f.outcome is Outcome.NOT_RUN]
    assert "NoSuchOperator" in finding.note


@pytest.mark.mindspore
def test_side_by_side_two_runtimes_say_what_they_say_one_after_the_other(
    artifacts: tuple[Artifact, Artifact],
    golden: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = onnx_to_mindir.convert(artifacts[1].path, tmp_path / "mindir", inputs=(), parent="p")
    said = []
    for processors in (2, 1):
        monkeypatch.setattr(side_by_side, "usable_processors", lambda n=processors: n)
        verdict = judge([graph, *artifacts], golden, source_digest="", source_weights=None)
        said.append(verdict.to_json())
    assert said[0] == said[1]
    assert {item["form"] for item in said[0]["findings"]} == {"mindir", "safetensors", "onnx"}
    assert said[0]["findings"][0]["form"] == "mindir"


@pytest.mark.mindspore
def test_a_runtime_that_needs_more_than_it_may_take_is_not_run(
    artifacts: tuple[Artifact, Artifact], golden: Path, tmp_path: Path
) -> None:
    graph = onnx_to_mindir.convert(artifacts[1].path, tmp_path / "mindir", inputs=(), parent="p")
    limits = Limits(memory=64 << 20)  # less than MindSpore takes to start
    verdict = judge([graph], golden, source_digest="", source_weights=None, limits=limits)
    (finding,) = (f for f in verdict.findings if f.check == "outputs.close")
    assert finding.outcome is Outcome.NOT_RUN
    assert "needed more than 0.0625 GiB of memory; raise validation.memory" in finding.note


def test_a_wrong_weight_that_no_output_shows_is_found(
    artifacts: tuple[Artifact, Artifact], golden: Path
) -> None:
    """The last bit of one weight: far below the noise of any output."""
    graph = artifacts[1]
    model = onnx.load(graph.path)
    tensor = next(t for t in model.graph.initializer if t.name == "first.weight")
    array = numpy_helper.to_array(tensor).copy()
    array[0, 0] = np.nextafter(array[0, 0], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, graph.path)
    graph = Artifact.of(Form.ONNX, graph.root, [f.path for f in graph.files], parent=graph.parent)
    verdict = judge([graph], golden, source_digest="", source_weights=None)
    found = outcomes(verdict)
    assert found["onnx", "outputs.close"] is Outcome.PASS
    assert found["onnx", "weights.ledger"] is Outcome.FAIL


def test_a_file_of_no_form_is_an_error_that_names_it(
    artifacts: tuple[Artifact, Artifact], golden: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.mindir"
    path.write_bytes(b"\x0a\x031.1")
    broken = replace(artifacts[1], form=Form.MINDIR, root=tmp_path, entry=path.name)
    with pytest.raises(SourceError, match=r"model\.mindir: not a MindIR file"):
        judge([broken], golden, source_digest="", source_weights=None)
