"""A policy of a lower precision from the request to what is published."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto
from safetensors.numpy import load_file
from tests.flows.toys import Home, command

from ascend_migrate.flows import steps, steps_single
from ascend_migrate.pipeline.errors import ConversionError, SpecError
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Form, Outcome
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.spec import MigrationSpec, read_spec

HALF = '[precision]\ntype = "float16"'
NARROW = """
import torch
from toy_models import Toy


def make():
    return Toy().to(torch.bfloat16)
"""


def migrated(spec: Path) -> steps.Migration:
    return steps.migrate(steps.open_workspace(read_spec(spec), lambda _line: None))


@pytest.mark.parametrize(
    ("table", "policy"),
    [
        (HALF, Precision("float16")),
        ('[precision]\ntype = "float16"\nkeep_float32 = ["a.*"]', Precision("float16", ("a.*",))),
        ("", None),
    ],
)
def test_the_table_is_read(home: Home, tmp_path: Path, table: str, policy: Precision) -> None:
    assert read_spec(home.spec(tmp_path, to=("onnx",), more=table)).precision == policy


@pytest.mark.parametrize(
    ("to", "table", "fault"),
    [
        (("onnx",), '[precision]\ntype = "int8"', "precision.type: input should be 'float16'"),
        (("onnx",), "[precision]", "precision.type: is required"),
        (("onnx",), f"{HALF}\nkeep = 1", "precision.keep: no such key"),
        (("onnx", "mindir"), '[precision]\ntype = "bfloat16"', "ask for mindir alone"),
        (("safetensors",), HALF, "precision: lowers graphs"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(
    home: Home, tmp_path: Path, to: tuple[str, ...], table: str, fault: str
) -> None:
    with pytest.raises(SpecError, match=fault):
        read_spec(home.spec(tmp_path, to=to, more=table))


def test_lowered_is_published_beside_the_checkpoints_own_weights(
    home: Home, tmp_path: Path
) -> None:
    forms = ("safetensors", "onnx")
    done = migrated(home.spec(tmp_path, to=forms, more=HALF))
    assert done.verdict.outcome is Outcome.PASS
    assert done.verdict.context["precision"] == "float16"
    assert (
        "Computes in float16, as asked for: 3 operations."
        in (done.verdict.context["notes"]["onnx"])
    )
    pulled = OciRegistry(tmp_path).pull("toy", tmp_path / "pulled", Form.ONNX)
    graph = onnx.load(pulled / "model.onnx").graph
    assert {t.data_type for t in graph.initializer} == {TensorProto.FLOAT16}
    assert {i.type.tensor_type.elem_type for i in (*graph.input, *graph.output)} == {
        TensorProto.FLOAT
    }
    whole = OciRegistry(tmp_path).pull("toy", tmp_path / "whole", Form.SAFETENSORS)
    assert {a.dtype.name for a in load_file(whole / "model.safetensors").values()} == {"float32"}
    # The policy decides the stages: without it, or with another, all is made anew.
    assert migrated(home.spec(tmp_path, to=forms, more=HALF)).reused == (
        "capture",
        "export",
        "judge",
    )
    other = f'{HALF}\nkeep_float32 = ["second"]'
    assert migrated(home.spec(tmp_path, to=forms, more=other)).reused == ()
    assert migrated(home.spec(tmp_path, to=forms)).reused == ()


def test_a_graph_is_lowered_too(home: Home, tmp_path: Path) -> None:
    spec = home.spec(tmp_path, to=("onnx",), model=None, source=home.graph, more=HALF)
    done = migrated(spec)
    assert [f for f in done.verdict.findings if f.outcome is not Outcome.PASS] == []
    checks = {f.check for f in done.verdict.findings}
    assert {"precision.range", "precision.graph"} <= checks


def test_an_unknown_pattern_is_a_fault(home: Home, tmp_path: Path) -> None:
    table = f'{HALF}\nkeep_float32 = ["secnod"]'
    with pytest.raises(ConversionError, match="secnod matches no operator type, module or node"):
        migrated(home.spec(tmp_path, to=("onnx",), more=table))


@pytest.fixture
def narrow(home: Home, tmp_path: Path) -> MigrationSpec:
    """A model whose own type is bfloat16."""
    (home.folder / "narrow_toys.py").write_text(NARROW)
    state = torch.load(home.checkpoint, weights_only=True)
    torch.save({name: t.to(torch.bfloat16) for name, t in state.items()}, tmp_path / "narrow.pt")
    spec = home.spec(tmp_path / "registry", to=("mindir",), source=tmp_path / "narrow.pt")
    text = spec.read_text().replace("toy_models:Toy", "narrow_toys:make")
    spec.write_text(text.replace("x=float32", "x=bfloat16"))
    return read_spec(spec)


def test_bfloat16_of_its_own_becomes_bfloat16_mindir(
    narrow: MigrationSpec, home: Home, tmp_path: Path
) -> None:
    from ascend_migrate.pipeline.mindir_format import DATA_TYPES, read_model, read_signature

    made = steps_single.convert(narrow, Form.MINDIR, tmp_path / "made", lambda _line: None)
    signature = read_signature(made.path)
    assert [info.dtype for info in (*signature.inputs, *signature.outputs)] == ["bfloat16"] * 2
    kinds = {p.data_type for p in read_model(made.path).graph.parameter}
    assert DATA_TYPES["bfloat16"] in kinds
    with pytest.raises(ConversionError, match="publish MindIR alone, or give the model float32"):
        steps_single.convert(narrow, Form.ONNX, tmp_path / "onnx", lambda _line: None)


def test_bfloat16_by_policy_becomes_bfloat16_mindir(home: Home, tmp_path: Path) -> None:
    from ascend_migrate.pipeline.mindir_format import DATA_TYPES, read_model, read_signature

    spec = home.spec(tmp_path, to=("mindir",), more='[precision]\ntype = "bfloat16"')
    made = steps_single.convert(read_spec(spec), Form.MINDIR, tmp_path / "made", lambda _l: None)
    signature = read_signature(made.path)
    assert [info.dtype for info in (*signature.inputs, *signature.outputs)] == ["float32"] * 2
    model = read_model(made.path)
    assert {p.data_type for p in model.graph.parameter} == {DATA_TYPES["bfloat16"]}
    computed = {n.domain.split("/")[0]: n.doc_string for n in model.graph.node if n.doc_string}
    assert {"Gemm", "Tanh"} <= set(computed)
    assert set(computed.values()) == {"bfloat16"}


def test_the_command_line_takes_it(in_home: Home, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    options = [*in_home.options(), "--to", "onnx", "-o", out, "--json"]
    given = ["--precision", "float16", "--keep-float32", "second"]
    done = command("convert", str(in_home.checkpoint), *options, *given)
    assert done.returncode == 0
    assert "in float32" in json.loads(done.stdout)["notes"][0]
    alone = command("convert", str(in_home.checkpoint), *options, "--keep-float32", "second")
    assert alone.returncode == 2
    assert "--keep-float32 belongs to --precision" in alone.stderr
