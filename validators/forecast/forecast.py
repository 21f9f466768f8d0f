"""The precision forecast: what an Ascend chip will make of a float32 graph, and what must be kept.

A forecast and no measurement: the graph is computed on the CPU, rounded where the device would.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ascend_migrate.pipeline.errors import EvidenceError, SourceError
from ascend_migrate.pipeline.precision import LOWER_TYPES, Precision
from ascend_migrate.pipeline.records import Finding, Outcome
from ascend_migrate.validators.cases import Case, Feeds
from ascend_migrate.validators.forecast import policy as forecast_policy
from ascend_migrate.validators.forecast import verdict as forecast_verdict
from ascend_migrate.validators.forecast.chips import MIXED, Chip, chip_of, ge_types
from ascend_migrate.validators.forecast.graph import Graph, Step, open_graph
from ascend_migrate.validators.forecast.policy import POLICIES, Lowers, Policy, carriers
from ascend_migrate.validators.forecast.search import KeepSet, effects, smallest
from ascend_migrate.validators.forecast.simulation import Simulation, size_of
from ascend_migrate.validators.forecast.survey import Harm, survey
from ascend_migrate.validators.forecast.verdict import Truth
from ascend_migrate.validators.golden import Golden, Recorded
from ascend_migrate.validators.original import Outputs

TIME_LIMIT = 600.0
"""Seconds that the search may take by default."""

_ORDERING = 0.5
"""Share of the time in which nodes are measured one by one; the rest is for leaving them out."""

_SEARCHED = 3
"""Cases that the search looks at: those that are nearest to failing. All decide at the end."""

LABEL = "FORECAST, not verified on device"


@dataclass(frozen=True, slots=True)
class Equivalent:
    """The keep-list as another tool takes it, which may keep more than is needed.

    Attributes:
        names: what the tool is told.
        kept: how many nodes stay in float32 by that.
        passes: whether the model passes so.
    """

    names: tuple[str, ...]
    kept: int
    passes: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected.

    Attributes:
        policy: the mode.
        soc: the chip.
        chip: its family.
        cases: names of the cases.
        lowered: how many nodes the policy lowers.
        harms: what it does at each of them, the worst first.
        findings: what the judgement says of the model under the policy as it is.
        kept: the nodes that must stay in float32; None where even keeping all does not help.
        carried: nodes that only move elements between those, to be kept with them.
        minimal: whether none of ``kept`` can be left out.
        mixed: the same as types for the lists of mixed precision; None where there is no such mode.
        spec: the same as patterns of ``[precision]``; None where the type is none for a graph.
        opaque: nodes with bodies, computed in float32 here whatever the device does.
        runs: simulations that it took.
    """

    policy: Policy
    soc: str
    chip: Chip
    cases: tuple[str, ...]
    lowered: int
    harms: tuple[Harm, ...]
    findings: tuple[Finding, ...]
    kept: tuple[Step, ...] | None
    carried: tuple[Step, ...]
    minimal: bool
    mixed: Equivalent | None
    spec: Equivalent | None
    opaque: tuple[str, ...]
    runs: int

    @property
    def holds(self) -> bool:
        """Whether the model passes under the policy as it is."""
        return all(item.outcome is Outcome.PASS for item in self.findings)


