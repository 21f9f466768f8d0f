"""What a verdict says of its own power, and that its quick way agrees with the judgement."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.validators import toys
from torch import Tensor, nn

from ascend_migrate.pipeline.records import Artifact, Form, Outcome
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.power.bench import Bench, Ledger
from ascend_migrate.validators.power.faults_graph import graph_faults
from ascend_migrate.validators.power.faults_weights import weight_faults
from ascend_migrate.validators.power.power import Search, measure
from ascend_migrate.validators.power.selftest import selftest
from ascend_migrate.validators.power.strength import Strength


class Attending(toys.Plain):
    """Has a bias that a softmax takes away again, and a row of a table that no id reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.key = nn.Linear(8, 4)
        self.query = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        scores = self.query(x) @ self.key(x).transpose(0, 1)
        return torch.softmax(scores, -1) @ y


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Path, Golden]:
    folder = tmp_path_factory.mktemp("attending")
    artifact, truth = toys.exported(Attending, folder)
    return artifact, folder / toys.GOLDEN, truth


def test_a_weight_that_no_output_shows_is_named_and_the_ledger_shows_it(
    made: tuple[Artifact, Path, Golden],
) -> None:
    artifact, _, truth = made
    found = measure(artifact, truth)
    assert found is not None
    assert found.not_exercised == ("key.bias",)
    assert found.planted == found.weights == found.ledger
    assert found.outputs == found.planted - 1
    assert measure(artifact, truth) == found


def test_the_search_for_a_telling_case_says_what_all_cases_say(
    made: tuple[Artifact, Path, Golden],
) -> None:
    artifact, _, truth = made
    bench = Bench(artifact, truth)
    stale = {f.place: f for f in weight_faults(bench.plants.weights, seed=0) if f.kind == "stale"}
    assert stale.keys() == bench.plants.weights.keys()
    search = Search(bench)
    reached = search.reached(stale)
    for name, fault in stale.items():
        run = bench.plants.spoiled(fault)
        shown = [place for place in range(bench.cases) if bench.shows(run, place)]
        told = search.place(fault, range(bench.cases))
        assert (name in reached) == (told is not None) == bool(shown)
        assert not shown or {told, reached[name]} <= {*shown}
    assert search.is_sound()


def test_a_verdict_that_passes_carries_its_power_and_another_does_not(
    made: tuple[Artifact, Path, Golden],
) -> None:
    artifact, golden, truth = made
    verdict = judge([artifact], golden, source_digest="", source_weights=None)
    assert verdict.outcome is Outcome.PASS
    assert verdict.context["power"]["onnx"]["not_exercised"] == ["key.bias"]
    weights = {n: replace(w, digest="sha256:0") for n, w in truth.weights.items()}
    assert Ledger(artifact, replace(truth, weights=weights)).failures() != []
    wrong = replace(truth, cases=tuple(replace(c, own=c.feeds) for c in truth.cases))
    assert measure(artifact, wrong) is None


def test_files_are_not_changed(made: tuple[Artifact, Path, Golden]) -> None:
    artifact, _, truth = made
    measure(artifact, truth)
    names = [artifact.entry, *(f.path for f in artifact.files)]
    assert Artifact.of(Form.ONNX, artifact.root, names, parent="").digest == artifact.digest


def test_the_quick_way_shows_nothing_that_the_judgement_does_not(
    made: tuple[Artifact, Path, Golden],
) -> None:
    artifact, _, truth = made
    bench = Bench(artifact, truth)
    assert bench.failures() == []
    plants = bench.plants
    faults = [*weight_faults(plants.weights, seed=3)]
    faults = [faults[i] for i in np.random.default_rng(0).permutation(len(faults))[:40]]
    quick = whole = 0
    for fault in faults:
        run = plants.spoiled(fault)
        shown = any(bench.shows(run, place) for place in range(bench.cases))
        judged = bench.in_outputs(bench.answers(run))
        assert judged or not shown
        quick, whole = quick + shown, whole + judged
    assert quick >= 0.95 * whole > 0


def test_the_strength_of_a_fault_that_is_none_is_nothing(
    made: tuple[Artifact, Path, Golden],
) -> None:
    artifact, _, truth = made
    strength = Strength(artifact.path, truth.cases)
    weights = Bench(artifact, truth).plants.weights
    by_place = {(f.place, f.kind): f for f in weight_faults(weights, seed=0)}
    assert strength.of(by_place["key.bias", "stale"]) < 1e-3
    assert strength.reached(by_place["key.bias", "stale"])
    # One percent of a result of size 1 is 1e5 roundings, give or take a factor of 30.
    assert strength.of(by_place["second.weight", "scaled by 1.01"]) > 1e3


def test_a_selftest_counts_what_is_seen_and_names_what_is_not(
    made: tuple[Artifact, Path, Golden],
) -> None:
    artifact, _, truth = made
    told: list[tuple[int, int]] = []
    done = selftest(artifact, truth, count=60, progress=lambda *at: told.append(at))
    assert (done.failures, done.missed) == ((), [])
    assert done.not_exercised == ("key.bias",)
    weights = [trial for trial in done.trials if trial.weight]
    assert len(weights) == 45
    assert all(trial.ledger for trial in weights)
    assert {t.place for t in weights if not t.outputs} == {"key.bias"}
    assert {trial.kind for trial in done.trials if not trial.weight} <= {
        fault.kind for fault in graph_faults(Bench(artifact, truth).plants.model, set())
    }
    assert told[-1] == (len(done.trials), 60)


def test_a_selftest_of_a_wrong_artifact_plants_nothing(
    made: tuple[Artifact, Path, Golden],
) -> None:
    artifact, _, truth = made
    wrong = replace(truth, weights={n: replace(w, digest="") for n, w in truth.weights.items()})
    done = selftest(artifact, wrong, count=60)
    assert done.trials == ()
    assert {finding.check for finding in done.failures} == {"weights.ledger"}
