"""The worker process: what goes wrong in it is one error here, and it leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline import limits as limits_module
from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.worker_process import first_paragraph

GRAPH = """<ir_version: 10, opset_import: ["" : 17]>
net (float[n, 3] x) => (float[n, 3] y) { y = Relu (x) }"""
INPUTS = [TensorInfo("x", "float32", (None, 3))]
X = np.array([[-1, 0, 2]], np.float32)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    onnx.save(parser.parse_model(GRAPH), folder / "model.onnx")
    return convert(folder / "model.onnx", folder, inputs=(), parent="p").path


def living(session: int) -> list[str]:
    """Processes of a session, less those that have ended and wait for the system to see it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, _, rest = path.read_text().rpartition(")")
            state, _parent, _group, its_session, *_ = rest.split()
            if int(its_session) == session and state != "Z":
                found.append(path.parent.name)
    return found


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
    process = MindSporeProcess(Limits(timeout=0.2))
    pid, folder = process._process.pid, process._folder
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ToolchainError, match=r"not loaded: no answer within 0\.2 s") as caught:
        process.load(graph, INPUTS)
    assert caught.value.transient
    assert not alive(pid)
    assert not folder.exists()


# What stands in for the MindSpore package in the process; each line is one that could happen.
STUBBORN = {
    "takes all memory": (
        "held = []\nwhile True: held.append(bytearray(1 << 24))",
        Limits(memory=256 << 20),
        r"needed more than 0\.25 GiB of memory; raise validation\.memory, or",
    ),
    "prints without end": (
        "while True: print('[ERROR] ' + 'again ' * 1000, flush=True)",
        Limits(),
        r"printed more than 64 MiB of messages, such as: \[ERROR\] again again",
    ),
    "hangs, and so does its child": (
        "import subprocess, time\nsubprocess.Popen(['sleep', '600'])\ntime.sleep(600)",
        Limits(timeout=1),
        r"no answer within 1 s, ended; give it more time \(validation\.timeout\)",
    ),
    "will not be ended": (
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "time.sleep(600)",
        Limits(timeout=1),
        r"no answer within 1 s, ended",
    ),
    "crashes": (
        "import os, sys\nsys.stderr.write('some Error here\\n')\nsys.stderr.flush()\nos.abort()",
        Limits(),
        r"the process ended with SIGABRT: some Error here$",
    ),
    "leaves": ("raise SystemExit(0)", Limits(), r"the process ended with exit code 0$"),
}


@pytest.mark.parametrize("kind", STUBBORN)
def test_whatever_goes_wrong_is_one_error(
    graph: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    code, limits, said = STUBBORN[kind]
    (tmp_path / "mindspore.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    process = MindSporeProcess(limits)
    session, folder = process._process.pid, process._folder
    said = rf"^MindSpore: {re.escape(str(graph))}: not loaded: {said}"
    with pytest.raises(ToolchainError, match=said) as caught:
        process.load(graph, INPUTS)
    assert "\n" not in str(caught.value)
    assert caught.value.transient is ("no answer" in said)
    deadline = time.monotonic() + 10
    while living(session) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not living(session)
    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mindspore.py"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.mindspore
def test_a_graph_that_needs_more_memory_than_allowed(tmp_path: Path) -> None:
    weights = np.ones((1024, 1024, 32), np.float32)  # 128 MiB, which MindSpore holds twice
    model = parser.parse_model(GRAPH.replace("Relu (x)", "Add (x, w)"))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 32
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "model.onnx")
    path = convert(tmp_path / "model.onnx", tmp_path, inputs=(), parent="p").path
    with (
        MindSporeProcess(Limits(memory=256 << 20)) as process,
        pytest.raises(ToolchainError, match=r"not loaded: needed more than 0\.25 GiB of memory"),
    ):
        process.load(path, [TensorInfo("x", "float32", (None, 32))])


def test_without_a_limit_what_is_free_is_the_limit(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "free_memory", lambda: 1 << 20)
    with (
        MindSporeProcess() as process,
        pytest.raises(ToolchainError, match=r"of memory; that is what was free: free some, or"),
    ):
        process.load(graph, INPUTS)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_is_passed_on(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    (tmp_path / "mindspore.py").write_text(
        "import os\nraise RuntimeError(os.environ['OMP_NUM_THREADS'] + ' threads')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        MindSporeProcess(Limits(threads=threads)) as process,
        pytest.raises(CheckError, match=f"{threads} threads$"),
    ):
        process.load(graph, INPUTS)


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
