"""What the answers of an artifact say, case by case and call by call."""

from collections.abc import Mapping

import numpy as np
import pytest

from ascend_migrate.pipeline.records import Form, Outcome
from ascend_migrate.validators.calls import findings
from ascend_migrate.validators.golden import Golden, Recorded
from ascend_migrate.validators.original import Outputs

RNG = np.random.default_rng(0)


def case(name: str, rows: int, state: float = 0.0) -> Recorded:
    exact = {"y": RNG.standard_normal((rows, 6)), "z": RNG.standard_normal(rows)}
    own = {n: a.astype(np.float32) for n, a in exact.items()}
    again = {n: a + np.float32(state) for n, a in own.items()}
    return Recorded(name, {"x": np.zeros(rows, np.float32)}, own, again, exact)


def golden(*cases: Recorded) -> Golden:
    return Golden("source", "digest", cases, {}, {}, "")


TRUTH = golden(case("a", 2), case("b", 2), case("c", 3))
RIGHT: list[Outputs] = [c.own for c in TRUTH.cases]


def bad(
    first: list[Outputs | str], second: list[Outputs | str] | None = None, truth: Golden = TRUTH
) -> dict[str, str]:
    found = findings(Form.MINDIR, truth, first, first if second is None else second)
    return {f"{f.check} {f.subject}": f.note for f in found if f.outcome is not Outcome.PASS}


def changed(index: int, **outputs: np.ndarray) -> list[Outputs | str]:
    found: list[Outputs | str] = [dict(o) for o in RIGHT]
    old = found[index]
    assert isinstance(old, dict)
    old.update(outputs)
    return found


def test_right_answers_pass_every_check() -> None:
    found = findings(Form.MINDIR, TRUTH, RIGHT, RIGHT)
    assert {f.check for f in found} == {
        "outputs.present",
        "outputs.close",
        "outputs.peak",
        "outputs.decisions",
        "calls.repeatable",
        "outputs.vary",
    }
    assert all(f.outcome is Outcome.PASS for f in found)


def test_missing_and_extra_outputs_fail() -> None:
    lacking: list[Outputs | str] = [{"y": o["y"]} for o in RIGHT]
    assert "lacks" in str(bad(lacking)) or "no such output" in str(bad(lacking))
    assert list(bad(lacking)) == ["outputs.present z"]
    assert list(bad(changed(0, more=np.zeros(1)))) == ["outputs.present more"]


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (
            {"y": np.zeros((3, 6), np.float32)},
            "has the sizes [3, 6], the original's [2, 6]",
        ),
        ({"y": np.zeros((2, 6), np.float16)}, "is float16, the original's float32"),
        ({"y": np.zeros((2, 6), np.int64)}, "is int64, the original's float32"),
    ],
)
def test_other_sizes_and_types_fail(outputs: Mapping[str, np.ndarray], said: str) -> None:
    assert bad(changed(1, **outputs)) == {"outputs.present y": f"case b: {said}"}


def test_one_refused_case_is_a_fault_of_the_artifact() -> None:
    answers: list[Outputs | str] = [*RIGHT[:2], "Reshape needs 4 elements"]
    ((where, note),) = bad(answers).items()
    assert where == "outputs.present case c"
    assert "which the original does: Reshape needs 4 elements" in note


def test_an_artifact_that_answers_differently_later_fails() -> None:
    later: list[Outputs | str] = [{n: a + np.float32(0.01) for n, a in o.items()} for o in RIGHT]
    found = bad(list(RIGHT), later)
    assert set(found) == {"calls.repeatable y", "calls.repeatable z"}
    assert found["calls.repeatable y"].startswith("the artifact answers case a differently")


def test_an_original_that_answers_differently_later_fails() -> None:
    truth = golden(case("a", 2, state=1.0), case("b", 2))
    found = bad([c.own for c in truth.cases], truth=truth)
    assert set(found) == {"calls.repeatable y", "calls.repeatable z"}
    assert found["calls.repeatable y"].startswith("the original answers case a differently")


def test_rounding_between_two_calls_is_no_state() -> None:
    later: list[Outputs | str] = [
        {n: np.nextafter(a, np.float32(9)) for n, a in o.items()} for o in RIGHT
    ]
    assert bad(list(RIGHT), later) == {}


def test_outputs_that_never_change_prove_nothing() -> None:
    same = case("a", 2)
    truth = golden(same, same)
    assert set(bad([c.own for c in truth.cases], truth=truth)) == {"outputs.vary all outputs"}
    lone = golden(same)
    assert "only one case" in bad([same.own], truth=lone)["outputs.vary all outputs"]


def test_nan_that_appears_later_fails() -> None:
    later: list[Outputs | str] = [dict(o) for o in RIGHT]
    last = later[2]
    assert isinstance(last, dict)
    last["z"] = np.full_like(last["z"], np.nan)
    assert set(bad(list(RIGHT), later)) == {"calls.repeatable z"}
