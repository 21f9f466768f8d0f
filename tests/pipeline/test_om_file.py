"""What lies beside a compiled file, and what is refused there."""

import json
from pathlib import Path
from typing import Any

import pytest

from ascend_migrate.pipeline.cann.om_file import graph_of, identity, om_artifact, read_om
from ascend_migrate.pipeline.digest import bytes_digest
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.records import Form

ASKED = {"soc": "Ascend910B3", "precision_mode": "fp16", "toolkit": "8.1.RC1"}


@pytest.fixture
def om(tmp_path: Path) -> Path:
    (tmp_path / "model.om").write_bytes(b"compiled")
    (tmp_path / "weight").mkdir()
    (tmp_path / "weight" / "0").write_bytes(b"weights")
    (tmp_path / "model.onnx").write_bytes(b"graph")
    made_from = {"model.onnx": bytes_digest(b"graph")}
    (tmp_path / "om.json").write_bytes(identity(tmp_path, ASKED, "model.onnx", made_from))
    return tmp_path / "model.om"


def test_it_says_what_it_is(om: Path) -> None:
    said = read_om(om)
    assert (said.soc, said.lowered, said.graph) == ("Ascend910B3", "float16", "model.onnx")
    assert said.files == {
        "model.om": bytes_digest(b"compiled"),
        "weight/0": bytes_digest(b"weights"),
    }
    artifact = om_artifact(om)
    assert (artifact.form, artifact.entry) == (Form.OM, "model.om")
    assert [file.path for file in artifact.files] == ["model.om", "om.json", "weight/0"]
    assert graph_of(said).path == om.with_name("model.onnx")


def test_one_byte_makes_another_artifact(om: Path) -> None:
    before = om_artifact(om).digest
    text = om.with_name("om.json").read_text()
    om.with_name("om.json").write_text(text.replace("8.1.RC1", "8.2.RC1"))
    assert om_artifact(om).digest != before


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "ascend-migrate/om/1"},
        {"files": {}},
        {"files": {"other.om": "sha256:0"}},
        {"files": {"model.om": "sha256:0", "../model.onnx": "sha256:0"}},
        {"files": {"model.om": "sha256:0", "/etc/passwd": "sha256:0"}},
        {"files": []},
        {"made_from": {}},
        {"made_from": {"model.onnx": "", "a/../../b": ""}},
        {"graph": 1},
        {"soc": None},
        {"precision_mode": "fp17"},
        {"precision_mode": []},
    ],
)
def test_what_does_not_say_it_is_refused(om: Path, change: dict[str, Any]) -> None:
    path = om.with_name("om.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(SourceError, match=r"does not say what model\.om is"):
        read_om(om)


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", "[" * 100_000, "\0", " " * (1 << 21)])
def test_what_is_no_document_is_refused(om: Path, text: str) -> None:
    om.with_name("om.json").write_text(text)
    with pytest.raises(SourceError, match=r"does not say what model\.om is"):
        read_om(om)


def test_what_is_missing_is_named(om: Path) -> None:
    said = read_om(om)
    om.with_name("model.onnx").write_bytes(b"another")
    with pytest.raises(SourceError, match=r"model\.onnx is not what model\.om was made from"):
        graph_of(said)
    om.with_name("model.onnx").unlink()
    with pytest.raises(SourceError, match=r"model\.onnx is missing"):
        graph_of(said)
    (om.parent / "weight" / "0").unlink()
    with pytest.raises(SourceError, match="weight/0, which holds its weights, is missing"):
        om_artifact(om)
    om.with_name("om.json").unlink()
    with pytest.raises(SourceError, match="keep the folder as"):
        read_om(om)
