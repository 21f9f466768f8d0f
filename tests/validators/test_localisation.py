"""Where an artifact first differs: the step at fault, and what the fault looks like."""

import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from tests.validators.toys import Plain, X, original, specs

from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.cases import Array, make_cases
from ascend_migrate.validators.golden import Golden, capture, read_golden
from ascend_migrate.validators.localisation.alignment import aligned, intermediates
from ascend_migrate.validators.localisation.fault_kinds import kind_of, kind_of_sketches
from ascend_migrate.validators.localisation.localise import POINTS, localise
from ascend_migrate.validators.localisation.on_record import OnRecord, read_record
from ascend_migrate.validators.localisation.onnx_steps import OnnxSteps
from ascend_migrate.validators.localisation.sketch import BUCKETS, distances, restored, sketch
from ascend_migrate.validators.localisation.steps import StepError
from ascend_migrate.validators.localisation.witness import at_hand, on_record
from ascend_migrate.validators.onnx_original import OnnxOriginal
from ascend_migrate.validators.onnx_runner import OnnxRunner
from ascend_migrate.validators.original import Traced

Edit = Callable[[onnx.GraphProto], None]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def graph() -> onnx.ModelProto:
    """Two layers between a normalisation and a softmax, with a residual path."""
    weights = {
        "first.weight": normal(8, 8, seed=1),
        "first.bias": normal(8, seed=2),
        "scale": normal(8, seed=3),
        "shift": normal(8, seed=4),
        "second.weight": normal(8, 6, seed=5),
        "second.bias": normal(6, seed=6),
        "half": np.array(0.5, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first.weight"], ["mixed"], "mix"),
        helper.make_node("Add", ["mixed", "first.bias"], ["moved"], "move"),
        helper.make_node("LayerNormalization", ["moved", "scale", "shift"], ["even"], "even out"),
        helper.make_node("Mul", ["even", "half"], ["halved"], "halve"),
        helper.make_node("Add", ["halved", "x"], ["joined"], "join"),
        helper.make_node("MatMul", ["joined", "second.weight"], ["mixed_2"], "mix again"),
        helper.make_node("Add", ["mixed_2", "second.bias"], ["scores"], "move again"),
        helper.make_node("Softmax", ["scores"], ["shares"], "share", axis=-1),
    ]
    made = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("shares", onnx.TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[OnnxOriginal, Golden]:
    folder = tmp_path_factory.mktemp("truth")
    onnx.save(graph(), folder / "sound.onnx")
    source = OnnxOriginal(folder / "sound.onnx")
    cases = make_cases(specs("x=float32[batch=2..5,8]:-2..2"), seed=0, count=3)
    capture(source, cases, folder / "golden.safetensors", source="", intermediates=True)
    return source, read_golden(folder / "golden.safetensors")


def weight(name: str, factor: float) -> Edit:
    def edit(model: onnx.GraphProto) -> None:
        tensor = next(t for t in model.initializer if t.name == name)
        wrong = numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(numpy_helper.from_array(wrong, name))

    return edit


def other_operator(node: str, operator: str) -> Edit:
    def edit(model: onnx.GraphProto) -> None:
        next(n for n in model.node if n.name == node).op_type = operator

    return edit


def attribute(node: str, name: str, value: float) -> Edit:
    def edit(model: onnx.GraphProto) -> None:
        found = next(n for n in model.node if n.name == node)
        kept = [a for a in found.attribute if a.name != name]
        del found.attribute[:]
        found.attribute.extend([*kept, helper.make_attribute(name, value)])

    return edit


def after(tensor: str, *operators: tuple[str, dict[str, Any]]) -> Edit:
    """Puts nodes after the one that makes a tensor."""

    def edit(model: onnx.GraphProto) -> None:
        place = next(i for i, n in enumerate(model.node) if tensor in n.output)
        model.node[place].output[0] = last = f"{tensor}.0"
        for number, (operator, attributes) in enumerate(operators, 1):
            name = tensor if number == len(operators) else f"{tensor}.{number}"
            node = helper.make_node(operator, [last], [name], f"added {number}", **attributes)
            model.node.insert(place + number, node)
            last = name

    return edit


def in_float16(tensor: str) -> Edit:
    return after(
        tensor, ("Cast", {"to": onnx.TensorProto.FLOAT16}), ("Cast", {"to": onnx.TensorProto.FLOAT})
    )


FAULTS: dict[str, tuple[Edit, str, str]] = {
    "weight": (weight("first.weight", 1.01), "mix", "constant"),
    "bias without effect": (weight("first.bias", 0), "move", "constant"),
    "normalisation": (weight("scale", -1), "even out", "unknown"),
    "scalar": (weight("half", 1.02), "halve", "constant"),
    "operator": (other_operator("join", "Sub"), "join", "unknown"),
    "epsilon": (attribute("even out", "epsilon", 0.1), "even out", "constant"),
    "axis": (attribute("share", "axis", 0), "share", "constant"),
    "cast": (in_float16("joined"), "added 2", "cast"),
    "last bias": (weight("second.bias", 2), "move again", "constant"),
    "overflow": (weight("half", np.inf), "halve", "overflow"),
    "identity that is none": (after("even", ("Neg", {})), "added 1", "constant"),
}


def spoiled(folder: Path, edit: Edit) -> Artifact:
    model = graph()
    edit(model.graph)
    onnx.save(model, folder / "model.onnx")
    return Artifact.of(Form.ONNX, folder, ["model.onnx"], parent="")


@pytest.mark.parametrize("name", FAULTS)
def test_the_step_at_fault_is_named(
    name: str, truth: tuple[OnnxOriginal, Golden], tmp_path: Path
) -> None:
    edit, node, kind = FAULTS[name]
    found = localise(spoiled(tmp_path, edit), truth[1], at_hand(truth[0]), {}, None)
    assert (found.get("node"), found.get("kind"), found.get("mended")) == (node, kind, True), found
    errors = dict(found["curve"])
    assert len(errors) <= POINTS
    assert not errors[found["tensor"]] <= 1
    assert errors.get("mixed", 0) <= 1 or node == "mix"


@pytest.fixture(scope="module")
def record(truth: tuple[OnnxOriginal, Golden]) -> OnRecord:
    found = read_record(truth[0]._path.with_name("golden.safetensors"))
    assert isinstance(found, OnRecord)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_golden_file_alone_names_it_as_well(
    name: str, record: OnRecord, truth: tuple[OnnxOriginal, Golden], tmp_path: Path
) -> None:
    edit, node, kind = FAULTS[name]
    found = localise(spoiled(tmp_path, edit), truth[1], on_record(record), {}, None)
    assert (found.get("node"), found.get("kind"), found.get("mended")) == (node, kind, True), found
    assert found["case"] == record.case
    assert "golden file" in found["coarse"]


class Large(OnRecord):
    """Stands for a record of tensors too large to be kept whole."""

    def values(self, names: Collection[str]) -> Mapping[str, Array]:
        del names
        return {}


SKETCHED = FAULTS | {
    # The first of the two casts is where it differs first, by the number that is its type.
    "cast": (FAULTS["cast"][0], "added 1", "constant"),
    # Which elements are off shows in no sketch.
    "last bias": (FAULTS["last bias"][0], "move again", "unknown"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_sketches_alone_name_the_first_that_differs(
    name: str, record: OnRecord, truth: tuple[OnnxOriginal, Golden], tmp_path: Path
) -> None:
    edit, node, kind = SKETCHED[name]
    large = Large(record.case, record.items, {}, complete=True)
    found = localise(spoiled(tmp_path, edit), truth[1], on_record(large), {}, tmp_path / "out")
    assert (found.get("node"), found.get("tried"), found.get("mended")) == (node, False, False)
    assert found["kind"] == kind, found
    assert "reproduction" not in found  # there is nothing to compare it with


def test_what_ledger_and_graph_say_needs_no_value() -> None:
    right = sketch(RIGHT)
    for wrong, kind, said in [
        (RIGHT * np.float32(-2), "constant", "-2 times the right values"),
        (np.where(RIGHT > 1, np.float32(np.inf), RIGHT), "overflow", "infinite"),
        (RIGHT[:, ::-1], "axis", "another order"),
        (normal(4, 5, 6, seed=4), "unknown", "relative error"),
    ]:
        found = kind_of_sketches(right, sketch(wrong), [], {})
        assert found[0] == kind
        assert said in found[1]
    assert kind_of_sketches(right, right, ["scaled"], {}) == ("weight", "scaled")


def test_what_the_ledger_says_of_a_weight_is_the_cause(
    truth: tuple[OnnxOriginal, Golden], tmp_path: Path
) -> None:
    artifact = spoiled(tmp_path, weight("first.weight", 1.01))
    found = localise(artifact, truth[1], at_hand(truth[0]), {"first.weight": "scaled"}, None)
    assert (found["node"], found["kind"], found["why"]) == ("mix", "weight", "scaled")


def test_a_step_that_does_not_run_is_named(
    truth: tuple[OnnxOriginal, Golden], tmp_path: Path
) -> None:
    def edit(model: onnx.GraphProto) -> None:
        model.initializer.append(numpy_helper.from_array(np.array([7, 3]), "sizes"))
        model.node.insert(6, helper.make_node("Reshape", ["mixed_2", "sizes"], ["flat"], "flatten"))
        model.node[7].input[0] = "flat"

    artifact = spoiled(tmp_path, edit)
    found = localise(artifact, truth[1], at_hand(truth[0]), {}, None)
    assert (found["node"], found["kind"]) == ("flatten", "does not run")


def test_a_sound_artifact_is_not_blamed(truth: tuple[OnnxOriginal, Golden], tmp_path: Path) -> None:
    found = localise(spoiled(tmp_path, lambda _: None), truth[1], at_hand(truth[0]), {}, None)
    assert found["kind"] == "runtime"
    assert "tensor" not in found


def test_the_reproduction_runs_alone(truth: tuple[OnnxOriginal, Golden], tmp_path: Path) -> None:
    artifact = spoiled(tmp_path, weight("second.weight", -1))
    found = localise(artifact, truth[1], at_hand(truth[0]), {}, tmp_path / "out")
    folder = tmp_path / "out" / found["reproduction"]
    ran = subprocess.run(
        [sys.executable, "-I", "run.py"], cwd=folder, check=True, capture_output=True, text=True
    )
    first, _, second = (line.rpartition(" ")[2] for line in ran.stdout.splitlines())
    made, expected = np.load(folder / "found.npy"), np.load(folder / "expected.npy")
    assert float(first) == 0
    assert float(second) == pytest.approx(float(np.abs(made - expected).max()), rel=1e-6)
    model = onnx.load(folder / "step.onnx")
    assert [n.name for n in model.graph.node] == ["mix again"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0, "not found within 0 s"), (60.0, "no such file")]
)
def test_a_search_that_fails_is_a_line(
    seconds: float, said: str, truth: tuple[OnnxOriginal, Golden], tmp_path: Path
) -> None:
    artifact = spoiled(tmp_path, weight("half", 2))
    source = truth[0]
    if seconds:
        source = OnnxOriginal(tmp_path / "gone.onnx")
    found = localise(artifact, truth[1], at_hand(source), {}, None, seconds=seconds)
    assert said in found["note"].lower()


def test_intermediates_of_an_unknown_case_are_a_line(
    record: OnRecord, truth: tuple[OnnxOriginal, Golden], tmp_path: Path
) -> None:
    artifact = spoiled(tmp_path, weight("half", 2))
    found = localise(artifact, truth[1], on_record(replace(record, case="other")), {}, None)
    assert found == {"note": "the intermediates of no case are known"}


def test_an_original_in_torch_shows_what_its_modules_make(tmp_path: Path) -> None:
    source = original(Plain, tmp_path)
    feeds = make_cases(X, seed=0, count=1)[-1].feeds
    own: list[Traced] = []
    exact: list[Traced] = []
    source.trace(feeds, own.append)
    source.trace(feeds, exact.append, exact=True)
    assert [item.name for item in own] == [item.name for item in exact]
    assert {item.module for item in own} >= {"first", "norm", "second"}
    sizes = {name: {i.array.shape for i in own if i.module == name} for name in ("first", "second")}
    rows = feeds["x"].shape[0]
    assert sizes == {"first": {(rows, 16)}, "second": {(rows, 5)}}
    assert np.array_equal(own[-1].array, source.session()(feeds)["output_0"])
    assert {item.array.dtype.name for item in exact} == {"float64"}


def test_pieces_compute_what_the_whole_does(truth: tuple[OnnxOriginal, Golden]) -> None:
    path, feeds = truth[0]._path, truth[1].cases[-1].feeds
    steps, seen = OnnxSteps(path), dict[str, Array]()
    outputs = steps.observe(feeds, seen.__setitem__, {})
    whole = OnnxRunner(path).run(feeds)
    assert np.allclose(outputs["shares"], whole["shares"], atol=1e-6)
    assert list(seen) == [step.outputs[0] for step in steps.steps]
    zeros = np.zeros_like(seen["scores"])
    replaced = steps.observe(feeds, lambda *_: None, {"scores": zeros})
    assert np.array_equal(replaced["shares"], np.full_like(zeros, 1 / 6))


def test_a_missing_input_is_no_fault_of_a_step(truth: tuple[OnnxOriginal, Golden]) -> None:
    with pytest.raises(StepError, match="'x' is not known"):
        OnnxSteps(truth[0]._path).observe({}, lambda *_: None, {})


def test_every_tensor_equals_only_itself(truth: tuple[OnnxOriginal, Golden]) -> None:
    feeds = truth[1].cases[-1].feeds
    found = aligned(intermediates(truth[0], feeds), Form.ONNX)
    for number, item in enumerate(found.intermediates):
        assert [n for n, _ in found.equals(item.own)] == [number]


@given(st.integers(1, 3 * BUCKETS), st.integers(0, 2**32 - 1))
def test_sketches_are_as_far_apart_as_tensors(size: int, seed: int) -> None:
    one, other = (np.random.default_rng([seed, i]).standard_normal(size) for i in (0, 1))
    mean, peak = distances(sketch(one), sketch(other).sums)
    true = np.sqrt(np.mean(np.square(one - other)))
    if size <= BUCKETS:
        assert mean == pytest.approx(true, rel=1e-9)
        assert peak == pytest.approx(np.abs(one - other).max(), rel=1e-9)
    else:
        # Six standard deviations.
        assert mean == pytest.approx(true, rel=6 / np.sqrt(2 * BUCKETS))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_small_sketches_hold_their_tensor(shape: list[int], seed: int) -> None:
    values = normal(*shape, seed=seed)
    found = restored(sketch(values))
    if values.size <= BUCKETS:
        assert found is not None
        assert np.array_equal(found, values)
    else:
        assert found is None


def test_what_is_not_finite_is_in_no_sketch() -> None:
    assert restored(sketch(np.array([1, np.nan]))) is None


def test_a_sketch_counts_what_is_not_finite() -> None:
    values = np.array([1, np.nan, np.inf, -np.inf, np.finfo(np.float32).min], np.float32)
    assert sketch(values).strange == (1, 1, 2)
    assert sketch(values).sums.tolist() in ([1, 0, 0, 0, 0], [-1, 0, 0, 0, 0])


RIGHT = normal(4, 5, 6, seed=9)
KINDS: dict[str, tuple[Array, str, str]] = {
    "rounded to float16": (RIGHT.astype(np.float16).astype(np.float32), "cast", "float16"),
    "infinite": (np.where(RIGHT > 1, np.float32(np.inf), RIGHT), "overflow", "infinite"),
    "turned": (RIGHT.transpose(0, 2, 1).reshape(4, 5, 6), "axis", "axes [0, 2, 1]"),
    "reversed": (RIGHT[:, ::-1], "axis", "reversed on axis 1"),
    "shuffled": (RIGHT.reshape(-1)[::-1].reshape(4, 5, 6), "axis", "another order"),
    "scaled": (RIGHT * np.float32(-2), "constant", "-2 times"),
    "moved": (RIGHT + np.float32(3), "constant", "plus 3"),
    "biased": (RIGHT + normal(6), "constant", "axis 2, as of a wrong bias"),
    "scaled by row": (RIGHT * normal(5, 1), "constant", "axis 1, as of a wrong scale"),
    "rounded": (
        RIGHT * (1 + np.float32(1e-5) * normal(4, 5, 6, seed=3)),
        "rounding",
        " error 9.",
    ),
    "of other sizes": (normal(4, 5, 1), "axis", "sizes [4, 5, 1]"),
    "something else": (normal(4, 5, 6, seed=4), "unknown", "relative error"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_fault_has_the_kind_that_it_looks_like(name: str) -> None:
    wrong, kind, said = KINDS[name]
    found = kind_of(RIGHT, wrong, [], {})
    assert found[0] == kind
    assert said in found[1]
