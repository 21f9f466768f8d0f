"""What the doctor finds, and what it says about the rest."""

import json
import stat
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from ascend_migrate.flows import cli, doctor
from ascend_migrate.pipeline.errors import ExitCode


def found() -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine()}


def test_finds_what_is_installed() -> None:
    checks = found()
    for name in ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "prefect"):
        assert checks[name].found == version(name)
        assert checks[name].required


def test_everything_that_can_be_missing_has_a_remedy() -> None:
    assert all(check.remedy and check.needed_for for check in doctor.examine())


def test_missing_library_is_3_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_onnx(name: str) -> str:
        if name == "onnx":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", without_onnx)
    assert cli.run(["doctor"]) == ExitCode.UNABLE
    out = capsys.readouterr().out
    assert "onnx: pip install --force-reinstall ascend-migrate" in out


def test_missing_runtime_or_device_is_told_and_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_mindspore(name: str) -> str:
        if name == "mindspore":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", without_mindspore)
    assert cli.run(["doctor", "--json"]) == ExitCode.OK
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["mindspore"]["found"] == ""
    assert "ascend-migrate[mindspore]" in checks["mindspore"]["remedy"]


@pytest.mark.parametrize("variable", ["ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH", "PATH"])
def test_finds_the_toolkit_where_it_says_it_is(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")
    assert found()["CANN toolkit (atc)"].found == ""
    atc = tmp_path / "bin" / "atc"
    atc.parent.mkdir()
    atc.write_text("#!/bin/sh\n")
    atc.chmod(atc.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(variable, str(atc.parent if variable == "PATH" else tmp_path))
    assert found()["CANN toolkit (atc)"].found == str(atc)
