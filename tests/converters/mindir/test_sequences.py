"""Sequences and optionals that can be followed at conversion leave only tensors in the MindIR."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser
from tests.converters.oracle import assert_same, run_onnx

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.errors import ConversionError, UnsupportedOperatorError
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = -X

CASES = {
    "either-branch": """(float[4, 3] x, float[4, 3] y) => (float[4, 3] z, float[2, 3] w) {
        total = ReduceSum <keepdims = 0> (x)
        zero = Constant <value_float = 0.0> ()
        one = Constant <value_int = 1> ()
        size = Constant <value_int = 2> ()
        much = Greater (total, zero)
        all = If (much) <
            then_branch = then () => (parts) { parts = SplitToSequence (y, size) },
            else_branch = other () => (turned) {
                halves = SplitToSequence (x, size)
                a = SequenceAt (halves, one)
                turned = SequenceConstruct (a, a) }>
        z = ConcatFromSequence <axis = 0> (all)
        w = SequenceAt (all, one)
    }""",
    "construct-at": """(float[4, 3] x, float[4, 3] y) => (float[4, 3] z, int64 count) {
        all = SequenceConstruct (x, y)
        last = Constant <value_int = -1> ()
        one = SequenceAt (all, last)
        z = Add (one, one)
        count = SequenceLength (all)
    }""",
    "insert-erase": """(float[4, 3] x, float[4, 3] y) => (float[4, 3] z, float[4, 3] w) {
        none = SequenceEmpty ()
        first = SequenceInsert (none, x)
        front = Constant <value_int = 0> ()
        both = SequenceInsert (first, y, front)
        third = SequenceInsert (both, x)
        second = Constant <value_int = 1> ()
        left = SequenceErase (third, second)
        short = SequenceErase (third)
        a = SequenceAt (left, front)
        z = Neg (a)
        c = SequenceAt (short, second)
        w = Add (c, a)
    }""",
    "concat": """(float[4, 3] x, float[4, 3] y) => (float[4, 6] z, float[4, 2, 3] w) {
        all = SequenceConstruct (x, y)
        z = ConcatFromSequence <axis = -1> (all)
        w = ConcatFromSequence <axis = 1, new_axis = 1> (all)
    }""",
    "split-one-by-one": """(float[4, 3] x, float[4, 3] y) => (float[4] z, float[1, 3] w) {
        flat = SplitToSequence <axis = 1, keepdims = 0> (x)
        kept = SplitToSequence (y)
        place = Constant <value_int = 2> ()
        a = SequenceAt (flat, place)
        z = Neg (a)
        c = SequenceAt (kept, place)
        w = Neg (c)
    }""",
    "split-by-sizes": """(float[4, 3] x, float[4, 3] y) => (float[3, 3] z, float[1, 3] w) {
        sizes = Constant <value_ints = [1, 3]> ()
        step = Constant <value_int = 3> ()
        parts = SplitToSequence (x, sizes)
        steps = SplitToSequence (y, step)
        place = Constant <value_int = 1> ()
        a = SequenceAt (parts, place)
        z = Neg (a)
        c = SequenceAt (steps, place)
        w = Neg (c)
    }""",
    "map": """(float[4, 3] x, float[4, 3] y) => (float[4, 6] z) {
        all = SequenceConstruct (x, y)
        mapped = SequenceMap (all, y) <
            body = add (float[4, 3] one, float[4, 3] other) => (float[4, 3] sum) {
                sum = Add (one, other) }>
        z = ConcatFromSequence <axis = 1> (mapped)
    }""",
    "loop": """(float[4, 3] x, float[4, 3] y) => (float[12, 3] z) {
        yes = Constant <value = bool {1}> ()
        trips = Constant <value_int = 3> ()
        none = SequenceEmpty ()
        all = Loop (trips, yes, none) <
            body = step (int64 i, bool c, seq(float) given) => (bool d, seq(float) more) {
                d = Identity (c)
                f = Cast <to = 1> (i)
                row = Mul (x, f)
                more = SequenceInsert (given, row) }>
        z = ConcatFromSequence <axis = 0> (all)
    }""",
    "loop-at-run-time": """(float[4, 3] x, float[4, 3] y)
            => (float[M, 3] z, float[4, K, 3] w, float[4, 3] second, int64 count) {
        yes = Constant <value = bool {1}> ()
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        flags = Greater (x, y)
        bits = Cast <to = 7> (flags)
        trips = ReduceSum <keepdims = 0> (bits)
        none = SequenceEmpty ()
        all, last = Loop (trips, yes, none, x) <
            body = step (int64 i, bool c, seq(float) given, float[4, 3] s)
                        => (bool d, seq(float) more, float[4, 3] t) {
                d = Identity (c)
                t = Add (s, y)
                more = SequenceInsert (given, s) }>
        longer = SequenceInsert (all, y)
        z = ConcatFromSequence <axis = 0> (longer)
        w = ConcatFromSequence <axis = 1, new_axis = 1> (all)
        second = SequenceAt (all, one)
        count = SequenceLength (longer)
    }""",
    "optional": """(float[4, 3] x, float[4, 3] y) => (float[4, 3] z) {
        maybe = Optional (x)
        there = OptionalHasElement (maybe)
        z = If (there) <
            then_branch = t () => (float[4, 3] a) {
                k = OptionalGetElement (maybe)
                a = Add (k, y) },
            else_branch = e () => (float[4, 3] b) { b = Neg (y) }>
    }""",
}


def model_of(graph: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {graph}')


@pytest.mark.mindspore
@pytest.mark.parametrize("graph", CASES.values(), ids=CASES)
def test_sequence(graph: str, tmp_path: Path, mindspore_process: MindSporeProcess) -> None:
    onnx.save(model_of(graph), tmp_path / "model.onnx")
    artifact = convert(tmp_path / "model.onnx", tmp_path, inputs=(), parent="p")
    runner = MindSporeRunner(artifact, process=mindspore_process)
    feeds = {"x": X, "y": Y}
    assert_same(list(runner.run(feeds).values()), run_onnx(model_of(graph), feeds))


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            """(float[4, 3] x, int64 k) => (float[4, 3] z) {
                all = SequenceConstruct (x, x)
                [at] z = SequenceAt (all, k) }""",
            "at (SequenceAt, opset 18): the position 'k' is computed when the model runs",
        ),
        (
            """(float[N, 3] x) => (int64 z) {
                [split] all = SplitToSequence (x)
                z = SequenceLength (all) }""",
            "split (SplitToSequence, opset 18): dimension 0 (N) of what becomes a sequence must "
            "have a fixed size",
        ),
        (
            """(float[4, 3] x, int64 trips) => (int64 z) {
                yes = Constant <value = bool {1}> ()
                none = SequenceEmpty ()
                [loop_1] all = Loop (trips, yes, none) <
                    body = step (int64 i, bool c, seq(float) s) => (bool d, seq(float) u) {
                        d = Identity (c)
                        t = SequenceInsert (s, x)
                        u = SequenceInsert (t, x) }>
                z = SequenceLength (all) }""",
            "loop_1 (Loop, opset 18): a loop whose trips are counted when the model runs may only "
            "add one tensor in each trip to the end of the sequence 'u'; make their number a "
            "constant",
        ),
        (
            """(float[4, 3] x, int64 trips) => (int64 z) {
                yes = Constant <value = bool {1}> ()
                some = SequenceConstruct (x)
                [loop_1] all = Loop (trips, yes, some) <
                    body = step (int64 i, bool c, seq(float) s) => (bool d, seq(float) u) {
                        d = Identity (c)
                        u = SequenceInsert (s, x) }>
                z = SequenceLength (all) }""",
            "loop_1 (Loop, opset 18): the sequence 'some' is not empty before a loop whose trips "
            "are counted when the model runs; make their number a constant",
        ),
        (
            """(float[4, 3] x, bool p) => (int64 z) {
                [if_1] all = If (p) <
                    then_branch = t () => (seq(float) a) { a = SequenceConstruct (x) },
                    else_branch = e () => (seq(float) b) { b = SequenceConstruct (x, x) }>
                z = SequenceLength (all) }""",
            "if_1 (If, opset 18): the length of the sequence 'all' depends on the branch",
        ),
    ],
    ids=["position", "split", "two-in-a-trip", "not-empty", "branch"],
)
def test_what_cannot_be_followed_is_named(graph: str, reason: str, tmp_path: Path) -> None:
    onnx.save(model_of(graph), tmp_path / "model.onnx")
    with pytest.raises(UnsupportedOperatorError) as caught:
        convert(tmp_path / "model.onnx", tmp_path, inputs=(), parent="p")
    assert caught.value.nodes == (reason,)


def test_a_sequence_is_no_output(tmp_path: Path) -> None:
    graph = "(float[4, 3] x) => (seq(float[4, 3]) z) { z = SequenceConstruct (x, x) }"
    onnx.save(model_of(graph), tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match="graph output 'z': 'z' is a sequence"):
        convert(tmp_path / "model.onnx", tmp_path, inputs=(), parent="p")