def forecast(  # noqa: PLR0913 - what a forecast depends on
    path: Path,
    policy: Policy,
    soc: str,
    cases: Sequence[Case] | Golden,
    *,
    by_module: bool = False,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[str], None] = lambda _line: None,
) -> Forecast:
    """Simulates a graph, and searches for the fewest nodes that must stay in float32.

    Args:
        path: an ONNX file in float32.
        policy: the mode.
        soc: the exact chip.
        cases: what to feed it, or what its original returned.
        by_module: name modules, not nodes, to ``[precision]``.
        time_limit: seconds for the search.
        progress: told one line at a time.

    Raises:
        SpecError: there is no such chip, or it lacks the type of the policy.
        SourceError: the file is damaged, or has no float32 arithmetic.
        EvidenceError: the golden file is about other inputs or outputs.
        ModelError: a node does not run.
    """
    chip = chip_of(soc)
    forecast_policy.check(policy, chip, soc)
    graph = open_graph(path)
    fed: Sequence[Case | Recorded] = cases.cases if isinstance(cases, Golden) else cases
    simulation = Simulation(graph, policy, chip, [_fitting(path, graph, c.feeds) for c in fed])
    progress("survey")
    found = survey(simulation, [case.name for case in fed])
    if not found.harms and policy.vector is Lowers.ALL:
        raise SourceError(f"{path}: has no float32 arithmetic that {policy.name} would lower")
    truth = _recorded(path, graph, cases) if isinstance(cases, Golden) else found.truth
    trial = _Trial(simulation, truth)
    findings = trial.judge(found.lowered)
    kept: KeepSet | None = KeepSet((), minimal=True)
    runs = 0
    if not all(item.outcome is Outcome.PASS for item in findings):
        search = _Search(trial, found.harms, time.monotonic() + time_limit, progress)
        kept, runs = search.run(found.lowered)
    steps = None if kept is None else tuple(graph.steps[index] for index in kept.kept)
    alike = _Equivalents(trial, steps or ())
    return Forecast(
        policy=policy,
        soc=soc,
        chip=chip,
        cases=tuple(case.name for case in fed),
        lowered=len(found.harms),
        harms=tuple(sorted(found.harms, key=lambda harm: harm.rank, reverse=True)),
        findings=tuple(findings),
        kept=steps,
        carried=alike.carried(),
        minimal=kept is not None and kept.minimal,
        mixed=alike.mixed() if steps else None,
        spec=alike.spec(by_module=by_module) if steps else None,
        opaque=graph.opaque,
        runs=runs,
    )


class _Trial:
    """Verdicts on keep-sets, each asked once."""

    def __init__(self, simulation: Simulation, truth: Sequence[Truth]) -> None:
        self.simulation, self._truth = simulation, truth
        self._number = simulation.rounding.number
        self._passed: dict[frozenset[int], bool] = {}
        self.runs = 0

    def judge(self, found: Sequence[Outputs]) -> list[Finding]:
        return forecast_verdict.findings(self._truth, found, self._number)

    def passes(self, kept: frozenset[int]) -> bool:
        if kept not in self._passed:
            self.runs += 1
            found = self.judge(self.simulation.run(kept))
            self._passed[kept] = all(item.outcome is Outcome.PASS for item in found)
        return self._passed[kept]

    def strain(self, kept: frozenset[int]) -> float:
        self.runs += 1
        return forecast_verdict.strain(self._truth, self.simulation.run(kept), self._number)

    def under(self, policy: Policy) -> "_Trial":
        """Returns the same cases under another policy."""
        old = self.simulation
        return _Trial(Simulation(old.graph, policy, old.chip, old.feeds), self._truth)

    def worst(self, found: Sequence[Outputs]) -> "_Trial":
        """Returns a trial of the few cases that are nearest to failing, the smallest first."""
        feeds = self.simulation.feeds

        def order(place: int) -> tuple[float, int]:
            alone = forecast_verdict.strain(
                self._truth[place : place + 1], found[place : place + 1], self._number
            )
            return (-alone, size_of(feeds[place]))

        places = sorted(sorted(range(len(feeds)), key=order)[:_SEARCHED])
        return _Trial(self.simulation.of(places), [self._truth[place] for place in places])


