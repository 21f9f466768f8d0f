"""Plants faults in single places and counts how often they are found there: ``make power``.

A fault counts as found where the node is named in which it was planted, or one right behind it.
Without the ledger's help: weights as well as graphs are found by their values alone. Where a
constant is only rearranged before it is used, the step that uses it is right behind it.

Counted with the original at hand; with its golden file alone; and with that golden file when it
holds no value whole, as of a model whose tensors are all too large.
"""

import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from tests.architectures import ARCHITECTURES, saved
from tests.power.page import share
from tests.workers import bars, renewed, write, written

from ascend_migrate.converters import checkpoint_to_safetensors, torch_to_onnx
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.cases import Array, make_cases
from ascend_migrate.validators.golden import Golden, Recorded, capture, read_golden
from ascend_migrate.validators.localisation.alignment import Alignment, aligned
from ascend_migrate.validators.localisation.culprit import Search, Values
from ascend_migrate.validators.localisation.localise import telling_case
from ascend_migrate.validators.localisation.on_record import OnRecord, read_record
from ascend_migrate.validators.localisation.onnx_steps import OnnxSteps
from ascend_migrate.validators.localisation.witness import Testimony, at_hand
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.power.bench import Bench
from ascend_migrate.validators.power.faults import Fault, WeightFault
from ascend_migrate.validators.power.faults_graph import graph_faults
from ascend_migrate.validators.power.faults_weights import SWAPPED, weight_faults
from ascend_migrate.validators.torch_original import TorchOriginal

RESULTS = Path(__file__).with_name("located.json")

BAR = 0.95
FAULTS = 60
"""Planted in each model, half of them in weights."""

SECONDS = 300.0
"""For one search, on a machine that does other things as well."""

AT_HAND = "the original at hand"
GOLDEN = "its golden file alone"
SKETCHES = "a golden file without whole values"
WITNESSES = (AT_HAND, GOLDEN, SKETCHES)


@dataclass
class Tally:
    """What came of one model.

    Attributes:
        tried: faults that the outputs show.
        missed: by witness: what was named in place of which fault.
        slowest: seconds of the slowest search.
    """

    tried: int = 0
    missed: dict[str, list[str]] = field(default_factory=lambda: {who: [] for who in WITNESSES})
    slowest: float = 0.0


@dataclass(frozen=True)
class Model:
    """A sound conversion."""

    original: TorchOriginal
    inputs: tuple[InputSpec, ...]
    made: Path
    artifact: Artifact
    truth: Golden
    record: OnRecord


class Large(OnRecord):
    """A record of tensors too large to be kept whole."""

    def values(self, names: Collection[str]) -> Mapping[str, Array]:
        """Returns nothing."""
        del names
        return {}


def converted(name: str, folder: Path) -> Model:
    """Exports an architecture and captures it, with intermediates."""
    architecture = ARCHITECTURES[name]
    build, checkpoint, inputs = saved(
        architecture.build, architecture.inputs, folder / "source.safetensors"
    )
    made = folder / "made"
    made.mkdir()
    weights = checkpoint_to_safetensors.convert(checkpoint, made)
    artifact = torch_to_onnx.convert(build(), inputs, made, weights=weights.path, parent="")
    original = TorchOriginal(build, checkpoint)
    golden = folder / "golden.safetensors"
    capture(original, make_cases(inputs, seed=0, count=4), golden, source="", intermediates=True)
    record = read_record(golden)
    assert isinstance(record, OnRecord), record
    return Model(original, inputs, made, artifact, read_golden(golden), record)


def tally(model: Model, witnesses: Collection[str] = WITNESSES) -> Tally:
    """Plants faults in a model and has every one looked for."""
    bench, found = Bench(model.artifact, model.truth), Tally()
    searches = {who: _Witness(model, who) for who in witnesses}
    for fault in planted(bench, seed=0):
        if found.tried == FAULTS:
            break
        try:
            answers = bench.answers(bench.plants.spoiled(fault))
        except CheckError:
            continue
        if not bench.in_outputs(answers) or any(isinstance(a, str) for a in answers):
            continue
        found.tried += 1
        wrong = spoiled(bench, model.artifact.path, fault)
        for who, witness in searches.items():
            begun = time.monotonic()
            search = witness.search(wrong, answers)
            place = search.find({})
            found.slowest = max(found.slowest, round(time.monotonic() - begun, 1))
            name = wrong.graph.node[place.step].name if place else "nothing"
            if name not in near(bench.plants.model, wrong, fault, {*search.sketches}):
                found.missed[who].append(f"{fault.kind} in {fault.place}: named {name}")
    return found


class _Witness:
    """Looks for faults with what one witness knows; of each case it is asked once."""

    def __init__(self, model: Model, who: str) -> None:
        self._model = model
        record = model.record
        large = Large(record.case, record.items, {}, record.complete)
        self._record = {AT_HAND: None, GOLDEN: record, SKETCHES: large}[who]
        self._known: dict[str, tuple[Alignment, Values]] = {}

    def search(self, wrong: onnx.ModelProto, answers: list[Outputs | str]) -> Search:
        """Returns the search for what is wrong with a graph that gives these answers."""
        cases = self._model.truth.cases
        if self._record is None:
            case = telling_case(cases, answers)
        else:
            case = next(case for case in cases if case.name == self._record.case)
        alignment, values = self._of(case)
        return Search(
            OnnxSteps(self._model.artifact.path, model=wrong),
            alignment,
            values,
            feeds=case.feeds,
            own=case.own,
            deadline=time.monotonic() + SECONDS,
        )

    def _of(self, case: Recorded) -> tuple[Alignment, Values]:
        if case.name not in self._known:
            told: Testimony | None = self._record or at_hand(self._model.original)(case)
            assert told is not None
            self._known[case.name] = (aligned(told.intermediates(), Form.ONNX), told.values)
        return self._known[case.name]


