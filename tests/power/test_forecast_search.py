"""The keep-list of the forecast beside the smallest one, which all subsets were tried for."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.validators.forecast_models import TOYS, Toy

from ascend_migrate.validators.forecast import verdict as forecast_verdict
from ascend_migrate.validators.forecast.chips import chip_of
from ascend_migrate.validators.forecast.forecast import forecast
from ascend_migrate.validators.forecast.graph import open_graph
from ascend_migrate.validators.forecast.policy import POLICIES
from ascend_migrate.validators.forecast.simulation import Simulation
from ascend_migrate.validators.forecast.survey import survey

pytestmark = pytest.mark.power

WAYS = (
    *(("fp16", "Ascend910B3"), ("fp16", "Ascend310P3"), ("mixed", "Ascend910B3")),
    *(("bf16", "Ascend910B3"), ("hf32", "Ascend910B3"), ("cube_fp16", "Ascend310P3")),
)


class Every:
    """Verdicts on any keep-set of one model."""

    def __init__(self, toy: Toy, policy: str, soc: str, folder: Path) -> None:
        cases = toy.cases()
        feeds = [case.feeds for case in cases]
        graph = open_graph(toy.save(folder))
        self.simulation = Simulation(graph, POLICIES[policy], chip_of(soc), feeds)
        found = survey(self.simulation, [case.name for case in cases])
        self.truth, self.nodes = found.truth, [harm.index for harm in found.harms]

    def passes(self, kept: Sequence[int]) -> bool:
        found = self.simulation.run(kept)
        return forecast_verdict.passes(self.truth, found, self.simulation.rounding.number)

    def least(self) -> int | None:
        """Returns the size of the smallest set that passes; None where none does."""
        sizes = range(len(self.nodes) + 1)
        tried = (kept for size in sizes for kept in itertools.combinations(self.nodes, size))
        return next((len(kept) for kept in tried if self.passes(kept)), None)


@pytest.mark.parametrize(("policy", "soc"), WAYS)
@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
def test_the_list_passes_and_is_at_most_twice_the_smallest(
    tmp_path: Path, toy: Toy, policy: str, soc: str
) -> None:
    every = Every(toy, policy, soc, tmp_path)
    if not every.nodes:
        return
    found = forecast(toy.save(tmp_path), POLICIES[policy], soc, toy.cases())
    least = every.least()
    if least is None:
        assert found.kept is None
        return
    assert found.kept is not None
    assert every.passes([step.index for step in found.kept])
    assert len(found.kept) <= 2 * least


def test_float16_harms_at_least_ten_of_them(tmp_path: Path) -> None:
    harmed = [toy for toy in TOYS if not Every(toy, "fp16", "Ascend910B3", tmp_path).passes(())]
    assert len(harmed) >= 10
