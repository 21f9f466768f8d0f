"""Padding of NonMaxSuppression: known for what it is, taken off, and refused where it is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import parser

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.validators.device.padding import padded_outputs, without_padding

NMS = """<ir_version: 8, opset_import: ["" : 17, "other" : 1]>
net (float[1, n, 4] boxes, float[1, 1, n] scores) => ({outputs})
<int64 most = {{3}}, float iou = {{0.5}}, float low = {{0.1}}, int64[1] column = {{2}}>
{{
    kept = NonMaxSuppression (boxes, scores, most, iou, low)
    same = Identity (kept)
    narrow = Cast <to = 6> (same)
    index = Gather <axis = 1> (kept, column)
    twice = Mul (kept, kept)
    alien = other.NonMaxSuppression (boxes)
}}"""


@pytest.mark.parametrize(
    ("outputs", "padded"),
    [
        ("int64[k, 3] kept", {"kept"}),
        ("int64[k, 3] same, int32[k, 3] narrow", {"same", "narrow"}),
        ("int64[k, 1] index", set()),
        ("int64[k, 3] twice, int64[k, 3] kept", {"kept"}),
        ("int64[k, 3] alien", set()),
        ("float[1, n, 4] boxes", set()),
    ],
)
def test_outputs_that_are_nothing_else(outputs: str, padded: set[str]) -> None:
    assert padded_outputs(parser.parse_model(NMS.format(outputs=outputs))) == padded


ROWS = arrays(np.int64, st.tuples(st.integers(0, 6), st.just(3)), elements=st.integers(0, 2**40))


@given(ROWS, st.integers(0, 5), st.sampled_from([np.int32, np.int64, np.float32]))
def test_what_was_padded_comes_back(rows: np.ndarray, more: int, dtype: type) -> None:
    given_rows: np.ndarray = (rows % 1000).astype(dtype)
    padded = np.concatenate([given_rows, np.full((more, 3), -1, dtype)])
    found = without_padding("kept", padded)
    assert found.dtype == dtype
    assert found.tolist() == given_rows.tolist()


@pytest.mark.parametrize(
    "rows",
    [
        [[0, 0, 1], [-1, -1, -1], [0, 0, 2]],
        [[0, 0, -1]],
        [[0, -1, 5], [-1, -1, -1]],
        [[-1, -1, -1], [0, 0, 2]],
    ],
)
def test_padding_between_results_is_refused(rows: list[list[int]]) -> None:
    with pytest.raises(CheckError, match=r"^output 'kept' of NonMaxSuppression has -1 between"):
        without_padding("kept", np.array(rows))


@pytest.mark.parametrize("sizes", [(3,), (2, 4), (1, 2, 3)])
def test_other_sizes_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(CheckError, match=r"has the sizes \[.*\], not \[n, 3\]"):
        without_padding("kept", np.zeros(sizes))
