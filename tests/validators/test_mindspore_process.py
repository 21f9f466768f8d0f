"""The worker process: what goes wrong in it is one error here, and it leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.validators.mindspore_process import MindSporeProcess, first_paragraph

GRAPH = """<ir_version: 10, opset_import: ["" : 17]>
net (float[n, 3] x) => (float[n, 3] y) { y = Relu (x) }"""
INPUTS = [TensorInfo("x", "float32", (None, 3))]
X = np.array([[-1, 0, 2]], np.float32)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    onnx.save(parser.parse_model(GRAPH), folder / "model.onnx")
    return convert(folder / "model.onnx", folder, inputs=(), parent="p").path


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.mindspore
def test_leaves_nothing_behind(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.mindir").write_bytes(b"no graph")
    with MindSporeProcess() as process:
        pid, folder = process._process.pid, process._folder
        key = process.load(graph, INPUTS)
        (y,) = process.run(key, [X])
        with pytest.raises(CheckError):
            process.load(Path("bad.mindir"), [])
        assert folder.is_dir()
    assert y.tolist() == [[0, 0, 2]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.mindir"]
    assert not folder.exists()
    assert not alive(pid)
    assert capfd.readouterr() == ("", "")


@pytest.mark.mindspore
def test_two_graphs_side_by_side(graph: Path, tmp_path: Path) -> None:
    onnx.save(parser.parse_model(GRAPH.replace("Relu", "Neg")), tmp_path / "model.onnx")
    other = convert(tmp_path / "model.onnx", tmp_path, inputs=(), parent="p").path
    with MindSporeProcess() as process:
        relu, neg = process.load(graph, INPUTS), process.load(other, INPUTS)
        assert process.run(neg, [X])[0].tolist() == [[1, 0, -2]]
        assert process.run(relu, [X])[0].tolist() == [[0, 0, 2]]
        assert process.run(neg, [X])[0].tolist() == [[1, 0, -2]]


@pytest.mark.mindspore
def test_refusals_do_not_end_the_process(graph: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mindir"
    cut.write_bytes(graph.read_bytes()[:-20])
    with MindSporeProcess() as process:
        with pytest.raises(CheckError, match=rf"^MindSpore: {re.escape(str(cut))}: not loaded: "):
            process.load(cut, INPUTS)
        with pytest.raises(CheckError, match=r"gone\.mindir: not loaded: ValueError: "):
            process.load(tmp_path / "gone.mindir", [])
        assert process.run(process.load(graph, INPUTS), [X])[0].tolist() == [[0, 0, 2]]


@pytest.mark.mindspore
def test_a_process_that_is_killed(graph: Path) -> None:
    with MindSporeProcess() as process:
        key = process.load(graph, INPUTS)
        os.kill(process._process.pid, signal.SIGKILL)
        said = rf"^MindSpore: {re.escape(str(graph))}: did not run: the process ended with SIGKILL"
        with pytest.raises(ToolchainError, match=said):
            process.run(key, [X])
        with pytest.raises(ToolchainError, match="the process was ended before"):
            process.run(key, [X])


def test_no_answer_in_time(graph: Path) -> None:
    process = MindSporeProcess(timeout=0.2)
    pid, folder = process._process.pid, process._folder
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ToolchainError, match=r"not loaded: no answer within 0\.2 s") as caught:
        process.load(graph, INPUTS)
    assert caught.value.transient
    assert not alive(pid)
    assert not folder.exists()


def test_a_process_that_cannot_start(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    said = r"not loaded: the process ended with exit code 1: .*(encodings|PYTHON)"
    with MindSporeProcess() as process, pytest.raises(ToolchainError, match=said) as caught:
        process.load(graph, INPUTS)
    assert "\n" not in str(caught.value)


def test_mindspore_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mindspore", None)
    with pytest.raises(ToolchainError, match=r"not installed; run: pip install 'ascend-migrate\["):
        MindSporeProcess()


PARENT = """
import json, sys, time
from ascend_migrate.validators.mindspore_process import MindSporeProcess
process = MindSporeProcess()
print(json.dumps(process._process.pid), flush=True)
time.sleep(600)
"""


def test_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        pid = json.loads(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    deadline = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


MESSAGES = {
    "a call stack": (
        "For 'Add', wrong shapes.\n\n----------------------------------------------------\n"
        "- C++ Call Stack: (For framework developers)\n------\nmindspore/ccsrc/a.cc:1 Run",
        "For 'Add', wrong shapes.",
    ),
    "a heading": (
        "TypeError: \n----------------------------------------------------\n"
        "- Kernel select failed:\n----------------------------------------------------\n"
        "Select CPU operator[Maximum] fail!",
        "TypeError: Kernel select failed: Select CPU operator[Maximum] fail!",
    ),
    "much": ("a " * 1000, "a " * 200 + " ..."),
}


@pytest.mark.parametrize(("message", "said"), MESSAGES.values(), ids=MESSAGES)
def test_the_part_of_a_message_that_is_shown(message: str, said: str) -> None:
    assert first_paragraph(message) == said
