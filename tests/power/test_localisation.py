"""Bar: of faults planted in one place, at least 95 % are found there or right behind it.

Without the ledger's help: weights as well as graphs are found by their values alone. Where a
constant is only rearranged before it is used, the step that uses it is right behind it.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.architectures import ARCHITECTURES, saved

from ascend_migrate.converters import checkpoint_to_safetensors, onnx_to_mindir, torch_to_onnx
from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import Golden, capture, read_golden
from ascend_migrate.validators.localisation.alignment import Alignment, aligned
from ascend_migrate.validators.localisation.culprit import Search
from ascend_migrate.validators.localisation.localise import localise, telling_case
from ascend_migrate.validators.localisation.onnx_steps import OnnxSteps
from ascend_migrate.validators.power.faults import Fault, WeightFault
from ascend_migrate.validators.power.faults_graph import graph_faults
from ascend_migrate.validators.power.faults_weights import SWAPPED, weight_faults
from ascend_migrate.validators.power.power import Bench
from ascend_migrate.validators.torch_original import TorchOriginal

pytestmark = pytest.mark.power

BAR = 0.95
FAULTS = 60
"""Planted in each model, half of them in weights."""

SECONDS = 300.0
"""For one search, on a machine that does other things as well."""

NAMED_WITHIN = 10.0
"""Seconds in which the first bad module of a model with two layers exchanged is named."""


@dataclass
class Model:
    """A sound conversion."""

    original: TorchOriginal
    made: Path
    artifact: Artifact
    truth: Golden
    alignments: dict[str, Alignment] = field(default_factory=dict)

    def alignment(self, case: str) -> Alignment:
        if case not in self.alignments:
            feeds = next(c.feeds for c in self.truth.cases if c.name == case)
            self.alignments[case] = aligned(self.original, feeds, Form.ONNX)
        return self.alignments[case]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp(request.param)
    architecture = ARCHITECTURES[request.param]
    build, checkpoint, inputs = saved(
        architecture.build, architecture.inputs, folder / "source.safetensors"
    )
    made = folder / "made"
    made.mkdir()
    weights = checkpoint_to_safetensors.convert(checkpoint, made)
    artifact = torch_to_onnx.convert(build(), inputs, made, weights=weights.path, parent="")
    onnx_to_mindir.convert(artifact.path, made, inputs=inputs, parent="")
    original = TorchOriginal(build, checkpoint)
    golden = folder / "golden.safetensors"
    capture(original, make_cases(inputs, seed=0, count=4), golden, source="")
    return Model(original, made, artifact, read_golden(golden))


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


def test_the_planted_node_is_named(model: Model) -> None:
    bench = Bench(model.artifact, model.truth)
    missed, tried, slowest = [], 0, 0.0
    for fault in planted(bench, seed=0):
        if tried == FAULTS:
            break
        try:
            answers = bench.answers(bench.plants.spoiled(fault))
        except CheckError:
            continue
        if not bench.in_outputs(answers) or any(isinstance(a, str) for a in answers):
            continue
        tried += 1
        wrong = spoiled(bench, model.artifact.path, fault)
        case = telling_case(model.truth.cases, answers)
        begun = time.monotonic()
        search = Search(
            OnnxSteps(model.artifact.path, model=wrong),
            model.alignment(case.name),
            model.original,
            feeds=case.feeds,
            own=case.own,
            deadline=begun + SECONDS,
        )
        found = search.find({})
        slowest = max(slowest, time.monotonic() - begun)
        name = wrong.graph.node[found.step].name if found else "nothing"
        if name not in near(bench.plants.model, wrong, fault, {*search.sketches}):
            missed.append(f"{fault.kind} in {fault.place}: named {name}, case {case.name}")
    told = [f"{len(missed)} of {tried} missed, slowest {slowest:.1f} s", *missed]
    sys.stdout.write("\n".join(["", *told, ""]))  # shown by pytest -s
    assert tried >= FAULTS // 3
    assert len(missed) <= (1 - BAR) * tried, missed


def test_exchanged_layers_are_named_in_time(model: Model, tmp_path: Path) -> None:
    graph = onnx.load(model.artifact.path)
    tensors = {t.name: t for t in graph.graph.initializer}
    pairs = [(n, n.replace("layers.0", "layers.1")) for n in tensors if n.startswith("layers.0.")]
    if not pairs:
        pytest.skip("has no two layers alike")
    for one, other in pairs:
        first, second = (numpy_helper.to_array(tensors[n]) for n in (one, other))
        tensors[one].CopyFrom(numpy_helper.from_array(second, one))
        tensors[other].CopyFrom(numpy_helper.from_array(first, other))
    onnx.save(graph, tmp_path / "model.onnx")
    artifact = Artifact.of(Form.ONNX, tmp_path, ["model.onnx"], parent="")
    begun = time.monotonic()
    found = localise(artifact, model.truth, model.original, {}, tmp_path)
    assert time.monotonic() - begun < NAMED_WITHIN
    assert found["module"].startswith("layers.0"), found


@pytest.mark.mindspore
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_weight_is_found_in_mindir(model: Model, place: float, tmp_path: Path) -> None:
    shutil.copytree(model.made, tmp_path / "made")
    path = tmp_path / "made" / "model.mindir"
    graph = pb.ModelProto.FromString(path.read_bytes())
    floats = [t for t in graph.graph.parameter if t.data_type == pb.TensorProto.FLOAT]
    named = [t for t in floats if "." in t.name]
    tensor = named[int(place * len(named))]
    tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) * np.float32(-1.5)).tobytes()
    path.write_bytes(graph.SerializeToString(deterministic=True))
    artifact = replace(
        Artifact.of(Form.MINDIR, tmp_path / "made", ["model.mindir"], parent=""), notes=()
    )
    found = localise(artifact, model.truth, model.original, {}, None, seconds=SECONDS)
    module = tensor.name.removeprefix("main:").rpartition(".")[0]
    assert found.get("module") == module, found