class _Search:
    """The search for the keep-set of one model: on a few cases, and proved on all."""

    def __init__(
        self,
        trial: _Trial,
        harms: Sequence[Harm],
        until: float,
        progress: Callable[[str], None],
    ) -> None:
        self._trial, self._until, self._progress = trial, until, progress
        self._harms = {harm.index: harm for harm in harms}

    def run(self, lowered: Sequence[Outputs]) -> tuple[KeepSet | None, int]:
        """Returns the set and how many runs it took; None where keeping everything fails too.

        Args:
            lowered: what the model returns with nothing kept, which fails.
        """
        everything = frozenset(self._harms)
        if not self._trial.passes(everything):
            return None, self._trial.runs
        few = self._trial.worst(lowered)
        self._progress(f"measure {len(everything)} nodes")
        alone = effects(
            sorted(everything),
            [index for index, harm in self._harms.items() if harm.overflows],
            lambda nodes: few.strain(everything - nodes),
            until=time.monotonic() + (self._until - time.monotonic()) * _ORDERING,
        )
        for index, effect in alone.items():
            self._harms[index].effect = effect
        order = sorted(everything, key=lambda i: self._harms[i].rank, reverse=True)
        self._progress("search")
        found = smallest(order, few.passes, until=self._until)
        if not self._trial.passes(frozenset(found.kept)):
            self._progress("search with all cases")
            order = [*found.kept, *(index for index in order if index not in found.kept)]
            failed = len(found.kept)
            found = smallest(order, self._trial.passes, until=self._until, failed=failed)
        return found, few.runs + self._trial.runs


class _Equivalents:
    """The keep-set in other words, each tried out."""

    def __init__(self, trial: _Trial, kept: Sequence[Step]) -> None:
        self._trial, self._kept = trial, kept
        self._simulation = trial.simulation
        self._steps = trial.simulation.graph.steps

    def carried(self) -> tuple[Step, ...]:
        """Returns the moving nodes that must be kept as well, in a mode that forces a type."""
        if self._simulation.policy.vector is not Lowers.ALL:
            return ()
        places = carriers(self._simulation.graph, {step.index for step in self._kept})
        return tuple(self._steps[index] for index in sorted(places))

    def mixed(self) -> Equivalent | None:
        """Returns the types for --modify_mixlist, under mixed precision."""
        mode = {"float16": "mixed", "bfloat16": "mixed_bf16"}.get(self._simulation.policy.number)
        if mode is None:
            return None
        _, keeps = MIXED[self._simulation.chip.family]
        already = {kind for op_type in keeps for kind in ge_types(op_type)}
        types = {kind for step in self._kept for kind in ge_types(step.op_type)} - already
        kept = self._places(lambda step: not types.isdisjoint(ge_types(step.op_type)))
        passes = self._trial.under(POLICIES[mode]).passes(kept)
        return Equivalent(tuple(sorted(types)), len(kept), passes)

    def spec(self, *, by_module: bool) -> Equivalent | None:
        """Returns the patterns for ``[precision] keep_float32``, under that policy."""
        number = self._simulation.policy.number
        if number not in LOWER_TYPES:
            return None
        plain = Precision(number)
        named = [step for step in self._kept if not plain.keeps_by_default(step.op_type)]
        patterns = tuple(sorted({_pattern(step, by_module=by_module) for step in named}))
        policy = Precision(number, patterns)
        kept = self._places(lambda s: policy.keeps(s.op_type, s.module, s.name))
        mode = POLICIES["fp16" if number == "float16" else "bf16"]
        return Equivalent(patterns, len(kept), self._trial.under(mode).passes(kept))

    def _places(self, test: Callable[[Step], bool]) -> frozenset[int]:
        return frozenset(step.index for step in self._steps if step.computes and test(step))


def _pattern(step: Step, *, by_module: bool) -> str:
    """Spells a node as a shell pattern; where it may not be named, its module or its type."""
    if by_module:
        return _escaped(step.module) if step.module else step.op_type
    return _escaped(step.name) if step.node.name else step.op_type


def _escaped(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)


def _fitting(path: Path, graph: Graph, feeds: Feeds) -> Feeds:
    missing = [name for name in graph.inputs if name not in feeds]
    if missing:
        raise EvidenceError(f"{path}: there is no value for its input {missing[0]!r}")
    return {name: feeds[name] for name in graph.inputs}


def _recorded(path: Path, graph: Graph, golden: Golden) -> tuple[Truth, ...]:
    names: Collection[str] = golden.cases[0].own
    missing = [name for name in graph.outputs if name not in names]
    if missing:
        raise EvidenceError(f"{path}: the golden file has no output {missing[0]!r}")
    return tuple(Truth(case.name, case.own, case.exact or case.own) for case in golden.cases)
