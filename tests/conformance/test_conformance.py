"""The frozen list and the published table; the runs themselves are `make conformance`."""

import onnx
import pytest
from tests.conformance.categories import EXCLUDED, SECONDARY, category, core_names
from tests.conformance.run import RESULTS, published
from tests.conformance.suite import examples

PURE_SHARE, PASS_SHARE = 0.85, 0.95
"""Of the core; see docs/conformance.md."""


@pytest.mark.skipif(not onnx.__version__.startswith("1.23."), reason="the list is of onnx 1.23")
def test_the_core_is_the_frozen_list() -> None:
    found = {example.name: category(example) for example in examples("node")}
    assert sorted(name for name, kind in found.items() if kind == "core") == core_names()
    assert set(found.values()) == {"core", *SECONDARY, *EXCLUDED}


def test_every_core_test_has_a_published_result() -> None:
    assert set(core_names()) <= set(published(RESULTS))
