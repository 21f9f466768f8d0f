"""A softmax over a row that a mask covers whole, and over all others."""

from pathlib import Path

import numpy as np
import pytest
from tests.converters.mindir.case import f
from tests.converters.mindir.graphs import converted, graph
from tests.converters.oracle import assert_same, run_onnx

from ascend_migrate.pipeline.mindir_format import read_model
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

MASKED = """attention (float[2, 4, 5] x, bool[4, 5] seen) => (float[2, 4, 5] y) {
    zero = Constant <value_float = 0.0> ()
    mask = Where (seen, zero, hidden)
    scores = Add (x, mask)
    y = Softmax <axis = -1> (scores)
}"""
PLAIN = """attention (float[2, 4, 5] x, bool[4, 5] seen) => (float[2, 4, 5] y, bool[4, 5] z) {
    scores = Add (x, causal)
    y = Softmax <axis = -1> (scores)
    z = Not (seen)
}"""
CAUSAL = np.where(np.tri(4, 5, dtype=bool), 0, -np.inf).astype(np.float32)


@pytest.mark.mindspore
def test_rows_after_a_masked_one_are_as_they_should_be(
    tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    """MindSpore's own kernel gives zeros from the first such row on."""
    model = graph(MASKED, {"hidden": np.array(-np.inf, np.float32)})
    seen = np.ones((4, 5), bool)
    seen[1] = seen[2, 3] = False
    feeds = {"x": f(2, 4, 5), "seen": seen}
    runner = MindSporeRunner(converted(model, tmp_path), process=mindspore_process)
    found = runner.run(feeds)["y"]
    assert np.isnan(found[:, 1]).all()
    assert_same([found], run_onnx(model, feeds))


@pytest.mark.parametrize(
    ("text", "weights", "primitives"),
    [
        (MASKED, {"hidden": np.array(-np.inf, np.float32)}, {"ReduceMax", "Softmax"}),
        (MASKED, {"hidden": np.array(-1e9, np.float32)}, {"Softmax"}),
        (PLAIN, {"causal": CAUSAL}, {"Softmax"}),
    ],
    ids=["may-be-covered", "finite", "causal"],
)
def test_only_a_mask_that_may_cover_a_row_costs_anything(
    text: str, weights: dict[str, np.ndarray], primitives: set[str], tmp_path: Path
) -> None:
    made = {
        p.op_type for p in read_model(converted(graph(text, weights), tmp_path).path).primitives
    }
    assert made & {"ReduceMax", "Softmax"} == primitives
