"""`validate --runtime`: what is asked of a device, and what a verdict then claims."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from tests.converters.atc import emulated_device
from tests.flows.toys import Home

from ascend_migrate.flows import cli
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.validators.device import torch_npu
from ascend_migrate.validators.runners import RUNTIMES

SPEC = """name = "toy"
to = ["onnx"]
inputs = ["x=float32[batch=1..4,16]"]
[source]
path = "{source}"
"""


@pytest.fixture(scope="module")
def carried(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is carried to the host of a device: the golden file, and artifacts; only to be read."""
    folder = tmp_path_factory.mktemp("carried")
    (folder / "spec.toml").write_text(SPEC.format(source=home.graph))
    spec = str(folder / "spec.toml")
    assert cli.run(["capture", spec, "-o", str(folder / "golden.safetensors")]) == ExitCode.OK
    assert cli.run(["convert", spec, "--to", "onnx", "-o", str(folder / "made")]) == ExitCode.OK
    shutil.copytree(folder / "made", folder / "spoiled")
    weights = folder / "spoiled" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    whole = folder / "whole.onnx"  # with its weights inside
    onnx.save(onnx.load(folder / "made" / "model.onnx"), whole)
    emulated_device.compiled(folder / "om", whole)
    return folder


def validate(carried: Path, artifact: str, *more: str) -> int:
    golden = str(carried / "golden.safetensors")
    return cli.run(["validate", str(carried / artifact), "--against", golden, *more])


def test_on_the_cpu_no_device_is_claimed(carried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(carried, "made/model.onnx", "--runtime", "onnxruntime-cpu") == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("PASS: proved equivalent on the CPU; not verified on device\n")
    assert "device:" not in out


def test_a_runtime_that_is_not_here_proves_nothing_and_says_what_to_install(
    carried: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--runtime", "onnxruntime-cann", "-o", str(tmp_path / "verdict"), "--json")
    assert validate(carried, "made/model.onnx", *given) == ExitCode.UNABLE
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["level"]) == ("not_run", "ledger")
    assert found["context"]["runtimes"] == {}
    assert "localisation" not in found["context"]
    (refused,) = [item for item in found["findings"] if item["outcome"] != "pass"]
    assert "pip install onnxruntime-cann 'numpy<2'" in refused["note"]
    page = (tmp_path / "verdict" / "report.html").read_text()
    assert "Not verified on device" in page
    assert "pip install onnxruntime-cann" in page


def test_a_runtime_of_another_form_is_the_request_s_fault(
    carried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(carried, "made/model.onnx", "--runtime", "ais_bench") == ExitCode.INPUT
    said = "ais_bench does not run onnx; what does: onnxruntime-cpu, onnxruntime-cann"
    assert said in capsys.readouterr().err
    for name in RUNTIMES:
        given = ("--runtime", name)
        assert validate(carried, "made/model.safetensors", *given) == ExitCode.INPUT


def test_a_device_that_answers_is_named_and_what_is_unverified_is_said(
    carried: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    emulated_device.install(tmp_path / "python", monkeypatch)
    given = ("--runtime", "ais_bench", "-o", str(tmp_path / "verdict"))
    assert validate(carried, "om/model.om", *given) == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("PASS: proved equivalent on the device\n")
    assert "device: om was run by ais_bench on Ascend910B3 number 0, CANN unknown; the part" in out
    found = json.loads((tmp_path / "verdict" / "report.json").read_text())
    assert found["verdict"]["level"] == "device"
    page = (tmp_path / "verdict" / "report.html").read_text()
    assert "Om was run by ais_bench on Ascend910B3 number 0" in page
    assert "is itself not verified on device" in page
    assert "No Ascend hardware took part" not in page


NO_TORCH = """
import sys
for name in ("torch", "mindspore", "prefect", "onnxscript"):
    sys.modules[name] = None  # which makes importing it fail
from ascend_migrate.flows.cli import main
main()
"""


@pytest.mark.parametrize(
    ("artifact", "code"), [("made/model.onnx", ExitCode.OK), ("spoiled/model.onnx", 1)]
)
def test_a_golden_file_needs_neither_torch_nor_the_original(
    carried: Path, artifact: str, code: int, tmp_path: Path
) -> None:
    for name in ("torch", "mindspore"):  # in processes that it starts
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    away = tmp_path / "away"
    shutil.copytree(carried, away, ignore=shutil.ignore_patterns("spec.toml"))
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-c", NO_TORCH),
            *("validate", artifact, "--against", "golden.safetensors", "-o", "verdict"),
        ],
        cwd=away,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.startswith("PASS: " if code == ExitCode.OK else "FAIL: ")
    assert done.stderr.splitlines() == ["  judge onnx"]
    assert (away / "verdict" / "report.html").is_file()


EMULATED_NPU = '''"""The process of torch_npu with the CPU in place of the device, for a test."""
import json, sys
from ascend_migrate.validators import worker
from ascend_migrate.validators.device.torch_npu_worker import Graphs

raise SystemExit(worker.main(Graphs(json.loads(sys.argv[3]), lambda: "cpu"), (Exception,)))
'''


@pytest.fixture(scope="module")
def weights(home: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The form for torch_npu, and the specification that it was made by; only to be read."""
    folder = tmp_path_factory.mktemp("npu")
    spec = str(home.spec(folder / "registry", to=("torch-npu",)))
    made = str(folder / "made")
    assert cli.run(["convert", spec, "--to", "torch-npu", "-o", made]) == ExitCode.OK
    return f"{made}/torch_npu.json", spec


def test_torch_npu_is_asked_with_the_code_of_the_specification(
    weights: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    artifact, spec = weights
    given = ["validate", artifact, "--against", spec, "--runtime", "torch-npu"]
    (tmp_path / "emulated_npu.py").write_text(EMULATED_NPU)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(torch_npu, "_MODULE", "emulated_npu")
    assert cli.run([*given, "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["level"]) == ("pass", "device")
    assert found["context"]["runtimes"] == {"torch-npu": {"name": "torch-npu", "level": "device"}}
    checks = {item["check"] for item in found["findings"]}
    assert {"weights.equal", "outputs.present", "outputs.close", "calls.repeatable"} <= checks
