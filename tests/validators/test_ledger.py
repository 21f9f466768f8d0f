"""The ledger sees what outputs do not: every wrong, missing, swapped or damaged weight."""

import numpy as np
import pytest

from ascend_migrate.pipeline.records import Form, Outcome
from ascend_migrate.validators.ledger import Stored, Weight, check_equal, check_ledger

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = A + 10
STEPS = np.array([3], np.int64)
SOURCE = {
    "a": Weight.of("float32", A, used=True),
    "b": Weight.of("float32", B, used=True),
    "steps": Weight.of("int64", STEPS, used=True),
    "spare": Weight.of("float32", A * 2, used=False),
}
WHOLE = [
    Stored("a", "float32", A),
    Stored("b", "float32", B),
    Stored("steps", "int64", STEPS),
    Stored("spare", "float32", A * 2),
]


def bad(stored: list[Stored], source: dict[str, Weight] = SOURCE) -> list[tuple[str, str]]:
    found = check_ledger(Form.ONNX, source, stored)
    return [(f.check, f.subject) for f in found if f.outcome is not Outcome.PASS]


def without(*names: str) -> list[Stored]:
    return [item for item in WHOLE if item.name not in names]


def test_a_whole_artifact_passes_with_one_finding_each() -> None:
    found = check_ledger(Form.ONNX, SOURCE, WHOLE)
    assert [(f.check, f.outcome) for f in found] == [
        ("weights.ledger", Outcome.PASS),
        ("weights.finite", Outcome.PASS),
    ]
    assert found[0].note == "4 of 4 tensors bit-equal"


def test_an_unread_tensor_and_a_computed_integer_may_be_missing() -> None:
    found = check_ledger(Form.ONNX, SOURCE, without("spare", "steps"))
    assert found[0].outcome is Outcome.PASS
    assert "1 that the original never reads" in found[0].note
    assert "steps" in found[0].note


def test_a_renamed_or_reshaped_tensor_is_found_by_its_bytes() -> None:
    renamed = [*without("b"), Stored("other", "float32", B.reshape(3, 2))]
    assert bad(renamed) == []


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (without("b"), ["b"]),
        ([*without("b"), Stored("b", "float32", B + 1)], ["b"]),
        ([*without("b"), Stored("b", "float16", B.astype(np.float16))], ["b"]),
        ([*without("a", "b"), Stored("a", "float32", B), Stored("b", "float32", A)], ["a", "b"]),
        ([*without("steps"), Stored("steps", "int64", STEPS + 1)], ["steps"]),
        ([*without("spare"), Stored("spare", "float32", A)], ["spare"]),
    ],
    ids=["missing", "changed", "cast", "swapped", "integer", "unread but changed"],
)
def test_what_is_wrong_is_named(stored: list[Stored], names: list[str]) -> None:
    assert bad(stored) == [("weights.ledger", name) for name in names]


def test_nan_in_either_fails_though_the_bytes_are_equal() -> None:
    broken = A.copy()
    broken[0, 0] = np.nan
    source = SOURCE | {"a": Weight.of("float32", broken, used=True)}
    stored = [*without("a"), Stored("a", "float32", broken)]
    assert bad(stored, source) == [("weights.finite", "a")]
    # An extra tensor of the artifact alone counts as well.
    assert bad([*WHOLE, Stored("extra", "float32", broken)]) == [("weights.finite", "extra")]


def test_nothing_compared_is_no_pass() -> None:
    assert bad([], {}) == [("weights.ledger", "all weights")]


def test_equal_wants_names_types_sizes_and_no_more() -> None:
    def faults(stored: list[Stored]) -> set[str]:
        found = check_equal(Form.SAFETENSORS, SOURCE, stored)
        return {f.subject for f in found if f.outcome is not Outcome.PASS}

    assert faults(WHOLE) == set()
    assert faults(without("spare")) == {"spare"}
    assert faults([*WHOLE, Stored("more", "float32", A)]) == {"more"}
    assert faults([*without("a"), Stored("a", "float32", A.reshape(3, 2))]) == {"a"}
    assert faults([*without("a"), Stored("a", "float32", -A)]) == {"a"}
