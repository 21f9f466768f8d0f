"""A verdict that fails says where: in its records, in words, on the page, and in a folder."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ascend_migrate.flows import report_text, steps_single
from ascend_migrate.flows.steps import PAGE
from ascend_migrate.pipeline.records import Outcome
from ascend_migrate.pipeline.spec import MigrationSpec, read_spec


def save(path: Path, factor: float) -> None:
    """Writes a graph of two products, the second one off by a factor."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((8, 8)).astype(np.float32) for name in ("one", "two")}
    weights["two"] *= np.float32(factor)
    nodes = [
        helper.make_node("MatMul", ["x", "one"], ["half"], "first"),
        helper.make_node("Tanh", ["half"], ["bent"], "bend"),
        helper.make_node("MatMul", ["bent", "two"], ["y"], "second"),
    ]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 8]) for n in "xy"]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "two", values[:1], values[1:], stored)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


@pytest.fixture
def spec(tmp_path: Path) -> MigrationSpec:
    save(tmp_path / "source.onnx", 1)
    (tmp_path / "spec.toml").write_text(
        'name = "two"\nto = ["onnx"]\ninputs = ["x=float32[n=2..4,8]"]\n'
        '[source]\npath = "source.onnx"\n'
    )
    return read_spec(tmp_path / "spec.toml")


def test_a_wrong_graph_is_located(spec: MigrationSpec, tmp_path: Path) -> None:
    save(tmp_path / "model.onnx", 1.5)
    out = tmp_path / "out"
    verdict = steps_single.validate(tmp_path / "model.onnx", spec, out, lambda _line: None)
    assert verdict.outcome is Outcome.FAIL
    found = verdict.context["localisation"]["onnx"]
    assert (found["tensor"], found["node"], found["mended"]) == ("y", "second", True)
    assert found["kind"] == "weight"  # the ledger knows which
    line = next(x for x in report_text.verdict(verdict).splitlines() if "first wrong tensor" in x)
    assert "y, made by MatMul second" in line
    assert (out / found["reproduction"] / "run.py").is_file()
    page = (out / PAGE).read_text()
    assert "Where it first differs" in page
    assert page.count("<rect x=") == len(found["curve"])


def test_a_golden_file_alone_is_not_enough(spec: MigrationSpec, tmp_path: Path) -> None:
    save(tmp_path / "model.onnx", 1.5)
    golden = tmp_path / "golden.safetensors"
    steps_single.capture(spec, golden, lambda _line: None)
    verdict = steps_single.validate(tmp_path / "model.onnx", golden, None, lambda _line: None)
    assert verdict.outcome is Outcome.FAIL
    note = verdict.context["localisation"]["onnx"]["note"]
    assert "validate against its specification" in note


def test_a_sound_graph_is_not_looked_at(spec: MigrationSpec, tmp_path: Path) -> None:
    verdict = steps_single.validate(tmp_path / "source.onnx", spec, None, lambda _line: None)
    assert "localisation" not in verdict.context
