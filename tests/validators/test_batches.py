"""A row of a batch is what it is alone, asked of the artifact and of the original."""

from collections.abc import Callable

import numpy as np
from tests.validators.toys import specs

from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.batches import check_batch, pairs_of
from ascend_migrate.validators.cases import Feeds, make_cases
from ascend_migrate.validators.golden import Golden, Recorded
from ascend_migrate.validators.original import Outputs

Model = Callable[[Feeds], np.ndarray]
ROWS = specs("x=float32[batch=1..4,time=2..6]", "state=float32[2,batch]", "table=float32[3]")
LIMIT = 1e-5


def rows(feeds: Feeds) -> np.ndarray:
    """Of the sizes (batch, 3): rows that do not know of each other."""
    found: np.ndarray = feeds["x"].sum(1, keepdims=True) + feeds["table"]
    found += feeds["state"].sum(0)[:, None]
    return found


def mixed(feeds: Feeds) -> np.ndarray:
    """Less the mean over the batch."""
    found: np.ndarray = rows(feeds) - rows(feeds).mean(0)
    return found


def judged(original: Model, artifact: Model, *texts: str) -> Finding | None:
    def outputs(model: Model, feeds: Feeds, dtype: str) -> Outputs:
        return {"y": model({n: a.astype(np.float64) for n, a in feeds.items()}).astype(dtype)}

    cases = []
    for case in make_cases(specs(*texts) if texts else ROWS, seed=0, count=2):
        own = outputs(original, case.feeds, "f4")
        exact = outputs(original, case.feeds, "f8")
        cases.append(Recorded(case.name, case.feeds, own, own, exact))
    truth = Golden("source", "digest", tuple(cases), {}, {}, "")
    found = [outputs(artifact, case.feeds, "f4") for case in cases]
    findings = check_batch(Form.ONNX, "y", truth, found, [LIMIT] * len(cases), pairs_of(cases))
    return findings[0] if findings else None


def test_rows_that_do_not_know_of_each_other_pass() -> None:
    found = judged(rows, rows)
    assert found is not None
    assert found.outcome is Outcome.PASS
    assert (
        found.note == "row 3 of case longest batch=4 time=6 is answered as when it is asked alone"
    )


def test_an_artifact_whose_rows_leak_fails() -> None:
    found = judged(rows, mixed)
    assert found is not None
    assert found.outcome is Outcome.FAIL
    assert found.measured is not None
    assert not found.measured <= LIMIT


def test_an_artifact_that_is_nan_alone_fails() -> None:
    found = judged(rows, lambda feeds: rows(feeds) * (np.nan if len(feeds["x"]) == 1 else 1))
    assert found is not None
    assert found.outcome is Outcome.FAIL


def test_an_original_whose_rows_leak_is_said() -> None:
    found = judged(mixed, mixed)
    assert found is not None
    assert (found.outcome, found.measured) == (Outcome.PASS, None)
    assert "the original itself answers row 3 of case longest" in found.note


def test_nothing_is_said_of_an_output_without_rows() -> None:
    assert judged(lambda f: rows(f).sum(0), lambda f: rows(f).sum(0)) is None
    assert judged(lambda f: rows(f).reshape(-1), lambda f: rows(f).reshape(-1)) is None


def test_nothing_is_said_where_no_row_is_fed_alone() -> None:
    texts = ("x=float32[batch=2..4,5]", "state=float32[2,batch]", "table=float32[3]")
    assert judged(rows, mixed, *texts) is None
