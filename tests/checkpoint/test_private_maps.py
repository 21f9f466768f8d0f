"""A model gets its weights without a copy, and cannot change the checkpoint through them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.checkpoint.mapped import PrivateMaps
from ascend_migrate.pipeline.errors import SourceError

STATE = {"w": torch.arange(6.0).reshape(2, 3), "turned": torch.arange(6.0).reshape(2, 3).T}


def saved(name: str, folder: Path) -> Path:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in STATE.items()}, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=path.suffix == ".pt")
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
@pytest.mark.parametrize("tensor", STATE)
def test_what_is_written_stays_in_these_maps(name: str, tensor: str, tmp_path: Path) -> None:
    path = saved(name, tmp_path)
    before = path.read_bytes()
    checkpoint, maps = open_checkpoint(path), PrivateMaps()
    array = checkpoint.read_writable(tensor, maps)
    assert array.tolist() == STATE[tensor].tolist()
    array[...] = 7
    assert checkpoint.read(tensor).tolist() == STATE[tensor].tolist()
    assert checkpoint.read_writable(tensor, PrivateMaps()).tolist() == STATE[tensor].tolist()
    assert path.read_bytes() == before


def test_a_mapped_tensor_takes_no_memory(tmp_path: Path) -> None:
    checkpoint, maps = open_checkpoint(saved("w.safetensors", tmp_path)), PrivateMaps()
    array = checkpoint.read_writable("w", maps)
    assert np.shares_memory(array, checkpoint.read_writable("w", maps))
    assert not np.shares_memory(array, checkpoint.read("w"))


def test_a_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    path = saved("w.safetensors", tmp_path)
    checkpoint = open_checkpoint(path)
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes())
    other.replace(path)
    with pytest.raises(SourceError, match=r"w\.safetensors.* was changed while it was read"):
        checkpoint.read_writable("w", PrivateMaps())
