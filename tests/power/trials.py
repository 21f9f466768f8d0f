"""Plants faults in one model and notes who sees them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.power.float64 import session
from tests.power.peers import RULES, caught
from tests.power.subjects import Subject, ready

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.validators.power.bench import Bench
from ascend_migrate.validators.power.faults import Fault, WeightFault
from ascend_migrate.validators.power.faults_graph import graph_faults
from ascend_migrate.validators.power.faults_weights import weight_faults
from ascend_migrate.validators.power.strength import Strength

WEIGHTS, GRAPH = "weights", "graph"

MOST_WEIGHTS = 260
"""Faults in weights of one model: a seeded sample of all kinds in all tensors."""

_DRAWS = 8
"""How often, at most, a model with few tensors is drawn from."""

MOST_OF_A_KIND = 12
"""Faults of one kind in the graph of one model."""


@dataclass(frozen=True)
class Trial:
    """One planted fault.

    Attributes:
        model: where.
        group: `WEIGHTS` or `GRAPH`.
        kind: of the kit.
        place: tensor or node.
        note: what is wrong with it.
        strength: effect in float64 over the original's noise, on other inputs than the judged.
        reached: whether any of those inputs reaches what is wrong.
        outputs: whether the outputs' checks fail.
        ledger: whether the ledger fails.
        peers: whether each peer's rule fails.
    """

    model: str
    group: str
    kind: str
    place: str
    note: str
    strength: float
    reached: bool
    outputs: bool
    ledger: bool
    peers: dict[str, bool]

    @property
    def counts(self) -> bool:
        """Whether it is above the noise floor, or would be if anything reached it."""
        return self.strength > 1 or not self.reached

    @property
    def caught(self) -> bool:
        """Whether the verdict is FAIL."""
        return self.outputs or self.ledger


@dataclass(frozen=True)
class Planted:
    """What came of one model.

    Attributes:
        trials: one for each fault that runs.
        unrunnable: faults that onnxruntime refuses in every case, which hide nowhere.
        alarms: rules of peers that refuse the sound artifact.
    """

    trials: list[Trial]
    unrunnable: int
    alarms: list[str]


def plant(name: str, folder: Path, seed: int = 0) -> Planted:
    """Plants a seeded sample of all faults in a model.

    Args:
        name: of the model.
        folder: an empty one.
        seed: of everything random.
    """
    subject = ready(name, folder)
    field = _Field(name, subject)
    rng = np.random.default_rng(seed)
    trials = [field.weight(fault) for fault in field.weight_faults(rng, seed)]
    found, unrunnable = field.graph(rng)
    return Planted([*trials, *found], unrunnable, field.alarms)


class _Field:
    """One model, loaded once, in which fault after fault is planted."""

    def __init__(self, name: str, subject: Subject) -> None:
        self._name = name
        self._truth = subject.truth
        self._bench = Bench(subject.artifact, subject.truth)
        # Nothing would be measured in an artifact that does not pass as it is.
        assert not self._bench.failures()
        sound = self._bench.answers(self._bench.plants.sound())
        self.alarms = [n for n, rule in RULES.items() if caught(rule, self._truth, sound)]
        self._strength = Strength(subject.artifact.path, subject.probes, session)

    def weight_faults(self, rng: np.random.Generator, seed: int) -> list[WeightFault]:
        """Draws faults of every kind in every tensor; more than once where these are few."""
        faults: dict[tuple[str, str, bytes], WeightFault] = {}
        for again in range(_DRAWS):
            for fault in weight_faults(self._bench.plants.weights, seed=seed + again):
                # What is not random is the same each time.
                faults[fault.kind, fault.place, fault.weights[fault.place].tobytes()] = fault
            if len(faults) >= MOST_WEIGHTS // 2:
                break
        found = [*faults.values()]
        return [found[i] for i in rng.permutation(len(found))[:MOST_WEIGHTS]]

    def weight(self, fault: WeightFault) -> Trial:
        """Plants one fault in a weight."""
        answers = self._bench.answers(self._bench.plants.spoiled(fault))
        strength = self._strength.of(fault)
        reached = strength > 0 or self._strength.reached(fault)
        return self._trial(WEIGHTS, fault, (strength, reached), answers)

    def graph(self, rng: np.random.Generator) -> tuple[list[Trial], int]:
        """Plants faults in the graph, up to a number of each kind; counts those that do not run."""
        plants = self._bench.plants
        faults = [*graph_faults(plants.model, set(plants.weights))]
        trials: list[Trial] = []
        planted: Counter[str] = Counter()
        refused = 0
        for fault in (faults[i] for i in rng.permutation(len(faults))):
            if planted[fault.kind] == MOST_OF_A_KIND:
                continue
            try:
                answers = self._bench.answers(plants.spoiled(fault))
            except CheckError:
                refused += 1
                continue
            if all(isinstance(answer, str) for answer in answers):
                refused += 1
                continue
            planted[fault.kind] += 1
            trials.append(self._trial(GRAPH, fault, (self._strength.of(fault), True), answers))
        return trials, refused

    def _trial(
        self, group: str, fault: Fault, strength: tuple[float, bool], answers: list[Any]
    ) -> Trial:
        seen = (self._bench.in_outputs(answers), self._bench.in_ledger(fault))
        peers = {name: caught(rule, self._truth, answers) for name, rule in RULES.items()}
        said = (fault.kind, fault.place, fault.note)
        return Trial(self._name, group, *said, *strength, *seen, peers)
