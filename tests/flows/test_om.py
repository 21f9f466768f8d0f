"""`om` and `import-om` as a user meets them, with and without a CANN (an emulated one)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from tests.converters.atc.emulated import install
from tests.validators.preflight_models import Node, floats

from ascend_migrate.flows import cli


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(Node("Abs", [floats("n", 3)]).model(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def cann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = install(tmp_path)
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(root))
    return root


def asked(model: Path, out: Path, *options: str) -> list[str]:
    return ["om", str(model), "--soc", "Ascend910B3", "-o", str(out), *options]


def test_without_cann_it_says_what_to_install(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(asked(model, tmp_path / "out")) == 3
    error = capsys.readouterr().err
    assert "install Ascend-cann-toolkit" in error
    assert "--bundle" in error
    assert not (tmp_path / "out").exists()


def test_a_compiled_file_says_what_it_is(
    model: Path, tmp_path: Path, cann: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = asked(model, tmp_path / "out", "--input", "x0=float32[n=1..4,3]")
    assert cli.run(given) == 0
    assert "not verified on device" in capsys.readouterr().out
    identity = json.loads((tmp_path / "out" / "om.json").read_text())
    assert identity["soc"] == "Ascend910B3"
    assert identity["precision_mode"] == "origin"
    assert identity["toolkit"] == "8.1.RC1"
    assert (tmp_path / "out" / "model.om").read_text().startswith("emulated ")
    assert (tmp_path / "out" / "atc.log").is_file()


def test_paths_are_those_of_the_caller(
    model: Path, tmp_path: Path, cann: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ATC runs in the folder of its result."""
    monkeypatch.chdir(tmp_path)
    node = onnx.load(model).graph.node[0]
    Path("keep.txt").write_text(f"{node.name or 'Abs_0'}\n")
    options = ["--precision-mode", "fp16", "--keep-dtype", "keep.txt"]
    assert cli.run(asked(Path("model.onnx"), Path("out"), *options)) == 0
    names = {"atc.log", "model.om", "model.onnx", "om.json"}
    assert {path.name for path in Path("out").iterdir()} == names


def test_two_chips_make_two_files(model: Path, tmp_path: Path, cann: Path) -> None:
    for chip in ("Ascend910B3", "Ascend310P3"):
        assert cli.run(["om", str(model), "--soc", chip, "-o", str(tmp_path / chip)]) == 0
    one, other = ((tmp_path / c / "om.json").read_bytes() for c in ("Ascend910B3", "Ascend310P3"))
    assert one != other


def test_a_refusal_keeps_the_log(
    model: Path,
    tmp_path: Path,
    cann: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EMULATED_ATC", "new message")
    assert cli.run(asked(model, tmp_path / "out")) == 2
    assert "E13010 (ai.onnx::22::Conv)" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["atc.log"]


def test_a_bundle_goes_and_comes_back(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = tmp_path / "bundle"
    assert cli.run(asked(model, bundle, "--bundle")) == 0
    assert "convert.sh" in capsys.readouterr().out
    assert cli.run(["import-om", str(bundle), "-o", str(tmp_path / "early")]) == 2
    assert "was not converted" in capsys.readouterr().err
    root = install(tmp_path)
    monkeypatch.setenv("PATH", f"{root / 'bin'}:/usr/bin:/bin")
    subprocess.run([str(bundle / "convert.sh")], check=True, capture_output=True)
    assert cli.run(["import-om", str(bundle), "-o", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["identity"]["soc"] == "Ascend910B3"
    assert (tmp_path / "out" / "model.om").read_bytes() == (
        bundle / "compiled" / "model.om"
    ).read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--input", "x0=float32[n=1|2,3"], "expected NAME=DTYPE"),
        (["--keep-dtype", "model.onnx"], "has no effect with the precision mode origin"),
        (["--golden", "model.onnx"], "--golden goes with --bundle"),
        (["--input", "x0=float32[n=1|2,m=1..3]", "--bundle"], "list the sizes of m"),
    ],
)
def test_requests_at_fault(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(asked(model, tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_whoever_ends_it_ends_atc(model: Path, tmp_path: Path, cann: Path) -> None:
    """As a scheduler does: a compiler that goes on for hours would be left behind."""
    program = str(Path(sys.executable).with_name("ascend-migrate"))
    command = [program, *asked(model, tmp_path / "out")]
    process = subprocess.Popen(command, env={**os.environ, "EMULATED_ATC": "hangs"})
    written, deadline = tmp_path / "out" / "pid", time.monotonic() + 60
    while not (written.is_file() and written.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(written.read_text()), 0)


def test_a_full_disk_leaves_no_half_of_a_bundle(model: Path, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("ascend-migrate"))
    script = 'ulimit -f 4; exec "$@"'  # blocks of 512 or 1024 bytes; run_om.py has more
    before = {path.name for path in tmp_path.iterdir()}
    command = [program, *asked(model, tmp_path / "out", "--bundle")]
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "File too large" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == before
