"""A graph computed on the CPU with the rounding of a device, for all cases at once.

Node by node and, for each node, case by case: a weight is rounded once, and of what lies between
nodes only that is held which is still to be read.
"""

from collections.abc import Collection, Mapping, Sequence
from math import prod

import numpy as np

from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.forecast.chips import Chip
from ascend_migrate.validators.forecast.graph import Graph, Step
from ascend_migrate.validators.forecast.policy import Policy, Treatment, plan
from ascend_migrate.validators.forecast.rounding import Rounding
from ascend_migrate.validators.original import Outputs

_REMEMBERED = 1 << 30
"""Bytes of constants that are kept from run to run; what goes beyond is made anew each time."""

Values = dict[str, Array]


class Simulation:
    """The graph under a policy on a chip.

    Attributes:
        graph: what is computed.
        policy: the mode.
        chip: the family that it is meant for.
        rounding: to the policy's type.
        feeds: inputs of each case.
    """

    def __init__(self, graph: Graph, policy: Policy, chip: Chip, feeds: Sequence[Feeds]) -> None:
        self.graph, self.policy, self.chip, self.feeds = graph, policy, chip, feeds
        self.rounding = Rounding(policy.number, saturates=chip.saturates)
        self._constants = _Constants(graph, self.rounding)

    def of(self, cases: Sequence[int]) -> "Simulation":
        """Returns the same with some of the cases only; constants are shared."""
        part = Simulation(self.graph, self.policy, self.chip, [self.feeds[i] for i in cases])
        part._constants = self._constants
        return part

    def run(self, kept: Collection[int]) -> list[Outputs]:
        """Returns the outputs of each case with the nodes ``kept`` in float32.

        Raises:
            ModelError: a node does not run.
        """
        treatments = plan(self.graph, self.policy, self.chip, kept)
        held: list[Values] = [dict(feeds) for feeds in self.feeds]
        low: set[str] = set()
        for step in self.graph.steps:
            if step.varies:
                treatment = treatments[step.index]
                fixed = self.fixed(step, treatment)
                for values in held:
                    values.update(self.step(step, values, treatment, fixed, low))
                    release(values, self.graph, step)
                if treatment.makes is not None or (step.moves and treatment.reads is not None):
                    low.update(step.node.output)
        return [self.outputs(values) for values in held]

    def fixed(self, step: Step, treatment: Treatment) -> Values:
        """Returns the constants that a node reads, rounded as its treatment says."""
        rounds = treatment.reads is not None and not _gathers(step)
        return {
            name: self._constants.get(name, rounded=rounds)
            for name in step.reads
            if name not in self.graph.computed
        }

    def step(
        self,
        step: Step,
        values: Mapping[str, Array],
        treatment: Treatment,
        fixed: Values,
        low: Collection[str] = (),
    ) -> Values:
        """Returns what one node makes, rounded as its treatment says.

        Args:
            step: the node.
            values: the tensors of a case, by name.
            treatment: of the node.
            fixed: the constants that it reads, as `fixed` returns them.
            low: names of tensors that are rounded already.
        """
        given = {name: values[name] for name in step.reads if name not in fixed}
        if treatment.reads is None:
            made = self.graph.runner.run(step.node, fixed | given)
        elif _gathers(step):
            # Rounding commutes with moving, and what is gathered is less than the table.
            made = self.graph.runner.run(step.node, fixed | given)
            clips = step.node.input[0] in fixed
            return {name: self._rounded(array, clips=clips) for name, array in made.items()}
        else:
            given = {n: a if n in low else self._rounded(a) for n, a in given.items()}
            made = self.graph.runner.run(step.node, fixed | given)
        if treatment.makes is not None:
            made = {name: self._rounded(array) for name, array in made.items()}
        return made

    def outputs(self, values: Mapping[str, Array]) -> Outputs:
        """Returns the results of a case."""
        return {
            name: values[name] if name in values else self._constants.get(name, rounded=False)
            for name in self.graph.outputs
        }

    def _rounded(self, array: Array, *, clips: bool = False) -> Array:
        return self.rounding(array, clips=clips) if array.dtype == np.float32 else array


class _Constants:
    """Weights and what is computed from them alone, as they are and rounded."""

    def __init__(self, graph: Graph, rounding: Rounding) -> None:
        self._graph, self._rounding = graph, rounding
        self._known: dict[tuple[str, bool], Array] = {}
        self._free = _REMEMBERED

    def get(self, name: str, *, rounded: bool) -> Array:
        if not rounded and name in self._graph.weights:
            return self._graph.weights[name]  # mapped, and so free
        if (name, rounded) in self._known:
            return self._known[name, rounded]
        if rounded:
            found = self.get(name, rounded=False)
            if found.dtype == np.float32:
                found = self._rounding(found, clips=True)
        else:
            step = self._graph.steps[self._graph.constants[name]]
            given = {read: self.get(read, rounded=False) for read in step.reads}
            found = self._graph.runner.run(step.node, given)[name]
        if found.nbytes <= self._free:
            self._free -= found.nbytes
            self._known[name, rounded] = found
        return found


def release(values: Values, graph: Graph, step: Step) -> None:
    """Forgets what no later node reads."""
    for name in graph.last[step.index]:
        values.pop(name, None)
    for name in step.node.output:
        if name not in graph.readers and name not in graph.outputs:
            values.pop(name, None)


def size_of(feeds: Feeds) -> int:
    """Returns how many numbers a case feeds."""
    return sum(prod(array.shape) for array in feeds.values())


def _gathers(step: Step) -> bool:
    return step.moves and step.op_type.startswith("Gather")
