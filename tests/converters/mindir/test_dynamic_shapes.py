"""Arithmetic with sizes that are known only when the graph runs, as exporters write it."""

from pathlib import Path

import numpy as np
import pytest
from tests.converters.mindir.graphs import converted, graph
from tests.converters.oracle import assert_same, run_onnx

from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

SIZES = ((2, 7), (1, 1), (5, 4), (3, 12))

INPUT = "float[n, t, 12] x"
NUMBERS = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] minus = {-1}"

CHAINS = {
    "rows of heads": """float y {
        shape = Shape (x)
        n = Gather (shape, zero)
        t = Gather (shape, one)
        rows = Mul (n, t)
        heads = Constant <value_ints = [3, 4]> ()
        to = Concat <axis = 0> (rows, heads)
        y = Reshape (x, to)
    }""",
    "half of the time": """float y {
        t = Shape <start = 1, end = 2> (x)
        more = Add (t, one)
        half = Div (more, two)
        y = Slice (x, zero, half, one)
    }""",
    "the last half of the time": """float y {
        t = Shape <start = 1, end = 2> (x)
        half = Div (t, two)
        y = Slice (x, half, t, one)
    }""",
    "a quotient of a negative number": """int64 y {
        t = Shape <start = 1, end = 2> (x)
        six = Constant <value_ints = [6]> ()
        four = Constant <value_ints = [4]> ()
        less = Sub (t, six)
        y = Div (less, four)
    }""",
    "a causal mask": """float y {
        t = Shape <start = 1, end = 2> (x)
        none = Constant <value_int = 0> ()
        step = Constant <value_int = 1> ()
        count = Squeeze (t)
        columns = Range (none, count, step)
        rows = Unsqueeze (columns, one)
        hidden = Greater (columns, rows)
        least = Constant <value_float = -1e9> ()
        nothing = Constant <value_float = 0.0> ()
        mask = Where (hidden, least, nothing)
        back = Transpose <perm = [0, 2, 1]> (x)
        scores = MatMul (x, back)
        masked = Add (scores, mask)
        y = Softmax (masked)
    }""",
    "ones for each row": """float y {
        shape = Shape <end = 2> (x)
        ones = ConstantOfShape <value = float[1] {1.0}> (shape)
        column = Unsqueeze (ones, two)
        y = Concat <axis = 2> (x, column)
    }""",
    "the largest size": """float y {
        n = Shape <end = 1> (x)
        t = Shape <start = 1, end = 2> (x)
        most = Max (n, t)
        last = Shape <start = 2> (x)
        to = Concat <axis = 0> (most, last)
        row = Slice (x, zero, one, zero)
        first = Slice (row, zero, one, one)
        flat = Squeeze (first, zero)
        y = Expand (flat, to)
    }""",
    "a size as a number": """float y {
        t = Shape <start = 1, end = 2> (x)
        real = Cast <to = 1> (t)
        scale = Sqrt (real)
        y = Div (x, scale)
    }""",
    "sizes backwards": """int64 y {
        shape = Shape (x)
        far = Constant <value_ints = [-9]> ()
        back = Slice (shape, minus, far, zero, minus)
        y = Concat <axis = 0> (back, shape)
    }""",
    "a choice of sizes": """float y {
        shape = Shape (x)
        four = Constant <value_ints = [2, 1, 3]> ()
        free = Constant <value_ints = [-1, -1, -1]> ()
        same = Equal (four, free)
        repeats = Where (same, shape, four)
        y = Tile (x, repeats)
    }""",
    "an average over the time": """float y {
        sum = ReduceSum <keepdims = 0> (x, one)
        t = Shape <start = 1, end = 2> (x)
        real = Cast <to = 1> (t)
        y = Div (sum, real)
    }""",
    "as many as are not zero": """float y {
        flat = Reshape (x, minus)
        at = NonZero (flat)
        row = Squeeze (at, zero)
        y = Gather (flat, row)
    }""",
    "shifted by one": """float y {
        stop = Constant <value_ints = [-1]> ()
        far = Constant <value_ints = [9223372036854775807]> ()
        first = Slice (x, zero, one, one)
        head = Slice (x, zero, stop, one)
        y = Concat <axis = 1> (first, head)
    }""",
}


@pytest.mark.mindspore
@pytest.mark.parametrize("text", CHAINS.values(), ids=CHAINS)
def test_chain(text: str, tmp_path: Path, mindspore_process: MindSporeProcess) -> None:
    kind, _, body = text.partition(" y ")
    model = graph(f"net ({INPUT}) => ({kind} y) <{NUMBERS}> {body}")
    runner = MindSporeRunner(converted(model, tmp_path), process=mindspore_process)
    for n, t in SIZES:
        feeds = {"x": np.random.default_rng(n).standard_normal((n, t, 12)).astype(np.float32)}
        assert_same(list(runner.run(feeds).values()), run_onnx(model, feeds))
