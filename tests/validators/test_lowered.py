"""A lowered artifact passes by what its precision explains, and a fault in it does not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.architectures import ARCHITECTURES
from tests.validators import sabotage
from tests.validators.lowering import (
    HALF,
    Loud,
    Lowered,
    change_weight,
    copied,
    failed,
    faults,
    judged,
    lowered,
)

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Artifact, Form, Outcome
from ascend_migrate.validators.golden import read_golden
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.ledger.ledger import check_ledger
from ascend_migrate.validators.ledger.weights import Stored, Weight

X = ("x=float32[batch=1..4,8]",)
WEIGHT = "layers.0.up.weight"


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    bert = ARCHITECTURES["bert"]
    return lowered(bert.build, bert.inputs, tmp_path_factory.mktemp("bert"))


@pytest.fixture
def copy(block: Lowered, tmp_path: Path) -> Artifact:
    return copied(block.artifacts[Form.ONNX], tmp_path)


def test_a_transformer_block_passes_and_says_what_the_cast_lost(
    block: Lowered, copy: Artifact
) -> None:
    verdict = judged(block, copy)
    assert list(faults(verdict)) == []
    made = {f.check: f for f in verdict.findings}
    assert {"precision.range", "precision.graph"} <= set(made)
    assert "equal after the cast to float16, which changes an element by at most" in (
        made["weights.ledger"].note
    )
    assert "noise in float16" in made["outputs.close"].note
    # The two limits are worlds apart: rounding to float16, and rounding to float32.
    graph, close = made["precision.graph"].allowed, made["outputs.close"].allowed
    assert graph is not None
    assert close is not None
    assert graph < close / 100


def _scaled(array: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = array * np.float32(1.01)
    return scaled


def _cut(array: np.ndarray) -> np.ndarray:
    """The neighbour towards zero: what a cast that cuts digits off would give."""
    cut: np.ndarray = np.nextafter(array, np.zeros((), array.dtype))
    return cut


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (_scaled, {"weights.ledger", "precision.graph"}),
        (_cut, {"weights.ledger", "precision.graph"}),
        (np.negative, {"weights.ledger", "precision.graph", "outputs.close"}),
        (lambda a: a[::-1], {"weights.ledger", "precision.graph", "outputs.close"}),
        (lambda a: a * np.float32(1e6), {"weights.ledger"}),
    ],
    ids=["one percent", "rounded to zero", "sign", "order", "overflow"],
)
def test_a_wrong_weight_fails(
    block: Lowered,
    copy: Artifact,
    change: Callable[[np.ndarray], np.ndarray],
    seen: set[str],
) -> None:
    with np.errstate(over="ignore"):
        change_weight(copy, WEIGHT, change)
    assert seen <= failed(judged(block, copy))


def test_a_wrong_epsilon_fails_though_it_drowns_in_the_rounding(
    block: Lowered, copy: Artifact
) -> None:
    sabotage.change_epsilon(copy)
    assert failed(judged(block, copy)) == {"precision.graph"}


def test_a_wrong_axis_fails(block: Lowered, copy: Artifact) -> None:
    model = onnx.load(copy.path)
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    softmax.attribute[0].i = 1
    onnx.save(model, copy.path)
    assert {"outputs.close", "precision.graph"} <= failed(judged(block, copy))


def test_a_node_rounded_against_the_policy_is_only_noise(block: Lowered, copy: Artifact) -> None:
    """Widened, it is the same graph; the outputs say whether it costs too much, and it does not."""
    model = onnx.load(copy.path)
    cast = next(n for n in model.graph.node if n.op_type == "Cast" and n.attribute[0].i == 10)
    twice = onnx.helper.make_node("Cast", [cast.output[0]], ["twice"], to=1)
    again = onnx.helper.make_node("Cast", ["twice"], ["thrice"], to=10)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == cast.output[0]:
                node.input[place] = "thrice"
    place = list(model.graph.node).index(cast)
    model.graph.node.insert(place + 1, twice)
    model.graph.node.insert(place + 2, again)
    onnx.save(model, copy.path)
    assert failed(judged(block, copy)) == set()


A = np.array([[1.0, 1 / 3], [1e-9, -2.0]], np.float32)


@pytest.mark.parametrize(
    ("policy", "stored", "reason"),
    [
        (HALF, A.astype(np.float16), ""),
        (HALF, A, ""),
        (None, A.astype(np.float16), "is float32 in the source and float16 in the artifact"),
        (Precision("bfloat16"), A.astype(np.float16), "float32 in the source and float16"),
        (HALF, np.nextafter(A.astype(np.float16), np.float16(9)), "float16 in the artifact"),
        (HALF, A + np.float32(1), "has other bytes than in the source"),
    ],
    ids=["the cast", "kept", "undeclared", "another type", "rounded otherwise", "changed"],
)
def test_the_ledger_takes_the_declared_cast_and_no_other(
    policy: Precision | None, stored: np.ndarray, reason: str
) -> None:
    source = {"a": Weight.of("float32", A, used=True, precision=policy)}
    assert Weight.from_json(source["a"].to_json()) == source["a"]
    found = check_ledger(Form.ONNX, source, [Stored("a", stored.dtype.name, stored)])[0]
    assert found.outcome is (Outcome.FAIL if reason else Outcome.PASS)
    assert reason in found.note


def test_the_ledger_says_what_a_cast_lost_and_refuses_infinity() -> None:
    loud = A * np.float32(1e5)
    with np.errstate(over="ignore"):
        pairs = {"a": (A, A.astype(np.float16)), "b": (loud, loud.astype(np.float16))}
    stored = [Stored(name, "float16", low) for name, (_, low) in pairs.items()]
    source = {n: Weight.of("float32", a, used=True, precision=HALF) for n, (a, _) in pairs.items()}
    (fault,) = [f for f in check_ledger(Form.ONNX, source, stored) if f.outcome is Outcome.FAIL]
    assert (fault.subject, fault.note) == ("b", "the cast to float16 makes 2 infinite")
    sound = check_ledger(Form.ONNX, {"a": source["a"]}, stored[:1])[0].note
    change = abs(float(np.float16(1 / 3)) - float(A[0, 1])) / float(A[0, 1])
    assert f"changes an element by at most {change:.2g} of itself (a)" in sound
    assert "makes 1 zero (1 of them in a)" in sound


def test_without_the_sources_weights_the_graph_is_not_judged(block: Lowered) -> None:
    verdict = judge(
        [block.artifacts[Form.ONNX]], block.golden, source_digest="", source_weights=None
    )
    (finding,) = [f for f in verdict.findings if f.outcome is not Outcome.PASS]
    assert (finding.check, finding.outcome) == ("precision.graph", Outcome.NOT_RUN)
    assert "judge against the specification" in finding.note


def test_what_leaves_the_range_fails_in_plain_words_and_passes_when_kept(tmp_path: Path) -> None:
    loud = lowered(Loud, X, tmp_path / "loud")
    verdict = judged(loud, loud.artifacts[Form.ONNX])
    (range_,) = [f for f in faults(verdict) if f.check == "precision.range"]
    assert range_.outcome is Outcome.FAIL
    assert "are finite in float32 only, not in float16, which ends at 65504" in range_.note
    assert "amplifier (mul) reaches" in range_.note
    assert "add the module or the operator type to keep_float32" in range_.note

    kept = Precision("float16", ("amplifier",))
    mended = lowered(Loud, X, tmp_path / "mended", kept)
    assert list(faults(judged(mended, mended.artifacts[Form.ONNX]))) == []
    assert read_golden(mended.golden).precision == kept
    assert read_golden(loud.golden).precision == HALF
