"""The command that plants faults in an artifact, on the artifacts of a real migration."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.flows.toys import Home

from ascend_migrate.flows import cli, steps

FAULTS = "30"


@pytest.fixture
def golden(published: tuple[Path, steps.Migration]) -> Path:
    (found,) = (published[0] / "stages").glob("capture-*/golden.safetensors")
    return found


def artifact(published: tuple[Path, steps.Migration], name: str) -> Path:
    (found,) = (published[0] / "stages").glob(f"*/{name}")
    return found


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    code = cli.run(["selftest", *map(str, arguments), "--faults", FAULTS, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_every_fault_in_an_onnx_file_is_seen(
    published: tuple[Path, steps.Migration], golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = artifact(published, "model.onnx")
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    code, found = asked(capsys, path, "--against", golden)
    assert (code, found["missed"], found["not_exercised"], found["failures"]) == (0, 0, [], [])
    weights = [fault for fault in found["faults"] if fault["weight"]]
    assert {f["place"] for f in weights} == {
        *("first.weight", "first.bias", "second.weight", "second.bias")
    }
    assert all(fault["ledger"] for fault in weights)
    assert sum(fault["outputs"] for fault in weights) >= len(weights) - 2
    assert any(fault["outputs"] for fault in found["faults"] if not fault["weight"])
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.parametrize("name", ["model.mindir", "model.safetensors"])
def test_other_forms_are_asked_for_their_bytes(
    published: tuple[Path, steps.Migration],
    golden: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    code, found = asked(capsys, artifact(published, name), "--against", golden)
    assert (code, found["missed"]) == (0, 0)
    assert found["planted"] >= 30
    assert {(f["outputs"], f["ledger"]) for f in found["faults"]} == {(None, True)}


def test_a_specification_tells_what_weights_are_to_be(
    published: tuple[Path, steps.Migration], in_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = in_home.spec(Path("unused"), to=("safetensors",), model=None)
    code, found = asked(capsys, artifact(published, "model.safetensors"), "--against", spec)
    assert (code, found["missed"]) == (0, 0)
    assert found["planted"] >= 30


def test_an_artifact_that_is_wrong_by_itself_is_said_to_be(
    published: tuple[Path, steps.Migration],
    golden: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(artifact(published, "model.onnx").parent, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code = cli.run(["selftest", str(tmp_path / "copy/model.onnx"), "--against", str(golden)])
    out = capsys.readouterr().out
    assert code == 1
    assert out.startswith("FAIL: the artifact does not pass without any fault")
    assert "weights.ledger" in out


def test_people_get_tables_and_a_verdict_first(
    published: tuple[Path, steps.Migration], golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = artifact(published, "model.onnx")
    code = cli.run(["selftest", str(path), "--against", str(golden), "--faults", FAULTS])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].endswith("planted faults 0 wrongly pass")
    assert lines[2].split()[:3] == ["fault", "planted", "outputs"]


def test_what_it_is_compared_with_has_to_be_a_reference(
    published: tuple[Path, steps.Migration], in_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    path = artifact(published, "model.onnx")
    assert cli.run(["selftest", str(path), "--against", str(in_home.checkpoint)]) == 2
    assert "neither a specification" in capsys.readouterr().err
