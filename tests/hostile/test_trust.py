"""Pickles that are trusted and should not be: what their code tries comes to nothing.

The payloads are canaries. Each file also holds a good tensor, so that only the payload decides.
"""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.checkpoint.reference import BASE, Runs

from ascend_migrate.pipeline.checkpoint import describe, trusted
from ascend_migrate.pipeline.checkpoint.trusted import open_trusted
from ascend_migrate.pipeline.errors import SourceError

pytestmark = pytest.mark.faults

_FORKS = "import os\nwhile True:\n    os.fork()"
_THREADS = (
    "import threading, time\n"
    "while True:\n    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
)
_SPIN = "while True:\n    pass"
_MUTE = (
    "import signal, os\nfor n in range(1, 65):\n    n in (9, 19, 32, 33) or signal.signal(n, 1)\n"
)
_MEMORY = "held = []\nwhile True:\n    held.append(bytearray(1 << 26))"
_SHELL = "import os\nos.execv('/bin/sh', ['sh', '-c', 'touch {canary}'])"
_ESCAPE = "import os\nos.symlink('{outside}', 'state.pt'); os._exit(0)"
_PIPE = "import os\nos.mkfifo('state.pt'); os._exit(0)"
_LOUD = (
    "import os\nfor n in range(64):\n    try: os.write(n, b'x' * 100_000)\n    except OSError: pass"
)
_SAY = "raise ValueError('\\x1b[2J' + 'all is well\\n' * 10_000)"
_FILES = "n = 0\nwhile True:\n    n += 1\n    open(str(n), 'xb').write(bytes(1 << 20))"
_NAMES = "n = 0\nwhile True:\n    n += 1\n    open(str(n), 'xb').close()"
_DEPTH = (
    "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\n"
    "os.mkdir('d', 0)\nos._exit(0)"
)
_CRASH = "import ctypes\nctypes.string_at(0)"


def saved(folder: Path, code: str) -> Path:
    home = folder / "home"
    home.mkdir()
    names = {"canary": str(folder / "canary"), "outside": str(folder / "outside.pt")}
    torch.save({"w": BASE}, folder / "outside.pt")
    torch.save(
        {"w": BASE, "b": BASE[0], "evil": Runs(exec, code.format(**names))}, home / "evil.pt"
    )
    return home / "evil.pt"


def refusal(path: Path, seconds: int) -> str:
    with pytest.raises(SourceError) as caught:
        open_trusted(path, path.parent, seconds)
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param(_SPIN, "ended after 10 s", id="an endless loop"),
        pytest.param(_MUTE + _SPIN, "ended after 10 s", id="a loop that ignores all signals"),
        pytest.param(_MEMORY, "MemoryError", id="endless memory"),
        pytest.param(_FORKS, "its code failed", id="a fork bomb"),
        pytest.param(_THREADS, "its code failed", id="endless threads"),
        pytest.param(_SHELL, "its code failed", id="a shell"),
        pytest.param(_ESCAPE, "its code failed", id="a result that is a link out"),
        pytest.param(_PIPE, "its code failed", id="a result that is a pipe"),
        pytest.param(_SAY, "ValueError", id="a message for the terminal"),
        pytest.param(_CRASH, "by a limit or by a crash", id="a crash"),
    ],
)
def test_it_is_ended_in_one_line(tmp_path: Path, code: str, reason: str) -> None:
    path = saved(tmp_path, code)
    seconds = 10 if "10 s" in reason else 120
    begin = time.monotonic()
    message = refusal(path, seconds)
    assert time.monotonic() - begin < seconds + 30
    assert message.startswith(f"{path}: ")
    assert reason in message, message
    assert message.isprintable()
    assert len(message) < 700
    assert [p.name for p in path.parent.iterdir()] == ["evil.pt"]
    assert not (tmp_path / "canary").exists()
    assert not processes(path)


def processes(path: Path) -> list[str]:
    """Command lines of all processes that name the file."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(path) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("code", [_FILES, _NAMES], ids=["files", "empty files"])
def test_the_disk_is_not_filled(tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted, "_DISK", 1 << 24)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = saved(tmp_path, code)
    assert "wrote more than 16 MiB" in refusal(path, 120)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "outside.pt"]


def test_nothing_is_left_of_a_folder_that_is_too_deep_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert "by a limit or by a crash" in refusal(saved(tmp_path, _DEPTH), 120)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "outside.pt"]


def test_what_it_says_reaches_nobody(tmp_path: Path) -> None:
    """The command's own output is the artifact; the pickle's goes nowhere."""
    path = saved(tmp_path, _LOUD)
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-c", "from ascend_migrate.flows.cli import main; main()"),
            *("convert", str(path), "--to", "safetensors", "-o", str(tmp_path / "out")),
            "--trust-pickle",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "xxx" not in done.stdout + done.stderr
    assert "WARNING" in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["model.safetensors"]


def test_nobody_is_called(tmp_path: Path) -> None:
    """Neither this machine nor a name server hears of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)"
        assert "its code failed" in refusal(saved(tmp_path, code), 120)
        with pytest.raises(TimeoutError):
            server.accept()


def test_looking_at_it_runs_nothing(tmp_path: Path) -> None:
    code = "open('{canary}', 'w')"
    assert "holds Python objects" in describe(saved(tmp_path, code))["problem"]
    assert not (tmp_path / "canary").exists()
