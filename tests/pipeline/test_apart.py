import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.pipeline import apart_calls

from ascend_migrate.pipeline import apart
from ascend_migrate.pipeline.errors import MigrationError, ModelError, SpecError, ToolchainError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search path goes along, and pytest finds this folder by other means."""
    monkeypatch.syspath_prepend(str(ROOT))


def living(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Waits until a process has ended."""
    deadline = time.monotonic() + 10
    while living(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not living(pid)


def written(path: Path) -> list[int]:
    """Waits for the process ids in a file."""
    deadline = time.monotonic() + 20
    while len(path.read_text().split() if path.exists() else []) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return list(map(int, path.read_text().split()))


def test_each_call_begins_anew() -> None:
    for _ in range(2):
        assert apart.call(apart_calls.add, "sum", DEFAULT_LIMITS, (), 2, two=3) == (5, 1)
    assert apart_calls.EFFECTS == []


def test_folder_environment_and_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value in ("one", "two"):  # of the caller as it is now, not as it was at the first call
        monkeypatch.setenv("APART_TEST", value)
        found = apart.call(apart_calls.surroundings, "x", DEFAULT_LIMITS, ())
        assert found == (str(tmp_path), value, True)


def test_what_is_printed_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    apart.call(apart_calls.prints, "x", DEFAULT_LIMITS, ())
    assert capfd.readouterr() == ("", "by print\nby number\n")


def test_errors_come_back_as_they_are() -> None:
    with pytest.raises(ModelError, match=r"^the model is at fault$"):
        apart.call(apart_calls.fails, "x", DEFAULT_LIMITS, (), "ours")
    with pytest.raises(SpecError) as caught:
        apart.call(apart_calls.fails, "x", DEFAULT_LIMITS, (), "several")
    assert caught.value.faults == ("first", "second")
    with pytest.raises(ModelError, match=r"^in short$"):
        apart.call(apart_calls.fails, "x", DEFAULT_LIMITS, (), "chained")


@pytest.mark.parametrize(("kind", "error"), [("foreign", LookupError), ("local", RuntimeError)])
def test_a_defect_keeps_its_traceback(kind: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        apart.call(apart_calls.fails, "x", DEFAULT_LIMITS, (), kind)
    assert not isinstance(caught.value, MigrationError)
    assert "apart_calls.py" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("kind", "limits", "said"),
    [
        ("segfault", DEFAULT_LIMITS, "its process ended with SIGSEGV; the fault is in native code"),
        ("exit", DEFAULT_LIMITS, "its process ended with exit code 7; its own code ends it"),
        ("now", DEFAULT_LIMITS, "its process ended with exit code 0; its own code ends it"),
        ("killed", DEFAULT_LIMITS, "SIGKILL, as the system does where memory runs out; free some"),
        ("hangs", Limits(timeout=0.3), r"not done within 0\.3 s, ended; give it more time"),
        ("memory", Limits(memory=256 << 20), r"needed more than 0\.25 GiB of memory; raise"),
    ],
)
def test_a_call_that_does_not_return(kind: str, limits: Limits, said: str) -> None:
    with pytest.raises(ToolchainError, match=rf"^model m:Net: case 'zeros': .*{said}") as caught:
        apart.call(apart_calls.ends, "model m:Net", limits, (), kind)
    assert "\n" not in str(caught.value)
    assert caught.value.transient is (kind == "hangs")
    # And the next one is none the worse for it.
    assert apart.call(apart_calls.add, "sum", DEFAULT_LIMITS, (), 1, two=1) == (2, 1)


def test_the_time_is_that_of_one_step() -> None:
    assert apart.call(apart_calls.patient, "x", Limits(timeout=0.6), ()) == "done"


def test_nothing_is_left_of_a_call(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    apart.call(apart_calls.with_children, "x", DEFAULT_LIMITS, (), pids, waits=False)
    assert all(map(gone, written(pids)))
    pids.unlink()
    with pytest.raises(ToolchainError):
        apart.call(apart_calls.with_children, "x", Limits(timeout=0.5), (), pids, waits=True)
    assert all(map(gone, written(pids)))


def test_threads_call_side_by_side() -> None:
    started = threading.Barrier(2, timeout=30)

    def ask(number: int) -> tuple[int, int]:
        started.wait()
        return apart.call(apart_calls.add, "x", DEFAULT_LIMITS, (), number, two=1)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, (1, 2))) == [(2, 1), (3, 1)]


_CALLER = """
import sys
from pathlib import Path
from tests.pipeline import apart_calls
from ascend_migrate.pipeline import apart
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS
apart.call(apart_calls.with_children, "x", DEFAULT_LIMITS, (), Path(sys.argv[1]), waits=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_call_ends_with_its_caller(number: signal.Signals, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = [sys.executable, "-P", "-c", _CALLER, str(pids)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as caller:
        found = written(pids)
        parents = {
            int(re.findall(r"PPid:\s*(\d+)", Path(f"/proc/{found[0]}/status").read_text())[0])
        }
        assert all(map(living, (*found, *parents)))
        caller.send_signal(number)
        caller.wait(20)
    assert all(map(gone, (*found, *parents)))
