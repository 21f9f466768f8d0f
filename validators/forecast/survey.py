"""What lowering does at each node: overflow, underflow, and lost bits.

Three models are computed side by side, node by node: in float64, in float32, and under the policy.
A fourth result of each node comes from the float32 model's numbers, rounded once: what this node
does by itself, where the third also shows what its predecessors did.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.forecast.graph import Step
from ascend_migrate.validators.forecast.policy import AS_IT_IS, Treatment, plan
from ascend_migrate.validators.forecast.simulation import Simulation, Values, release
from ascend_migrate.validators.forecast.verdict import Truth

_Wide = NDArray[np.float64]


@dataclass(slots=True)
class Harm:
    """What the policy does at one node, over all cases; NaN where nothing was finite.

    Attributes:
        index: place of the node.
        name: its name.
        op_type: its operator.
        module: qualified name of its module; "" where that is not known.
        largest: the largest number that it reads or makes in float32.
        overflows: elements that it reads or makes which the type's range does not hold.
        flushed: share of the numbers other than zero that become zero.
        subnormal: share of them that keep only some of their digits.
        lost: its own error, relative to what it makes in float32 (root mean square); infinite
            where it made no number of one.
        error: distance of the lowered model from float64 behind it, relative to the size there.
        noise: the same distance of float32.
        effect: how much of the limit the outputs use if this node alone is lowered; None where
            that was not measured.
    """

    index: int
    name: str
    op_type: str
    module: str
    largest: float = 0.0
    overflows: int = 0
    flushed: float = 0.0
    subnormal: float = 0.0
    lost: float = 0.0
    error: float = 0.0
    noise: float = 0.0
    effect: float | None = None

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is worse."""
        return (self.effect or 0.0, np.inf if self.overflows else self.lost)


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        harms: of every node that the policy lowers, in the order of the graph.
        truth: what the model returns in each case.
        lowered: what it returns under the policy.
    """

    harms: tuple[Harm, ...]
    truth: tuple[Truth, ...]
    lowered: tuple[Values, ...]


def survey(simulation: Simulation, names: Sequence[str]) -> Survey:
    """Computes all cases in every way.

    Args:
        simulation: of the policy.
        names: of its cases.

    Raises:
        ModelError: a node does not run.
    """
    graph = simulation.graph
    treatments = plan(graph, simulation.policy, simulation.chip, ())
    lanes = [_Lane(simulation, dict(feeds)) for feeds in simulation.feeds]
    harms = []
    for step in graph.steps:
        if step.varies:
            at = _Place(simulation, step, treatments[step.index])
            seen = [lane.advance(at) for lane in lanes]
            if any(seen):
                harms.append(at.harm)
    return Survey(
        tuple(harms),
        tuple(
            Truth(name, simulation.outputs(lane.own), _widened(simulation.outputs(lane.exact)))
            for name, lane in zip(names, lanes, strict=True)
        ),
        tuple(simulation.outputs(lane.low) for lane in lanes),
    )


class _Place:
    """One node, and the constants that it reads, in every precision."""

    def __init__(self, simulation: Simulation, step: Step, treatment: Treatment) -> None:
        self.step, self.treatment = step, treatment
        self.own = simulation.fixed(step, AS_IT_IS)
        self.low = simulation.fixed(step, treatment)
        self.exact = _widened(self.own)
        self.lowers = step.computes and treatment != AS_IT_IS
        self.harm = Harm(step.index, step.name, step.op_type, step.module)
        if self.lowers:
            for array in self.own.values():
                _count(self.harm, array, simulation.rounding.number)


class _Lane:
    """One case in its three precisions."""

    def __init__(self, simulation: Simulation, feeds: Values) -> None:
        self._simulation = simulation
        self.own, self.low, self.exact = dict(feeds), dict(feeds), dict(feeds)

    def advance(self, at: _Place) -> bool:
        """Computes one node; adds to its harm, and says whether float32 was rounded at it."""
        step, treatment = at.step, at.treatment
        own = self._simulation.step(step, self.own, AS_IT_IS, at.own)
        low = self._simulation.step(step, self.low, treatment, at.low)
        read = [name for name in step.reads if name not in at.own]
        given = {name: self.exact[name] for name in read}
        exact = self._simulation.graph.runner.exact(step.node, at.exact | given)
        rounded = False
        if at.lowers:
            once = self._simulation.step(step, self.own, treatment, at.low)
            makes = own if treatment.makes else {}
            for array in (*(self.own[name] for name in read), *makes.values()):
                rounded |= _count(at.harm, array, self._simulation.rounding.number)
            for name, array in own.items():
                if array.dtype == np.float32:
                    _measure(at.harm, array, once[name], low[name], exact[name])
        for values, made in ((self.own, own), (self.low, low), (self.exact, exact)):
            values.update(made)
            release(values, self._simulation.graph, step)
        return rounded


def _widened(values: Values) -> Values:
    """Returns float32 as float64: weights reach the float64 model so."""
    return {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in values.items()}


def _count(harm: Harm, array: Array, number: Precision) -> bool:
    """Counts what the type's range does not hold; says whether the array is float32 at all."""
    if array.dtype != np.float32:
        return False
    size = np.abs(array[np.isfinite(array)])
    if not size.size:
        return True
    harm.largest = max(harm.largest, float(size.max()))
    # Half a step above the largest number still rounds to it.
    end = np.float64(number.largest * (1 + number.epsilon / 2))
    harm.overflows += int(np.count_nonzero(size > end))
    nonzero = size[size > 0]
    if nonzero.size and number.dtype == "float16":
        harm.flushed = max(harm.flushed, float(np.mean(nonzero <= _HALF_STEP)))
        harm.subnormal = max(harm.subnormal, float(np.mean(nonzero < number.smallest)))
    return True


_HALF_STEP = 2.0**-25
"""Half of float16's smallest number: up to here it rounds to zero (IEEE 754-2008, binary16)."""


def _measure(harm: Harm, own: Array, once: Array, low: Array, exact: Array) -> None:
    harm.lost = max(harm.lost, _relative(once, own))
    harm.error = max(harm.error, _relative(low, exact))
    harm.noise = max(harm.noise, _relative(own, exact))


def _relative(found: Array, wanted: Array) -> float:
    """Returns the distance relative to the size, as root mean squares; infinite for a lost one."""
    finite = np.isfinite(wanted)
    if not np.array_equal(np.isfinite(found), finite):
        return float(np.inf)
    truth: _Wide = wanted[finite].astype(np.float64)
    size = float(np.sqrt(np.mean(np.square(truth)))) if truth.size else 0.0
    distance = float(np.sqrt(np.mean(np.square(found[finite] - truth)))) if truth.size else 0.0
    if distance == 0:
        return 0.0
    return distance / size if size else float(np.inf)
