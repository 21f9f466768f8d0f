"""Every standard operator that CANN registers: what is found, what becomes of it, its numbers."""

from functools import cache

import numpy as np
import onnx
import pytest
from tests.cann.attempt import operated
from tests.cann.case import floats, ints
from tests.cann.graphs import feeds, one, run
from tests.cann.operators import models
from tests.cann.reread import strikes

from ascend_migrate.pipeline.cann.generations import load_generation
from ascend_migrate.pipeline.errors import UnsupportedOperatorError
from ascend_migrate.validators.preflight.preflight import BLOCKING, examine

NEWEST, CHIP, OPSET = load_generation("9.1"), "Ascend910B", 17
MODELS = models()
AT_17 = {op for op, known in NEWEST.operators.items() if OPSET in known.opsets}

FOUND: dict[str, set[str]] = {
    "MaxRoiPool": {"no-kernel"},
    "NonMaxSuppression": {"nms-padding"},
    "RandomNormal": {"no-input"},
    "RandomUniform": {"no-input"},
    "Range": {"no-input"},
}
"""What the preflight says of the plain use of an operator, where it says something."""

GONE = {"CastLike": {"Cast"}, "Dropout": {"Identity"}}
"""What surgery makes of the plain use of an operator, where the operator does not stay."""


@cache
def after(op_type: str) -> onnx.ModelProto:
    return operated(MODELS[op_type])[0]


def struck(model: onnx.ModelProto) -> set[str]:
    return {item.rule for item in examine(model, NEWEST, CHIP) if item.effect in BLOCKING}


def test_every_registered_operator_has_a_model() -> None:
    assert set(MODELS) == AT_17
    assert set(OUTSIDE) == set(NEWEST.operators) - AT_17


@pytest.mark.parametrize("op_type", MODELS)
def test_the_plain_use_is_found_harmless(op_type: str) -> None:
    model = MODELS[op_type]
    assert op_type in {node.op_type for node in model.graph.node}
    assert struck(model) == FOUND.get(op_type, set())
    assert strikes(model, NEWEST.name, CHIP) == struck(model)


@pytest.mark.parametrize("op_type", MODELS)
def test_the_plain_use_stays_what_it_is(op_type: str) -> None:
    model = after(op_type)
    onnx.checker.check_model(model, full_check=True)
    kept = {node.op_type for node in model.graph.node}
    assert GONE.get(op_type, {op_type}) <= kept
    assert struck(model) <= FOUND.get(op_type, set())
    fed = feeds(MODELS[op_type])
    wanted = run(MODELS[op_type], fed)
    assert np.asarray(wanted[0]).size > 0
    found = run(model, {info.name: fed[info.name] for info in model.graph.input})
    for want, have in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(have, want)
        assert np.asarray(have).dtype == np.asarray(want).dtype


def bitwise(op: str, *names: str) -> onnx.ModelProto:
    return one(op, {name: [3] for name in names}, kinds=dict.fromkeys(names, 6), opset=18)


OUTSIDE: dict[str, tuple[onnx.ModelProto, str]] = {
    "AffineGrid": (
        one("AffineGrid", {"t": [1, 2, 3], "s": ints(1, 1, 3, 4)}, opset=20),
        "the rank of its input is unknown",
    ),
    "BitwiseAnd": (bitwise("BitwiseAnd", "a", "b"), "no exact rule"),
    "BitwiseNot": (bitwise("BitwiseNot", "a"), "no exact rule"),
    "BitwiseOr": (bitwise("BitwiseOr", "a", "b"), "no exact rule"),
    "BitwiseXor": (bitwise("BitwiseXor", "a", "b"), "no exact rule"),
    "Col2Im": (
        one("Col2Im", {"x": [1, 4, 9], "s": ints(4, 4), "b": ints(2, 2)}, opset=18),
        "no exact rule",
    ),
    "Mish": (one("Mish", {"x": [3, 4]}, opset=18), ""),
    "Scatter": (
        one("Scatter", {"x": [3, 4], "i": ints(2, 0, 1, 1).reshape(1, 4), "u": [1, 4]}, opset=10),
        "",
    ),
    "Upsample": (one("Upsample", {"x": [1, 1, 2, 2], "s": floats(1, 1, 2, 2)}, opset=9), ""),
}
"""Operators that are not registered at opset 17: their model, and why it is refused if it is."""


@pytest.mark.parametrize("op_type", OUTSIDE)
def test_what_opset_17_lacks_is_said_otherwise_or_refused(op_type: str) -> None:
    source, reason = OUTSIDE[op_type]
    if reason:
        with pytest.raises(UnsupportedOperatorError, match=reason):
            operated(source)
        return
    model = operated(source)[0]
    assert struck(model) == set()
    fed = feeds(source)
    np.testing.assert_allclose(run(model, fed)[0], run(source, fed)[0], 1e-6, 1e-6)
