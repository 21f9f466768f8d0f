"""Rules for a checkpoint's tensors on the command line, as far as they reach: into the report."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ascend_migrate.flows import cli

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.second = nn.Linear(2, 3)
"""


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_names_and_kinds(capfd: pytest.CaptureFixture[str]) -> None:
    dense = torch.eye(3)
    torch.save({"module.net.w": dense.to_sparse(), "module.net.b": torch.ones(2)}, "a.pt")
    options = ("--rename", "net.*=model.*", "--unpack", "sparse", "--json")
    code, out, err = run(capfd, "convert", "a.pt", "--to", "safetensors", "-o", "out", *options)
    assert code == 0, err
    stored = load_file("out/model.safetensors")
    assert set(stored) == {"model.w", "model.b"}
    assert torch.equal(stored["model.w"], dense)
    notes = json.loads(out)["notes"]
    assert "the prefix 'module.' was stripped from all names" in notes
    assert "2 name(s) renamed: net.* -> model.*" in notes
    assert "1 sparse tensor(s) turned into plain ones" in notes


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--rename", "net.*"], "is no PATTERN=NEW"),
        (["--rename", "a=b", "--rename", "a=c"], "its pattern is twice"),
        (["--rename", "a=b.*"], "source.rename: 'a' -> 'b.*'"),
        (["--rename", "x.*=y.*"], "'x.* -> y.*' renames nothing"),
        (["--rename", "*=w"], "would both be named 'w'"),
        (["--unpack", "zip"], "source.unpack.0"),
        (["--unpack", "quantized"], "has no quantized tensor"),
    ],
)
def test_faults(options: list[str], reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save({"w": torch.ones(2), "v": torch.ones(3)}, "a.pt")
    code, out, err = run(capfd, "convert", "a.pt", "--to", "safetensors", "-o", "out", *options)
    assert (code, out) == (2, "")
    assert reason in err


def test_a_trusted_pickle_is_said_in_the_report(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Path("net_of_mine.py").write_text(NET)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    model = importlib.import_module("net_of_mine").Net()
    torch.save(model, "a.pt")
    monkeypatch.delitem(sys.modules, "net_of_mine")
    command = ("migrate", "a.pt", "--to", "safetensors", "--registry", "r")
    code, _, err = run(capfd, *command)
    assert code == 2
    assert "is a whole pickled net_of_mine.Net object" in err
    code, out, err = run(capfd, *command, "--trust-pickle", "--json")
    assert code == 0, err
    # Without pytest's own handlers it stands on stderr.
    assert "running the code in this file, as --trust-pickle asks" in caplog.text
    report = json.loads(Path(json.loads(out)["report"]).with_suffix(".json").read_text())
    notes = " ".join(report["verdict"]["context"]["source_notes"])
    assert 'by running their code (trust = "pickle")' in notes
    assert "confined while that ran: no network" in notes or "NOT CONFINED" in notes
    code, _, err = run(capfd, "pull", "a", "--form", "safetensors", "-o", "p", "--registry", "r")
    assert code == 0, err
    stored = load_file("p/model.safetensors")
    assert set(stored) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(stored[name], tensor)
