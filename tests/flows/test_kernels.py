"""A graph for which the judging runtime has no kernel, and what the specification may say of it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from ascend_migrate.flows import report_text, steps
from ascend_migrate.pipeline.errors import ExitCode, SpecError
from ascend_migrate.pipeline.records import GRAPH_FORMS, Form, Outcome
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.spec import read_spec

pytestmark = pytest.mark.mindspore

GRAPH = """<ir_version: 10, opset_import: ["" : 17]>
net (float[n, 4] x, uint8[n, 1, 2, 2] image) => (float[n, 2] y, uint8[n, 1, 4, 4] large) {
    y = MatMul (x, w)
    twice = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
    large = Resize <mode = "nearest"> (image, , twice)
}"""
SPEC = """
name = "toy"
to = ["mindir"]
registry = "registry"
inputs = ["x=float32[n=1..4,4]", "image=uint8[n,1,2,2]:0..255"]
source.path = "model.onnx"
"""
WAIVER = '[validation]\nwaive_kernels = ["mindir"]\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    model = parser.parse_model(GRAPH)
    weight = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, folder / "model.onnx")
    return folder


def migrated(folder: Path, text: str) -> steps.Migration:
    spec = folder / "migration.toml"
    spec.write_text(text)
    return steps.migrate(steps.open_workspace(read_spec(spec), lambda _line: None))


def test_without_a_kernel_nothing_is_published(folder: Path) -> None:
    done = migrated(folder, SPEC)
    assert done.verdict.outcome is Outcome.NOT_RUN
    assert done.publication is None
    assert report_text.exit_code(done.verdict) == ExitCode.UNABLE
    (finding,) = (f for f in done.verdict.findings if f.outcome is not Outcome.PASS)
    assert (finding.check, finding.subject) == (
        "runtime.kernels",
        "ResizeNearestNeighbor(uint8, int64, bool, bool)",
    )
    assert 'validation.waive_kernels = ["mindir"]' in finding.note


def test_a_waiver_publishes_and_says_so_everywhere(folder: Path) -> None:
    done = migrated(folder, SPEC + WAIVER)
    assert done.verdict.outcome is Outcome.WAIVED
    assert done.publication is not None
    registry = OciRegistry(folder / "registry")
    assert registry.gate("toy").version == done.publication.version
    text = report_text.migration(done)
    assert text.startswith("WAIVED: the weights are proved; as the specification allows, no output")
    assert "PASS: proved" not in text
    assert "WAIVED" in (done.report / steps.PAGE).read_text()


def test_a_waiver_is_of_a_form_that_computes(folder: Path) -> None:
    spec = folder / "wrong.toml"
    spec.write_text(SPEC + WAIVER.replace("mindir", "safetensors"))
    with pytest.raises(SpecError) as caught:
        read_spec(spec)
    known = ", ".join(sorted(GRAPH_FORMS - {Form.OM}))  # what no one can read, answers must prove
    assert caught.value.faults == (
        f"validation.waive_kernels: no form 'safetensors'; forms: {known}",
    )
