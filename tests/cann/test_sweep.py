"""The published results of ONNX's backend tests; the runs themselves are `make cann`."""

import onnx
import pytest
from tests.cann.attempt import attempt
from tests.cann.page import page
from tests.cann.run import PAGE, published, told
from tests.conformance.run import RESULTS
from tests.conformance.run import published as conformance
from tests.conformance.suite import Example, examples

ONNX_1_23 = pytest.mark.skipif(
    not onnx.__version__.startswith("1.23."), reason="the results are of onnx 1.23"
)

LEFT = {
    "empty-dimension": "an input that no node reads any more, or an empty test",
    "float64": "the test is of float64",
    "gridsample-bicubic": "only a vendor's page speaks against it",
    "nms-limits": "its limits are inputs of the test",
    "nms-padding": "the device pads its result",
    "no-input": "the test is of a constant",
    "no-kernel": "inferred from the library of kernels of 8.1",
    "pool-width": "only a vendor's page speaks against it",
}
"""What the preflight may still say of a model after surgery, and why that is right."""


def test_every_backend_test_has_a_result() -> None:
    # Of which tests/conformance proves that its list is whole.
    assert set(published()) == set(conformance(RESULTS))


def test_no_model_is_changed_silently() -> None:
    rows = published()
    assert {row.outcome for row in rows.values()} == {"same", "refused"}
    assert all(row.note for row in rows.values() if row.outcome != "same")
    assert {rule for row in rows.values() for rule in row.told} <= set(LEFT)


def test_most_of_what_opset_17_has_is_taken() -> None:
    rows = [row for row in published().values() if row.suite == "node"]
    taken = sum(row.outcome != "refused" for row in rows)
    # What is refused are mostly types and operators that opset 17 lacks: see docs/cann.md.
    assert taken / len(rows) > 0.75


@ONNX_1_23
def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(published())


@ONNX_1_23
@pytest.mark.parametrize("example", list(examples("simple")), ids=lambda example: example.name)
def test_one_suite_now(example: Example) -> None:
    done, row = attempt(example), published()[example.name]
    assert (done.outcome, done.rewritten) == (row.outcome, row.rewritten)
    if done.model is not None:
        assert told(done.model) == row.told
