"""Odd but valid files keep every byte: refusing everything is not safety."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tests.checkpoint.reference import assert_equal, bits
from tests.hostile.twins import Twin, twins

from ascend_migrate.converters.checkpoint_to_safetensors import convert
from ascend_migrate.pipeline.checkpoint import open_checkpoint

TWINS = twins()


def test_there_are_as_many_as_promised() -> None:
    names = [twin.name for twin in TWINS]
    assert len(set(names)) == len(names)
    assert len(names) >= 50


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name[:60])
def test_it_keeps_every_byte(twin: Twin, tmp_path: Path) -> None:
    path = tmp_path / "home" / twin.file
    path.parent.mkdir(parents=True)
    twin.write(path)
    expected = twin.expected(path)
    checkpoint = open_checkpoint(path)
    assert_equal(checkpoint, expected)
    out = tmp_path / "out"
    out.mkdir()
    convert(checkpoint, out)
    check_file(out / "model.safetensors", expected)


def check_file(path: Path, expected: dict[str, torch.Tensor]) -> None:
    """What was written, by the reference reader; a tied name stands for the one it is tied to."""
    with safe_open(path, framework="pt") as file:
        tied = json.loads((file.metadata() or {}).get("ascend_migrate.tied", "{}"))
        assert set(file.keys()) | set(tied) == set(expected)
        for name, tensor in expected.items():
            found = file.get_tensor(tied.get(name, name))
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape), name
            assert bits(found) == bits(tensor), name
