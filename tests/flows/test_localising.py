"""A verdict that fails says where: in its records, in words, on the page, and in a folder."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ascend_migrate.flows import capturing, localising, report_text, steps_single
from ascend_migrate.flows.steps import PAGE
from ascend_migrate.pipeline.records import Finding, Form, Outcome, Verdict
from ascend_migrate.pipeline.spec import MigrationSpec, make_spec, read_spec


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


def test_a_golden_file_alone_is_enough(spec: MigrationSpec, tmp_path: Path) -> None:
    save(tmp_path / "model.onnx", 1.5)
    golden, out = tmp_path / "golden.safetensors", tmp_path / "out"
    steps_single.capture(spec, golden, lambda _line: None)
    (tmp_path / "source.onnx").unlink()
    verdict = steps_single.validate(tmp_path / "model.onnx", golden, out, lambda _line: None)
    assert verdict.outcome is Outcome.FAIL
    found = verdict.context["localisation"]["onnx"]
    assert (found["tensor"], found["node"], found["mended"]) == ("y", "second", True)
    line = next(x for x in report_text.verdict(verdict).splitlines() if "first wrong tensor" in x)
    assert "found by what the golden file holds of this one case" in line
    assert (out / found["reproduction"] / "run.py").is_file()


def test_a_clear_failure_is_located_all_the_same(spec: MigrationSpec, tmp_path: Path) -> None:
    save(tmp_path / "model.onnx", -1)
    verdict = steps_single.validate(tmp_path / "model.onnx", spec, None, lambda _line: None)
    (close,) = (f for f in verdict.findings if f.check.startswith("outputs."))
    cases = len(verdict.context["cases"])
    assert (close.check, close.outcome, verdict.level) == ("outputs.close", Outcome.FAIL, "cpu")
    asked = re.search(rf"so clear that only (\d+) of {cases} cases were asked$", close.note)
    assert asked is not None
    assert 2 <= int(asked[1]) < cases / 2
    assert verdict.context["localisation"]["onnx"]["node"] == "second"


def test_a_golden_file_without_intermediates_says_so(spec: MigrationSpec, tmp_path: Path) -> None:
    save(tmp_path / "model.onnx", 1.5)
    golden = tmp_path / "golden.safetensors"
    capturing.capture(spec, golden)
    verdict = steps_single.validate(tmp_path / "model.onnx", golden, None, lambda _line: None)
    assert verdict.outcome is Outcome.FAIL
    note = verdict.context["localisation"]["onnx"]["note"]
    assert "holds no intermediates" in note
    assert "validate against the specification" in note


def save_channels(path: Path, factor: float) -> None:
    """Writes a graph with four large channels and one small one, which is off by a factor."""
    rng = np.random.default_rng(0)
    weights = {
        "large": 1e3 * rng.standard_normal((8, 4)).astype(np.float32),
        "small": np.float32(1e-3 * factor) * rng.standard_normal((8, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "large"], ["most"], "first"),
        helper.make_node("MatMul", ["x", "small"], ["rest"], "second"),
        helper.make_node("Concat", ["most", "rest"], ["y"], "both", axis=-1),
    ]
    sizes = {"x": 8, "y": 5}
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
        for name, size in sizes.items()
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "channels", values[:1], values[1:], stored)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


@pytest.mark.parametrize("alone", [False, True])
def test_a_fault_that_only_a_part_shows_is_located(tmp_path: Path, *, alone: bool) -> None:
    save_channels(tmp_path / "source.onnx", 1)
    save_channels(tmp_path / "model.onnx", 1.01)
    inputs = "x=float32[n=20..40,8]"
    spec = make_spec(
        {"name": "channels", "to": ["onnx"], "inputs": [inputs], "source": {"path": "source.onnx"}},
        subject="test",
        base=tmp_path,
    )
    against: Path | MigrationSpec = spec
    if alone:
        against = tmp_path / "golden.safetensors"
        steps_single.capture(spec, against, lambda _line: None)
    verdict = steps_single.validate(tmp_path / "model.onnx", against, None, lambda _line: None)
    refused = {f.check for f in verdict.findings if f.outcome is Outcome.FAIL}
    assert refused == {"outputs.groups", "weights.ledger"}
    found = verdict.context["localisation"]["onnx"]
    assert (found["tensor"], found["node"], found["kind"]) == ("rest", "second", "weight")


@pytest.mark.parametrize("check", ["outputs.groups", "outputs.decisions", "calls.batch"])
def test_each_check_of_outputs_has_it_located(
    check: str, spec: MigrationSpec, tmp_path: Path
) -> None:
    save(tmp_path / "model.onnx", 1.5)
    golden = tmp_path / "golden.safetensors"
    capturing.capture(spec, golden, intermediates=True)
    artifact = steps_single.artifact_at(tmp_path / "model.onnx")
    finding = Finding(check, Form.ONNX, "y", Outcome.FAIL)
    judged = Verdict("", "", {}, (finding,), "cpu", {})
    found = localising.localised(judged, [artifact], None, golden, None).context["localisation"]
    assert found["onnx"]["node"] == "second"


def test_of_what_keeps_state_no_place_is_named(tmp_path: Path) -> None:
    save(tmp_path / "model.onnx", 1.5)
    artifact = steps_single.artifact_at(tmp_path / "model.onnx")
    checks = ("outputs.close", "calls.repeatable")
    failed = tuple(Finding(check, Form.ONNX, "y", Outcome.FAIL) for check in checks)
    judged = Verdict("", "", {}, failed, "cpu", {})
    said = localising.localised(judged, [artifact], None, tmp_path / "unread", None)
    assert "calls.repeatable" in said.context["localisation"]["onnx"]["note"]


def test_a_sound_graph_is_not_looked_at(spec: MigrationSpec, tmp_path: Path) -> None:
    verdict = steps_single.validate(tmp_path / "source.onnx", spec, None, lambda _line: None)
    assert "localisation" not in verdict.context