def planted(bench: Bench, seed: int) -> Iterator[Fault]:
    """Yields faults of all kinds in random places, by turns in a weight and in the graph."""
    rng = np.random.default_rng(seed)
    found = weight_faults(bench.plants.weights, seed=seed)
    weights = [fault for fault in found if fault.kind != SWAPPED]  # which is two faults
    graph = [*graph_faults(bench.plants.model, set(bench.plants.weights))]
    picked = zip(rng.permutation(len(weights)), rng.permutation(len(graph)), strict=False)
    for one, other in picked:
        yield weights[one]
        yield graph[other]


def spoiled(bench: Bench, path: Path, fault: Fault) -> onnx.ModelProto:
    """Returns the graph with a fault in it; what is not spoiled stays in its file."""
    if not isinstance(fault, WeightFault):
        return bench.plants.edited(fault)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.name in fault.weights:
            tensor.CopyFrom(numpy_helper.from_array(fault.weights[tensor.name], tensor.name))
    return model


def near(sound: onnx.ModelProto, wrong: onnx.ModelProto, fault: Fault, seen: set[str]) -> set[str]:
    """Returns the nodes at fault and those right behind them.

    Args:
        sound: the graph without the fault.
        wrong: with it.
        fault: it.
        seen: tensors that depend on the inputs; what does not is prepared for its reader.
    """
    origins = {fault.place, *(fault.weights if isinstance(fault, WeightFault) else ())}
    before = {node.name: node.SerializeToString() for node in sound.graph.node}
    nodes = list(wrong.graph.node)
    guilty = {n.name for n in nodes if before.get(n.name) != n.SerializeToString()}
    guilty |= {n.name for n in nodes if origins & {*n.input} and isinstance(fault, WeightFault)}
    waiting = [name for n in nodes if n.name in guilty for name in n.output]
    found = set(guilty)
    while waiting:
        name = waiting.pop()
        for node in nodes:
            if name in node.input and node.name not in found:
                found.add(node.name)
                waiting += [x for x in node.output if not seen & {*node.output}]
    return found


def measured(name: str) -> Tally:
    """Returns what comes of one model, in a folder that does not stay."""
    with tempfile.TemporaryDirectory(prefix="located-") as folder:
        return tally(converted(name, Path(folder)))


def published() -> Mapping[str, Tally]:
    """Returns the results that were written last, by model; nothing where there are none."""
    return written(RESULTS, Tally)


def faults_of(results: Mapping[str, Tally]) -> Iterator[str]:
    """Yields the bars that the results do not reach."""
    tried = sum(found.tried for found in results.values())
    for who in WITNESSES:
        missed = sum(len(found.missed[who]) for found in results.values())
        if not tried or not missed <= (1 - BAR) * tried:
            yield f"with {who} {missed} of {tried} places are not found; at most {1 - BAR:.0%}"


def section(results: Mapping[str, Tally]) -> str:
    """Returns the results as a section of docs/power.md."""
    heads = ["model", "faults", *WITNESSES]
    rows: list[list[object]] = [
        [name, found.tried, *_found(found)] for name, found in results.items()
    ]
    tried = sum(found.tried for found in results.values())
    sums = [sum(_found(found)[i] for found in results.values()) for i in range(len(WITNESSES))]
    rows.append(["all", tried, *(f"{n} ({share(n, tried)})" for n in sums)])
    lines: list[list[object]] = [[*heads], ["---"] * len(heads), *rows]
    table = "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
    misses = [
        f"| {name} | {who} | {line} |\n"
        for name, found in results.items()
        for who in WITNESSES
        for line in found.missed[who]
    ]
    return (
        "## Localisation\n\nOf faults in one place that the outputs show, how often the node is "
        "named in which they were planted, or one right behind it, without the ledger's help. A "
        "golden file holds the intermediates of one case, sketched; the values of small ones are "
        "whole. Where none is, as of a model whose tensors are all large, nothing can be tried in "
        f"the place of a suspect, and the first that differs is named.\n\n{table}"
        f"\nNot found:\n\n| model | with | fault |\n| --- | --- | --- |\n{''.join(misses)}"
    )


def _found(found: Tally) -> list[int]:
    return [found.tried - len(found.missed[who]) for who in WITNESSES]


def main() -> int:
    """Runs all models, or those that are named, which then replace their old results."""
    return bars(faults_of(renewed(__doc__, measured, ARCHITECTURES, published, publish, _said)))


def _said(name: str, found: Tally) -> str:
    said = ", ".join(f"{who}: {len(lines)}" for who, lines in found.missed.items())
    return f"{name}: of {found.tried} not found: {said}"


def publish(results: Mapping[str, Tally]) -> None:
    """Writes the results."""
    write(RESULTS, results)


if __name__ == "__main__":
    sys.exit(main())
