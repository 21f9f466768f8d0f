"""migration.toml: what is read, and how faults are told."""

from pathlib import Path
from typing import Any

import pytest

from ascend_migrate.pipeline.errors import ExitCode, SpecError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.records import Form
from ascend_migrate.pipeline.spec import make_spec, plain_spec, read_spec, with_forms

GOOD = """
name = "toy"
to = ["mindir", "safetensors"]
inputs = ["x=float32[n=1..4,3]"]
[source]
path = "model.pt"
drop = ["head.*"]
[model]
callable = "toy:Toy"
kwargs = { width = 4 }
[validation]
seed = 7
timeout = 5
memory = 1.5
threads = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path


def test_reads_a_file_with_paths_relative_to_its_folder(folder: Path) -> None:
    (folder / "migration.toml").write_text(GOOD)
    spec = read_spec(folder / "migration.toml")
    assert spec.name == "toy"
    assert spec.to == (Form.SAFETENSORS, Form.MINDIR)  # in the order of Form, whatever was asked
    assert spec.source == folder / "model.pt"
    assert spec.registry == folder / "registry"
    assert spec.drop == ("head.*",)
    assert spec.model is not None
    assert (spec.model.target, dict(spec.model.kwargs)) == ("toy:Toy", {"width": 4})
    assert (spec.seed, spec.opset) == (7, 17)
    assert spec.limits == Limits(timeout=5.0, memory=3 << 29, threads=2)
    assert str(spec.inputs[0]) == "x=float32[n=1..4,3]"


def test_reports_every_fault_at_once_with_its_key(folder: Path) -> None:
    tables: dict[str, Any] = {
        "name": "Not A Name",
        "to": ["onnx", "elf"],
        "inputs": ["x=int3[2]"],
        "sourc": 1,
        "source": {"path": "absent.pt", "kay": "x"},
        "validation": {"cases": 0, "samples": ["absent.npz"]},
        "onnx": {"opset": 18},
    }
    with pytest.raises(SpecError) as caught:
        make_spec(tables, subject="it", base=folder)
    text = "\n".join(caught.value.faults)
    for part in (
        "name: 'Not A Name'",
        "no form 'elf'",
        "unknown dtype 'int3'",
        "sourc: no such key",
        "source.kay: no such key",
        "source.path: absent.pt does not exist",
        "validation.cases:",
        "validation.samples: absent.npz does not exist",
        "onnx.opset:",
        "model: is required for onnx",
    ):
        assert part in text
    assert caught.value.exit_code is ExitCode.INPUT
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'name = "x"\nto = oops\n', "line 2"),
        (b'name = "x"\nto = [\n', "at end of document"),
        (b'name = "\xff"\n', "position 8"),
    ],
)
def test_names_the_place_in_a_file_that_is_not_toml(
    tmp_path: Path, data: bytes, place: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with pytest.raises(SpecError, match=rf"bad\.toml: is not TOML: .*{place}"):
        read_spec(path)


def test_says_that_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.toml: cannot be read"):
        read_spec(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": "a" * 201}, "name: string should have at most 200 characters"),
        ({"source": {"path": "a" * 5000}}, "does not exist"),
        ({"validation": {"samples": ["a" * 5000]}}, "does not exist"),
        ({"source": {"path": "a\0b"}}, "does not exist"),
        ({"source": "model.pt"}, "source: "),
        ({"to": "onnx"}, "to: "),
        ({"to": []}, "to: "),
        ({"inputs": {"x": 1}}, "inputs: "),
        ({"model": {"callable": "toy"}}, "model.callable: 'toy' is not MODULE:CALLABLE"),
        ({"validation": {"timeout": 0}}, "validation.timeout: "),
        (
            {"source": {"path": "model.pt", "rename": {"a": "b.*"}}},
            "source.rename: 'a' -> 'b.*' has a * for which the pattern has none",
        ),
        ({"source": {"path": "model.pt", "rename": {"a": ""}}}, "source.rename: 'a' -> ''"),
        ({"source": {"path": "model.pt", "rename": ["a"]}}, "source.rename: "),
        ({"source": {"path": "model.pt", "unpack": ["zip"]}}, "source.unpack.0: "),
        ({"source": {"path": "model.pt", "trust": True}}, "source.trust: "),
        ({"validation": {"memory": float("inf")}}, "validation.memory: "),
        ({"validation": {"memory": -1}}, "validation.memory: "),
        ({"validation": {"threads": 0}}, "validation.threads: "),
        ({"validation": {"device": "gpu"}}, "validation.device: 'gpu' is not cpu, cuda or"),
    ],
)
def test_says_what_is_wrong(folder: Path, change: dict[str, Any], fault: str) -> None:
    tables: dict[str, Any] = {"name": "t", "to": ["safetensors"], "source": {"path": "model.pt"}}
    assert make_spec(tables, subject="it", base=folder).name == "t"
    with pytest.raises(SpecError) as caught:
        make_spec(tables | change, subject="it", base=folder)
    assert any(fault in line for line in caught.value.faults)


def test_the_same_request_for_other_forms(folder: Path) -> None:
    tables = {"name": "toy", "to": ["safetensors"], "source": {"path": "model.pt"}}
    spec = make_spec(tables, subject="it", base=folder)
    assert with_forms(spec, [Form.SAFETENSORS], subject="it") == spec
    with pytest.raises(
        SpecError, match=r"it: model: is required for onnx .*; inputs: are required"
    ):
        with_forms(spec, [Form.ONNX], subject="it")
    (folder / "migration.toml").write_text(GOOD)
    full = with_forms(read_spec(folder / "migration.toml"), [Form.ONNX], subject="it")
    assert full.to == (Form.ONNX,)


def test_weights_alone_need_neither_code_nor_inputs(folder: Path) -> None:
    tables = {"name": "toy", "to": ["safetensors"], "source": {"path": "model.pt"}}
    spec = make_spec(tables, subject="it", base=folder)
    assert spec.model is None
    assert spec.inputs == ()


def test_a_graph_as_source_needs_no_code(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"graph")
    tables: dict[str, Any] = {"name": "t", "to": ["mindir"], "source": {"path": "model.onnx"}}
    assert make_spec(tables, subject="it", base=folder).is_onnx
    tables["model"] = {"callable": "a:b"}
    with pytest.raises(SpecError, match="an ONNX source needs no model"):
        make_spec(tables, subject="it", base=folder)


@pytest.mark.parametrize("forms", [["safetensors"], ["safetensors", "safetensors"]])
def test_a_plain_request_is_the_one_that_its_tables_make(folder: Path, forms: list[str]) -> None:
    tables = {"name": "toy", "to": forms, "source": {"path": "model.pt"}}
    plain = plain_spec(Path("model.pt"), forms, name="toy", base=folder)
    assert plain == make_spec(tables, subject="it", base=folder)


@pytest.mark.parametrize("forms", [["onnx"], ["elf"], ["safetensors", "mindir"]])
def test_a_plain_request_has_the_faults_of_its_tables(folder: Path, forms: list[str]) -> None:
    tables = {"name": "toy", "to": forms, "source": {"path": "model.pt"}}
    with pytest.raises(SpecError) as expected:
        make_spec(tables, subject="model.pt", base=folder)
    with pytest.raises(SpecError) as found:
        plain_spec(Path("model.pt"), forms, name="toy", base=folder)
    assert str(found.value) == str(expected.value)


def test_a_plain_request_needs_a_name_of_the_registry(folder: Path) -> None:
    with pytest.raises(SpecError, match="use up to 200"):
        plain_spec(Path("model.pt"), ["safetensors"], name="a" * 201, base=folder)
