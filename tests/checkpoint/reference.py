"""What the tests of the readers share: the reference's bits, canaries, and how a refusal looks."""

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from ascend_migrate.pipeline.checkpoint import Checkpoint, describe, open_checkpoint
from ascend_migrate.pipeline.errors import SourceError

SEED = torch.Generator().manual_seed(11)
BASE = torch.randn(6, 8, generator=SEED)


def bits(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return bytes(plain.reshape(-1).view(torch.uint8).tolist())


def assert_equal(checkpoint: Checkpoint, expected: dict[str, torch.Tensor]) -> None:
    """The same names, types, sizes and bits, at once and in pieces, whatever the order."""
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():
        array = checkpoint.read(name)
        assert checkpoint.tensors[name].dtype == str(tensor.dtype).removeprefix("torch.")
        assert array.shape == tuple(tensor.shape), name
        assert array.tobytes() == bits(tensor), name
        assert b"".join(checkpoint.pieces(name)) == bits(tensor), name
        assert array.flags.c_contiguous
        assert not array.flags.writeable


class Runs:
    """Pickles to a call that would leave a canary file."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.args


def payload(folder: Path) -> Runs:
    return Runs(os.system, f"touch {folder / 'canary'}")


def read_all(path: Path, key: str | None = None) -> None:
    checkpoint = open_checkpoint(path, key=key)
    for name in checkpoint.tensors:
        checkpoint.read(name)


def assert_refused(path: Path, reason: str, *, key: str | None = None) -> str:
    """One line that names a file and the reason; nothing is executed on the way."""
    with pytest.raises(SourceError) as caught:
        read_all(path, key)
    message = str(caught.value)
    assert message.startswith(str(path if path.is_file() else path.parent))
    assert reason in message, message
    assert "\n" not in message
    assert len(message) < 700
    assert "weights_only" not in message
    with suppress(SourceError):  # looking is allowed to fail too, but not otherwise
        describe(path)
    assert not list(path.parent.rglob("canary"))
    return message


def plain_pickle(value: Any) -> bytes:
    return pickle.dumps(value, 2)
