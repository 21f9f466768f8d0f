"""The frozen list and the published results; the runs themselves are `make conformance`."""

import onnx
import pytest
from tests.conformance.attempt import PURE, SPECIALISED
from tests.conformance.categories import EXCLUDED, SECONDARY, category, core_names
from tests.conformance.page import page, share
from tests.conformance.run import PAGE, RESULTS, published
from tests.conformance.suite import examples

ONNX_1_23 = pytest.mark.skipif(
    not onnx.__version__.startswith("1.23."), reason="the list is of onnx 1.23"
)


@ONNX_1_23
def test_the_core_is_the_frozen_list() -> None:
    found = {example.name: category(example) for example in examples("node")}
    assert sorted(name for name, kind in found.items() if kind == "core") == core_names()
    assert set(found.values()) == {"core", *SECONDARY, *EXCLUDED}


def test_every_core_test_has_a_published_result() -> None:
    core = {name for name, (kind, _) in published(RESULTS).items() if kind == "core"}
    assert core == set(core_names())


def test_what_is_published_reaches_the_bars() -> None:
    results = published(RESULTS)
    assert share(results, "core", PURE, SPECIALISED) >= 0.95
    assert share(results, "core", PURE) >= 0.85
    for kind in ("int8", "control"):
        assert share(results, kind, PURE, SPECIALISED) >= 0.75


@ONNX_1_23
def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(published(RESULTS))
