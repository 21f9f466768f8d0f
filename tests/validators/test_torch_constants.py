"""The constants of a model's code are known, so that they are told from strange weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.validators import toys
from torch import Tensor, nn

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.ledger.weight_bytes import content_digest

SIZE = 300


def ramp(step: float) -> Tensor:
    return torch.arange(SIZE) * step


class Tables(nn.Module):
    """Holds a table in every place that there is, and makes one when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SIZE))
        self.register_buffer("stored", torch.zeros(SIZE))
        self.register_buffer("unstored", ramp(0.1), persistent=False)
        self.plain = ramp(0.2)
        self.parts = [ramp(0.3)]
        self.named = {"a": ramp(0.4)}
        self.small = torch.arange(8) * 0.5

    def forward(self, x: Tensor) -> Tensor:
        made = torch.cos(torch.arange(SIZE) * 0.25)
        stored: Tensor = self.stored  # type: ignore[assignment]
        found: Tensor = x.sum() * 7 * (made + self.weight * 3 + stored * 2)
        return found


HELD = {"unstored": 0.1, "plain": 0.2, "parts": 0.3, "named": 0.4}


@pytest.fixture(scope="module")
def constants(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    found: set[str] = set()
    feeds = {"x": np.ones(SIZE, np.float32)}
    original = toys.original(Tables, tmp_path_factory.mktemp("tables"))
    original.weights(feeds, Precision("float16"), found)
    return found


@pytest.mark.parametrize("place", HELD)
def test_tables_that_no_checkpoint_stores_are_known(constants: set[str], place: str) -> None:
    table = ramp(HELD[place]).numpy()
    assert content_digest(table) in constants
    # What the policy's cast makes of it is known as well.
    assert content_digest(table.astype(np.float16)) in constants


def test_what_a_call_makes_of_nothing_is_known(constants: set[str]) -> None:
    steps = torch.arange(SIZE) * 0.25
    for made in (steps, torch.cos(steps)):
        assert content_digest(made.numpy()) in constants


def test_what_comes_of_a_weight_or_an_input_is_none(constants: set[str], tmp_path: Path) -> None:
    checkpoint = toys.checkpoint_of(Tables(), tmp_path)
    weight, stored = checkpoint.read("weight"), checkpoint.read("stored")
    for array in (weight, stored, weight * 3, stored * 2, np.ones(SIZE, np.float32)):
        assert content_digest(array) not in constants
    assert content_digest((torch.arange(8) * 0.5).numpy()) not in constants
