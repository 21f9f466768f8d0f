"""A file that changes under our hands is an error, never a crash: mapped pages may be gone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ascend_migrate.converters.checkpoint_to_safetensors import convert
from ascend_migrate.pipeline.checkpoint import Checkpoint, open_checkpoint
from ascend_migrate.pipeline.errors import SourceError


def opened(folder: Path) -> Checkpoint:
    torch.save({"w": torch.ones(1 << 20)}, folder / "a.pt")
    return open_checkpoint(folder / "a.pt")


def shorten(path: Path) -> None:
    os.truncate(path, 5000)


def overwrite(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(100_000)
        stream.write(b"\1" * 1000)


@pytest.mark.parametrize("change", [shorten, overwrite])
def test_it_is_said(tmp_path: Path, change: Callable[[Path], None]) -> None:
    checkpoint = opened(tmp_path)
    change(tmp_path / "a.pt")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(SourceError, match="changed while it was read"):
        convert(checkpoint, out)
    assert list(out.iterdir()) == []
