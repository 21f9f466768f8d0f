"""Inputs are found for weights that the usual ones leave dark."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.validators import toys
from tests.validators.test_power import Attending
from torch import Tensor, nn

from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.power.power import measure
from ascend_migrate.validators.power.reach import MOST_FOUND, reach


class Gated(nn.Module):
    """Two experts behind gates that see averages: only calls that are low as a whole reach one."""

    def __init__(self) -> None:
        super().__init__()
        self.usual = nn.Linear(8, 8)
        self.rare = nn.Linear(8, 8)
        self.never = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean()
        low = torch.relu(-4.5 - mean).clamp(max=1.0)
        y: Tensor = self.usual(x) + low * self.rare(x) + torch.relu(mean - 1e9) * self.never(x)
        return y


RARE = ("rare.weight", "rare.bias")
NEVER = ("never.weight", "never.bias")


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Golden]:
    return toys.exported(Gated, tmp_path_factory.mktemp("gated"))


def test_a_case_is_found_that_the_gate_lets_through(gated: tuple[Artifact, Golden]) -> None:
    artifact, truth = gated
    before = measure(artifact, truth)
    assert before is not None
    assert set(before.not_exercised) == {*RARE, *NEVER}
    found = reach(artifact, truth, before.not_exercised, toys.X)
    assert {name for item in found for name in item.weights} == set(RARE)
    assert len(found) <= MOST_FOUND
    assert all(float(np.mean(item.case.feeds["x"])) < -4.5 for item in found)
    again = reach(artifact, truth, before.not_exercised, toys.X)
    assert [item.weights for item in again] == [item.weights for item in found]
    assert all(
        np.array_equal(one.case.feeds["x"], two.case.feeds["x"])
        for one, two in zip(found, again, strict=True)
    )


def test_what_no_output_depends_on_is_not_reached_by_its_rounding(tmp_path: Path) -> None:
    artifact, truth = toys.exported(Attending, tmp_path)
    assert reach(artifact, truth, ["key.bias"], toys.X) == []
