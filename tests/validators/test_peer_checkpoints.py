"""Faults of checkpoints that loaders of others let pass, and what ours says of each."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from ascend_migrate.converters import checkpoint_to_safetensors
from ascend_migrate.flows import cli
from ascend_migrate.flows.report_text import exit_code
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import ExitCode, ModelError
from ascend_migrate.pipeline.model import load_state
from ascend_migrate.pipeline.records import Outcome
from ascend_migrate.validators.judge import judge

TOLD = {
    "truncate": "is cut off: ",
    "bintrunc": "",
    "evilpickle": "system",
    "bit flipped in a zip": "fails its checksum: the file is damaged; get a fresh copy",
}


class Evil:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def spoiled(kind: str, folder: Path) -> Path:
    """Writes a checkpoint with one fault."""
    weights = {"a.weight": np.linspace(1, 2, 1000, dtype=np.float32)}
    path = folder / "spoiled.bin"
    if kind == "truncate":
        save_file(weights, path)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "evilpickle":
        state = {"a.weight": Evil(folder / "canary")}
        torch.save(state, path)
    else:
        torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, path)
        data = bytearray(path.read_bytes())
        if kind == "bintrunc":
            data = data[: len(data) // 2]
        else:
            data[data.index(weights["a.weight"].tobytes()) + 3] ^= 0x40
        path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("kind", TOLD)
def test_a_damaged_checkpoint_is_refused_in_one_line(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = spoiled(kind, tmp_path)
    out = tmp_path / "out"
    code = cli.run(["convert", str(path), "--to", "safetensors", "-o", str(out)])
    (line,) = [x for x in capfd.readouterr().err.splitlines() if not x.startswith("  ")]
    assert code == ExitCode.INPUT
    assert line.startswith(f"ascend-migrate: {path}: ")
    assert TOLD[kind] in line
    assert not (tmp_path / "canary").exists()
    assert not out.exists() or not any(out.iterdir())


def test_a_missing_tensor_is_refused_and_a_wrappers_prefix_is_stripped(tmp_path: Path) -> None:
    """Others fill in random numbers for both."""
    state = {"weight": np.ones((2, 3), np.float32), "bias": np.arange(2, dtype=np.float32)}
    save_file({f"module.{name}": array for name, array in state.items()}, tmp_path / "prefix.st")
    layer = torch.nn.Linear(3, 2)
    load_state(layer, open_checkpoint(tmp_path / "prefix.st"))
    for name, array in state.items():
        np.testing.assert_array_equal(layer.state_dict()[name].numpy(), array)
    save_file({"weight": state["weight"]}, tmp_path / "missing.st")
    with pytest.raises(ModelError, match=r"missing\.st does not fit Linear: missing bias \("):
        load_state(torch.nn.Linear(3, 2), open_checkpoint(tmp_path / "missing.st"))


def test_nan_in_a_checkpoint_is_refused_without_any_record(tmp_path: Path) -> None:
    save_file({"a": np.array([1, np.nan], np.float32)}, tmp_path / "nan.safetensors")
    checkpoint = open_checkpoint(tmp_path / "nan.safetensors")
    (tmp_path / "made").mkdir()
    made = checkpoint_to_safetensors.convert(checkpoint, tmp_path / "made")
    verdict = judge([made], None, source_digest="sha256:0", source_weights=checkpoint)
    assert exit_code(verdict) is ExitCode.REFUSED
    told = {f.subject: f.note for f in verdict.findings if f.check == "weights.finite"}
    assert told == {"a": "holds NaN in the source; get a sound checkpoint"}
    assert any(f.outcome is Outcome.FAIL for f in verdict.findings)
