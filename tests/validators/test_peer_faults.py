"""Faults that exporters and comparers of others let pass, each with the cause that ours names.

Nineteen in artifacts, and what is no fault; `test_peer_checkpoints` has those of checkpoints. All
but one are faults of the weights, so that the ledger has to see every one of them; the outputs see
what they exercise.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import load_file, save_file
from tests.validators.peer_models import INPUTS, MODELS

from ascend_migrate.converters import checkpoint_to_safetensors, onnx_to_mindir, onnx_to_onnx
from ascend_migrate.flows import cli
from ascend_migrate.flows.report_text import exit_code
from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.inputs import parse_inputs
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome, Verdict
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import capture, read_golden
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.ledger.ledger import check_ledger
from ascend_migrate.validators.ledger.stored_weights import stored_weights
from ascend_migrate.validators.onnx_original import OnnxOriginal

Weights = dict[str, np.ndarray]
LEDGER = "weights.ledger"


@dataclass(frozen=True)
class Migrated:
    """A model, its artifacts, and what the original answered."""

    source: Path
    weights: Weights
    onnx: Artifact
    mindir: Artifact
    golden: Path


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Migrated]:
    made: dict[str, Migrated] = {}
    inputs, _ = parse_inputs(INPUTS)

    def make(name: str) -> Migrated:
        if name in made:
            return made[name]
        folder = tmp_path_factory.mktemp(name)
        source, golden = folder / "source.onnx", folder / "golden.safetensors"
        weights = MODELS[name](source)
        (folder / "made").mkdir()
        graph = onnx_to_onnx.convert(source, folder / "made", parent="")
        mindir = onnx_to_mindir.convert(graph.path, folder / "made", inputs=inputs, parent="")
        cases = make_cases(inputs, seed=0, count=2)
        capture(OnnxOriginal(source), cases[-4:], golden, source="")
        made[name] = Migrated(source, weights, graph, mindir, golden)
        return made[name]

    return make


def again(artifact: Artifact) -> Artifact:
    """Describes the files as they are now."""
    files = [artifact.entry, *(f.path for f in artifact.files)]
    return Artifact.of(artifact.form, artifact.root, files, parent="")


def judged(model: Migrated, artifact: Artifact) -> Verdict:
    return judge(
        [again(artifact)],
        model.golden,
        source_digest="",
        source_weights=None,
        source_tensor=model.weights.__getitem__,
    )


def faults(findings: tuple[Finding, ...], check: str = LEDGER) -> dict[str, str]:
    return {f.subject: f.note for f in findings if f.check == check and f.outcome is Outcome.FAIL}


# What each fault does to the weights by name; the names and the causes that have to be told.


def one_nan(name: str) -> Callable[[Weights], None]:
    def fault(weights: Weights) -> None:
        weights[name].reshape(-1)[5] = np.nan

    return fault


def every(name: str, number: float) -> Callable[[Weights], None]:
    def fault(weights: Weights) -> None:
        weights[name][...] = number

    return fault


def swap(one: str, other: str) -> Callable[[Weights], None]:
    def fault(weights: Weights) -> None:
        kept = weights[one].copy()
        weights[one][...] = weights[other]
        weights[other][...] = kept

    return fault


def swap_layers(weights: Weights) -> None:
    for name in list(weights):
        if name.startswith("layers.1."):
            swap(name, name.replace("layers.1.", "layers.2."))(weights)


def scale(name: str) -> Callable[[Weights], None]:
    def fault(weights: Weights) -> None:
        weights[name] *= np.float32(1.001)

    return fault


def noise(weights: Weights) -> None:
    random = np.random.default_rng(3)
    for name, array in weights.items():
        if array.ndim > 1:
            weights[name] = (array * (1 + 1e-4 * random.normal(size=array.shape))).astype("float32")


def permute_words(weights: Weights) -> None:
    rows = weights["words.weight"][100:]
    rows[...] = np.roll(rows, 7, 0)


def drop_words(weights: Weights) -> None:
    weights["words.weight"][500:510] = 0


def flip(name: str, place: int, bit: int) -> Callable[[Weights], None]:
    def fault(weights: Weights) -> None:
        weights[name].view(np.uint32).reshape(-1)[place] ^= np.uint32(1 << bit)

    return fault


BYTES = "has other bytes than in the source"
L, B = "layers.2.q_proj.weight", "layers.1.output.weight"
PAIRS = ("layers.0.q_proj.weight", "layers.3.o_proj.weight")
BERT_PAIRS = ("layers.0.query.weight", "layers.3.value.weight")

Causes = Callable[[Weights], dict[str, str]]
"""Every name that has to be found, and the cause."""


def told(name: str, cause: str) -> Causes:
    return lambda _: {name: f"{BYTES}: {cause}"}


def exchanged(one: str, other: str) -> Causes:
    said = "swapped with {}: each holds the other's bytes"
    return lambda _: {one: said.format(other), other: said.format(one)}


def exchanged_layers(weights: Weights) -> dict[str, str]:
    pairs = ((n, n.replace("layers.1.", "layers.2.")) for n in weights if "layers.1." in n)
    return {name: cause for pair in pairs for name, cause in exchanged(*pair)(weights).items()}


def noisy(weights: Weights) -> dict[str, str]:
    """Of a model that differs everywhere, the first tensors are looked into."""
    matrices = sorted(name for name, array in weights.items() if array.ndim > 1)
    apart = "apart, relative to the whole"
    return {name: apart if place < 16 else BYTES for place, name in enumerate(matrices)}


Fault = tuple[str, Callable[[Weights], None], Causes]
ZEROED = "rows 500 to 509 zeroed"
FAULTS: dict[str, Fault] = {
    "L nan": ("llama", one_nan(L), told(L, "1 of 16384 elements are NaN, first at [0, 5]")),
    "L nan in head": (
        "llama",
        one_nan("head.weight"),
        told("head.weight", "1 of 128000 elements are NaN, first at [0, 5]"),
    ),
    "L all of head nan": (
        "llama",
        every("head.weight", np.nan),
        told("head.weight", "128000 of 128000 elements are NaN, first at [0, 0]"),
    ),
    "L zero": ("llama", every(L, 0), told(L, "zeroed")),
    "L swap": ("llama", swap(*PAIRS), exchanged(*PAIRS)),
    "L layers swapped": ("llama", swap_layers, exchanged_layers),
    "L scale": ("llama", scale(L), told(L, "scaled by about 1.001")),
    "L noise": ("llama", noise, noisy),
    "L words permuted": (
        "llama",
        permute_words,
        told("words.weight", "900 of 1000 rows permuted, first row 100"),
    ),
    "L words dropped": ("llama", drop_words, told("words.weight", ZEROED)),
    "L bit flipped": (
        "llama",
        flip("layers.3.down.weight", 700, 2),
        told(
            "layers.3.down.weight", "one bit flipped in element [5, 60] (bit 2 of its significand)"
        ),
    ),
    "B nan": ("bert", one_nan(B), told(B, "1 of 16384 elements are NaN, first at [0, 5]")),
    "B swap": ("bert", swap(*BERT_PAIRS), exchanged(*BERT_PAIRS)),
    "B layers swapped": ("bert", swap_layers, exchanged_layers),
    "B zero": ("bert", every(B, 0), told(B, "zeroed")),
    "B noise": ("bert", noise, noisy),
    "B scale": ("bert", scale(B), told(B, "scaled by about 1.001")),
    "B words permuted": (
        "bert",
        permute_words,
        told("words.weight", "900 of 1000 rows permuted, first row 100"),
    ),
    "B words dropped": ("bert", drop_words, told("words.weight", ZEROED)),
}
"""Noise of 1e-4 on every matrix is harmless to what the model answers, and no rule of ours made it:
a conversion that nobody declared has changed every weight. The ledger has no tolerance."""


def plant(artifact: Artifact, fault: Callable[[Weights], None]) -> None:
    """Changes the weights where they lie: in the file that the graph points into, or in its own."""
    if artifact.form is Form.MINDIR:
        graph = pb.ModelProto.FromString(artifact.path.read_bytes())
        held = {tensor.ref_key: tensor for tensor in graph.graph.parameter}
        weights = {
            name: np.frombuffer(tensor.raw_data, np.float32).reshape(tensor.dims).copy()
            for name, tensor in held.items()
        }
        fault(weights)
        for name, tensor in held.items():
            tensor.raw_data = weights[name].tobytes()
        artifact.path.write_bytes(graph.SerializeToString())
        return
    path = artifact.root / "model.safetensors"
    model = onnx.load(artifact.path, load_external_data=False)
    inner = {t.name: t for t in model.graph.initializer if t.HasField("raw_data")}
    weights = {n: numpy_helper.to_array(t).copy() for n, t in inner.items() if "." in n}
    weights |= load_file(path)
    fault(weights)
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        first, end = entry["data_offsets"]
        data[start + first : start + end] = weights.pop(name).tobytes()
    path.write_bytes(bytes(data))
    for name, array in weights.items():
        inner[name].raw_data = array.tobytes()
    onnx.save(model, artifact.path)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Artifact], Artifact]:
    def copy(artifact: Artifact) -> Artifact:
        shutil.copytree(artifact.root, tmp_path / "copy")
        return replace(artifact, root=tmp_path / "copy")

    return copy


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_an_artifact_fails_and_its_cause_is_named(
    name: str, migrated: Callable[[str], Migrated], copied: Callable[[Artifact], Artifact]
) -> None:
    kind, fault, causes = FAULTS[name]
    model = migrated(kind)
    artifact = copied(model.onnx)
    plant(artifact, fault)
    verdict = judged(model, artifact)
    assert exit_code(verdict) is ExitCode.REFUSED
    assert_told(faults(verdict.findings), causes(model.weights))


@pytest.mark.parametrize("name", FAULTS)
def test_the_ledger_of_mindir_names_the_same(
    name: str, migrated: Callable[[str], Migrated], tmp_path: Path
) -> None:
    kind, fault, causes = FAULTS[name]
    model = migrated(kind)
    shutil.copyfile(model.mindir.path, tmp_path / model.mindir.entry)
    artifact = replace(model.mindir, root=tmp_path)
    plant(artifact, fault)
    weights = read_golden(model.golden).weights
    stored = stored_weights(artifact)
    found = check_ledger(Form.MINDIR, weights, stored, tensors=model.weights.__getitem__)
    assert_told(faults(found), causes(model.weights))


def assert_told(found: dict[str, str], causes: dict[str, str]) -> None:
    assert found.keys() == causes.keys()
    for name, cause in causes.items():
        assert cause in found[name]


def test_there_are_nineteen() -> None:
    assert len(FAULTS) == 19


@pytest.mark.parametrize("name", ["L zero", "L words dropped", "L bit flipped"])
def test_without_the_sources_numbers_a_fault_fails_all_the_same(
    name: str,
    migrated: Callable[[str], Migrated],
    copied: Callable[[Artifact], Artifact],
    capfd: pytest.CaptureFixture[str],
) -> None:
    kind, fault, causes = FAULTS[name]
    model = migrated(kind)
    artifact = copied(model.onnx)
    plant(artifact, fault)
    code = cli.run(["validate", str(artifact.path), "--against", str(model.golden), "--json"])
    assert code == ExitCode.REFUSED
    found = json.loads(capfd.readouterr().out)["findings"]
    failed = {f["subject"] for f in found if f["check"] == LEDGER and f["outcome"] == "fail"}
    assert failed == causes(model.weights).keys()


# What is no fault.


def inline(artifact: Artifact) -> None:
    onnx.save(onnx.load(artifact.path), artifact.path)


def other_file(artifact: Artifact) -> None:
    onnx.save(
        onnx.load(artifact.path), artifact.path, save_as_external_data=True, location="other.data"
    )


def other_order(artifact: Artifact) -> None:
    """Puts the last node that can be computed next, and turns the list of weights around."""
    model = onnx.load(artifact.path)
    waiting, known = list(model.graph.node), {"input_ids", ""}
    tensors = list(model.graph.initializer)
    known.update(tensor.name for tensor in tensors)
    ordered = []
    while waiting:
        node = next(n for n in reversed(waiting) if set(n.input) <= known)
        waiting.remove(node)
        known.update(node.output)
        ordered.append(node)
    assert [n.name for n in ordered] != [n.name for n in model.graph.node]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(ordered)
    model.graph.initializer.extend(reversed(tensors))
    onnx.save(model, artifact.path)


def other_opset(artifact: Artifact) -> None:
    model = onnx.load(artifact.path)
    onnx.save(onnx.version_converter.convert_version(model, 19), artifact.path)


def other_names(artifact: Artifact) -> None:
    model = onnx.load(artifact.path)
    names = {t.name: f"val_{place}" for place, t in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    onnx.save(model, artifact.path)


def in_nodes(artifact: Artifact) -> None:
    """Holds every weight in a Constant node, as old exporters do."""
    model = onnx.load(artifact.path)
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    for tensor in tensors:
        node = helper.make_node(
            "Constant", [], [tensor.name], name=f"{tensor.name}/c", value=tensor
        )
        model.graph.node.insert(0, node)
    onnx.save(model, artifact.path)


def transposed(artifact: Artifact) -> None:
    """Holds square weights the other way around, and turns them before they are used."""
    model = onnx.load(artifact.path)
    for tensor in list(model.graph.initializer):
        if list(tensor.dims) != [128, 128]:
            continue
        name, other = tensor.name, f"onnx::{tensor.name}"
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array.T.copy(), other))
        node = helper.make_node("Transpose", [other], [name], name=f"{name}/t", perm=[1, 0])
        model.graph.node.insert(0, node)
    onnx.save(model, artifact.path)


HARMLESS: dict[str, tuple[Callable[[Artifact], None], str]] = {
    "nothing": (lambda _: None, "68 of 68 tensors bit-equal"),
    "weights in the graph": (inline, "68 of 68 tensors bit-equal"),
    "weights in another file": (other_file, "68 of 68 tensors bit-equal"),
    "another order": (other_order, "68 of 68 tensors bit-equal"),
    "another opset": (other_opset, "68 of 68 tensors bit-equal"),
    "other names": (other_names, "68 under another name (head.bias as val_"),
    "weights in nodes": (in_nodes, "68 of 68 tensors bit-equal"),
    "transposed": (
        transposed,
        "16 transposed (layers.0.key.weight as onnx::layers.0.key.weight, ",
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_fault_passes(
    name: str, migrated: Callable[[str], Migrated], copied: Callable[[Artifact], Artifact]
) -> None:
    change, note = HARMLESS[name]
    model = migrated("bert")
    artifact = copied(model.onnx)
    change(artifact)
    verdict = judged(model, artifact)
    assert [f for f in verdict.findings if f.outcome is not Outcome.PASS] == []
    assert note in next(f.note for f in verdict.findings if f.check == LEDGER)


@pytest.mark.parametrize(
    "name", ["L nan", "L layers swapped", "L bit flipped", "B nan", "B layers swapped"]
)
def test_a_wrong_checkpoint_is_told_by_the_golden_file_of_the_right_one(
    name: str, migrated: Callable[[str], Migrated], tmp_path: Path
) -> None:
    """Nothing in a checkpoint whose layers are swapped says so; a record from before does."""
    kind, fault, causes = FAULTS[name]
    model = migrated(kind)
    weights = {n: array.copy() for n, array in model.weights.items()}
    fault(weights)
    save_file(weights, tmp_path / "spoiled.safetensors")
    checkpoint = open_checkpoint(tmp_path / "spoiled.safetensors")
    (tmp_path / "made").mkdir()
    made = checkpoint_to_safetensors.convert(checkpoint, tmp_path / "made")
    verdict = judged(model, made)
    assert exit_code(verdict) is ExitCode.REFUSED
    assert_told(faults(verdict.findings, "weights.equal"), causes(model.weights))
