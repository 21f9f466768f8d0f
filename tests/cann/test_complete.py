"""No rule without a proof: what would fail, or change numbers, is rewritten, refused, or left.

That each rule strikes at all, and only where it should, is tests/validators/test_preflight.py.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.cann.attempt import operated
from tests.cann.cases import CASES
from tests.cann.cases_recurrent import LAYOUT
from tests.cann.graphs import feeds, run
from tests.cann.reread import strikes
from tests.cann.test_rewrites import NEWEST, REFUSED, same, struck
from tests.validators.preflight_models import CONV, TRIPS, branching
from tests.validators.test_preflight import FAMILIES

from ascend_migrate.converters import onnx_to_onnx_cann
from ascend_migrate.converters.cann.registry import answers
from ascend_migrate.pipeline.cann.generations import NodeRule, load_generation, versions
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.validators.preflight.preflight import BLOCKING, examine

BY_OPSET = {
    "lppool-ceil-mode",
    "lppool-dilations",
    "pad-mode",
    "resize-antialias",
    "resize-aspect-ratio",
    "resize-axes",
    "upsample-scales",
}
"""Of other opsets: bringing the graph to 17 rewrites them (converters/onnx_opset_*.py)."""

TOO_OLD = {"batchnorm-spatial", "upsample-mode"}
"""Of opsets that the form is not made from at all."""

BY_HAND = {"lrn-size"}
"""Rewritten where onnxruntime has no kernel for the original: numpy tells in test_rewrites.py."""

_PAGE = "only a vendor's page speaks against it, for some chips; its text says what to do"
_USER = "of the numbers that a model is made for, which are the user's to choose"
LEFT = {
    **dict.fromkeys(
        ("conv-width", "conv-kernel", "conv-strides", "conv-dilations", "conv-pads"), _PAGE
    ),
    **dict.fromkeys(("pool-width", "matmul-rank", "gridsample-bicubic"), _PAGE),
    "gridsample-rank": "opset 17 has no such grid: bringing the graph there refuses",
    "nms-padding": "of the device's result: the application strips the rows",
    "nms-limits": "its limits are inputs of the model",
    "nms-count": "the limit is the model's own",
    **dict.fromkeys(("float64", "complex", "bfloat16"), _USER),
    "no-input": "there is nothing to compute",
    "no-output": "there is nothing to compute",
    "empty-dimension": "there is nothing to compute",
    "dynamic-shape-310": "the sizes are given to ATC",
    "om-size": "a flag of ATC",
    "custom-domain": "no operator is known that means the same",
    "opset-above": "of the version of CANN: an older opset is written where it is asked for",
    "unregistered-yet": "of the version of CANN, which the graph does not know",
}
"""What surgery leaves to the preflight, and why."""

MENDED = {"duplicate-name", "external-key", "nested-external", "tensor-type", "two-versions"}
"""Of the file: writing it anew is the cure."""


def serious() -> dict[str, NodeRule]:
    found = {}
    for version in versions():
        generation = load_generation(version)
        for rule in (*generation.rules, *generation.graph_rules):
            if rule.effect in BLOCKING:
                found[rule.id] = rule
    return found


def rewritten() -> set[str]:
    return {case.rule for case in (*CASES, *LAYOUT)} | BY_HAND


def test_every_rule_has_a_proof() -> None:
    refused = {rule for rule, _, _ in REFUSED}
    proved = rewritten() | refused | BY_OPSET | TOO_OLD | MENDED
    assert proved | set(LEFT) == set(serious())
    assert not proved & set(LEFT)


def test_every_answer_has_a_row() -> None:
    answered = {answer.rule for answer in answers()}
    assert answered == rewritten() | {rule for rule, _, _ in REFUSED}
    assert answered <= set(serious())


def test_every_rule_says_so_if_and_only_if_it_is_rewritten() -> None:
    promised = {name for name, rule in serious().items() if "the onnx-cann form" in rule.remedy}
    # Rewritten in a corner only, where the text speaks of the whole operator.
    corners = {"batchnorm-training", "dropout-seed", "resize-constant"}
    assert promised == (rewritten() | BY_OPSET) - corners


@pytest.mark.parametrize("rule", sorted(BY_OPSET))
def test_another_opset_is_the_same_at_17(rule: str) -> None:
    source = TRIPS[rule][0].model()
    source.ir_version = 8
    model = operated(source)[0]
    assert struck(model) == set()
    fed = feeds(source)
    # Means and products of at most sixteen numbers, in another order.
    same(run(source, fed), run(model, fed), 1e-6)


@pytest.mark.parametrize("rule", sorted(TOO_OLD))
def test_an_opset_below_13_is_refused(rule: str, tmp_path: Path) -> None:
    onnx.save(TRIPS[rule][0].model(), tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match="older than 13"):
        onnx_to_onnx_cann.convert(tmp_path / "model.onnx", tmp_path / "made", parent="")


def ill(rule: str) -> onnx.ModelProto:
    """A graph that trips a rule of the file."""
    if rule == "nested-external":
        return branching()
    model = CONV.fed(1, np.zeros((4, 3, 3, 3), np.float32)).model()
    if rule == "duplicate-name":
        model.graph.node[0].name = "x1"
    elif rule == "two-versions":
        model.opset_import.add(domain="ai.onnx", version=17)
    elif rule == "tensor-type":
        tensor = model.graph.initializer.add(name="unused", dims=[2], data_type=18)
        tensor.raw_data = b"\0\0"
    else:
        (weight,) = model.graph.initializer
        onnx.external_data_helper.set_external_data(weight, "weights", 0, 432)
        weight.ClearField("raw_data")
        weight.external_data.add(key="checksum", value="0")
    return model


@pytest.mark.parametrize("rule", sorted(MENDED))
def test_a_file_is_mended(rule: str, tmp_path: Path) -> None:
    source = ill(rule)
    assert struck(source) == {rule}
    assert strikes(source, NEWEST.name, "Ascend910B") == {rule}
    (tmp_path / "weights").write_bytes(bytes(432))
    onnx.save(source, tmp_path / "model.onnx")
    made = onnx_to_onnx_cann.convert(tmp_path / "model.onnx", tmp_path / "made", parent="")
    model = onnx.load(made.path, load_external_data=False)
    assert struck(model) == set()


@pytest.mark.parametrize("rule", TRIPS)
def test_two_readings_of_the_rules_agree(rule: str) -> None:
    family = FAMILIES.get(rule, "Ascend910B")
    for node in TRIPS[rule]:
        model = node.model()
        for version in versions():
            found = examine(model, load_generation(version), family)
            told = {item.rule for item in found if item.effect in BLOCKING}
            assert strikes(model, version, family) == told
