"""The frozen list and the published results; the runs themselves are `make conformance`."""

from functools import cache

import onnx
import pytest
from tests.conformance.attempt import LEFT_OUT, PURE, SPECIALISED
from tests.conformance.categories import EXCLUDED, SECONDARY, category, core_names
from tests.conformance.page import page, share
from tests.conformance.run import PAGE, RESULTS, published
from tests.conformance.suite import FOLDER_SUITES, SUITES, examples

ONNX_1_23 = pytest.mark.skipif(
    not onnx.__version__.startswith("1.23."), reason="the list is of onnx 1.23"
)

BARS = {
    "core": 0.95,
    "int8": 0.75,
    "bfloat16": 0.75,
    "control": 0.75,
    "sequence": 0.75,
    "pytorch-operator": 1,
    "pytorch-converted": 0.98,
}
"""The least share of each category that must pass."""

PURE_BARS = {"core": 0.85, "pytorch-operator": 1, "pytorch-converted": 0.98}
"""The least share that must pass with nothing of the test's inputs made a constant."""


@cache
def every() -> dict[str, tuple[str, str]]:
    """Returns suite and category of each test that onnx ships."""
    return {e.name: (suite, category(e)) for suite in SUITES for e in examples(suite)}


@ONNX_1_23
def test_the_core_is_the_frozen_list() -> None:
    assert sorted(name for name, (_, kind) in every().items() if kind == "core") == core_names()
    assert {kind for _, kind in every().values()} == {
        "core",
        *SECONDARY,
        *FOLDER_SUITES,
        *EXCLUDED,
    }


@ONNX_1_23
def test_every_test_of_every_suite_has_a_published_result() -> None:
    found = {name: (result.suite, kind) for name, (kind, result) in published(RESULTS).items()}
    assert found == every()


def test_only_whole_categories_are_left_out() -> None:
    for kind, result in published(RESULTS).values():
        assert (result.outcome == LEFT_OUT) == (kind in EXCLUDED)


@pytest.mark.parametrize(("kind", "bar"), BARS.items())
def test_what_is_published_reaches_the_bar(kind: str, bar: float) -> None:
    assert share(published(RESULTS), kind, PURE, SPECIALISED) >= bar


@pytest.mark.parametrize(("kind", "bar"), PURE_BARS.items())
def test_what_passes_purely_reaches_the_bar(kind: str, bar: float) -> None:
    assert share(published(RESULTS), kind, PURE) >= bar


@ONNX_1_23
def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(published(RESULTS))
