"""--trust-pickle: code runs only when asked, only confined, and only its tensors come back."""

import importlib
import os
import pickle
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.archives import flip
from tests.checkpoint.reference import BASE, Runs, assert_equal, assert_refused

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.checkpoint.checkpoint import select
from ascend_migrate.pipeline.checkpoint.trusted import open_trusted
from ascend_migrate.pipeline.errors import SourceError

CLASSES = """
import os, pathlib, socket, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.emb.weight
        self.scale = nn.Buffer(torch.tensor(2.5, dtype=torch.float64))
        self.hidden = torch.zeros(2)

def refused(action, *args):
    try:
        action(*args)
    except OSError:
        return torch.tensor(1.0)
    return torch.tensor(0.0)

def connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as one:
        one.settimeout(2)
        one.connect(address)

def write(path):
    pathlib.Path(path).write_text("x")

def read(path):
    pathlib.Path(path).read_bytes()

def spawn():
    os.posix_spawn("/bin/true", ["true"], {})

def secrets():
    return torch.tensor(float(sum("SECRET" in name for name in os.environ)))

def pretend(data):
    pathlib.Path("state.pt").write_bytes(data)
    os._exit(0)
"""


@pytest.fixture
def classes(tmp_path: Path) -> Iterator[Any]:
    """A module that is known here while files are made, and otherwise only in its folder."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "shapes_of_mine.py").write_text(CLASSES)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("shapes_of_mine")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["shapes_of_mine"]


def saved(folder: Path, value: Any, *, legacy: bool = False) -> Path:
    home = folder / "files"
    home.mkdir(exist_ok=True)
    torch.save(value, home / "a.pt", _use_new_zipfile_serialization=not legacy)
    return home / "a.pt"


@pytest.mark.faults
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_module_becomes_its_state_dict(tmp_path: Path, classes: Any, legacy: bool) -> None:
    model = classes.Net()
    path = saved(tmp_path, {"model": model, "epoch": 3}, legacy=legacy)
    before = path.read_bytes()
    assert_refused(path, "inside Python objects ('model': shapes_of_mine.Net)")
    checkpoint = open_checkpoint(path, trust_pickle=tmp_path / "code")
    assert_equal(checkpoint, dict(model.state_dict()))
    assert checkpoint.shared == (("emb.weight", "head.weight"),)
    assert checkpoint.format == "trusted-pickle"
    assert any('trust = "pickle"' in note for note in checkpoint.notes)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]


def test_what_the_code_may_not_do(
    tmp_path: Path,
    classes: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each attempt comes back as a tensor: 1 where it was refused."""
    monkeypatch.setenv("MY_SECRET", "x")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private").write_text("x")
    local = str(outside / "socket")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(local)
        unix.listen()
        attempts: dict[str, tuple[Any, ...]] = {
            "connect": (classes.connect, server.getsockname()),
            "connect locally": (classes.connect, local),
            "write elsewhere": (classes.write, str(outside / "canary")),
            "write beside": (classes.write, str(tmp_path / "files" / "canary")),
            "write into the code": (classes.write, str(tmp_path / "code" / "canary")),
            "read beside": (classes.read, str(tmp_path / "files" / "private")),
            "read elsewhere": (classes.read, str(outside / "private")),
            "read the system's": (classes.read, "/etc/passwd"),
            "read a process": (classes.read, f"/proc/{os.getpid()}/environ"),
            "remove": (os.unlink, str(outside / "private")),
            "link": (os.symlink, "/etc/passwd", "link"),
            "rights": (os.chmod, str(outside / "private"), 0o777),
            "signal": (os.kill, os.getpid(), 0),
            "fork": (os.fork,),
            "spawn": (classes.spawn,),
        }
        state = {
            "secrets": Runs(classes.secrets),
            "scratch": Runs(classes.refused, classes.write, "allowed"),
            **{name: Runs(classes.refused, *args) for name, args in attempts.items()},
        }
        model = classes.Net()
        path = saved(tmp_path, {"model": model, "attempts": state})
        (path.parent / "private").write_text("x")
        with pytest.raises(SourceError, match="holds Python objects"):
            open_checkpoint(path)
        assert not caplog.text
        contents = open_trusted(path, tmp_path / "code")
    assert "running the code in this file, as --trust-pickle asks" in caplog.text
    assert_equal(select(path, contents, "model"), dict(model.state_dict()))
    confined = next(note for note in contents.notes if note.startswith("confined"))
    assert confined.partition(": ")[2].partition(";")[0] in caplog.text
    if "NOT CONFINED" in confined:
        pytest.skip(confined)
    checkpoint = select(path, contents, "attempts")
    found = {name: float(checkpoint.read(name)) for name in state}
    assert found == {"secrets": 0, "scratch": 0} | dict.fromkeys(attempts, 1)
    assert (outside / "private").read_text() == "x"
    assert not list(tmp_path.rglob("canary"))


def test_a_file_that_needs_no_code_runs_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = open_checkpoint(saved(tmp_path, {"w": BASE}), trust_pickle=tmp_path)
    assert_equal(checkpoint, {"w": BASE})
    assert checkpoint.format == "torch-zip"
    assert not caplog.text


@pytest.mark.faults
def test_a_bare_pickle_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"model": {"w": BASE.numpy()}, "author": "x"}))
    assert_refused(path, "looks like a bare pickle")
    assert_equal(open_checkpoint(path, trust_pickle=tmp_path), {"w": BASE})


def trusted_fault(path: Path, reason: str, seconds: int = 60) -> None:
    with pytest.raises(SourceError) as caught:
        open_trusted(path, path.parent, seconds)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message, message
    assert "\n" not in message
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]


@pytest.mark.faults
def test_code_that_does_not_end_is_ended(tmp_path: Path) -> None:
    begin = time.monotonic()
    trusted_fault(saved(tmp_path, {"w": Runs(time.sleep, 1000)}), "ended after 8 s", seconds=8)
    assert time.monotonic() - begin < 60


@pytest.mark.faults
def test_code_that_fails_says_why(tmp_path: Path, classes: Any) -> None:
    path = saved(tmp_path, classes.Net())
    trusted_fault(path, "No module named 'shapes_of_mine'")


@pytest.mark.faults
def test_memory_is_bounded(tmp_path: Path) -> None:
    trusted_fault(saved(tmp_path, {"w": Runs(bytearray, 1 << 36)}), "MemoryError")


@pytest.mark.faults
def test_what_comes_back_is_not_trusted(tmp_path: Path, classes: Any) -> None:
    path = saved(tmp_path, {"w": Runs(classes.pretend, pickle.dumps(Runs(os.system, "true")))})
    with pytest.raises(SourceError, match="its code left what cannot be read"):
        open_checkpoint(path, trust_pickle=tmp_path / "code")


def test_damage_is_seen_before_anything_runs(tmp_path: Path) -> None:
    path = saved(tmp_path, {"w": Runs(time.sleep, 1000), "v": torch.full((64,), 7.0)})
    flip(path, b"\0\0\xe0@" * 8)
    begin = time.monotonic()
    trusted_fault(path, "fails its checksum")
    assert time.monotonic() - begin < 1
