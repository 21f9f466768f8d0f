"""The published rates; the whole run is `make power`."""

import pytest
from tests.power.results import Result, rows_of, total
from tests.power.run import PAGE, faults_of, measured, published, whole_page
from tests.power.subjects import SUBJECTS
from tests.power.trials import GRAPH, WEIGHTS

from ascend_migrate.validators.power.faults_graph import KINDS as IN_GRAPH
from ascend_migrate.validators.power.faults_weights import KINDS as IN_WEIGHTS
from ascend_migrate.validators.power.faults_weights import SWAPPED


def test_every_model_has_a_published_result_and_the_bars_are_reached() -> None:
    assert list(published()) == list(SUBJECTS)
    assert list(faults_of(published())) == []


def test_every_kind_of_fault_was_planted() -> None:
    rows = [*rows_of(published().values())]
    assert {row.kind for row in rows if row.group == WEIGHTS} == {*IN_WEIGHTS, SWAPPED}
    assert {row.kind for row in rows if row.group == GRAPH} == set(IN_GRAPH)


def test_the_ledger_alone_sees_every_fault_in_a_weight() -> None:
    found = total(row for row in rows_of(published().values()) if row.group == WEIGHTS)
    assert found.ledger == found.above


def test_every_fault_that_is_not_seen_is_listed_with_its_reason() -> None:
    for result in published().values():
        counts = total(result.rows)
        above = [item for item in result.unseen if item.above]
        assert len(above) == counts.above - counts.outputs
        assert len(result.unseen) - len(above) == counts.planted - counts.above
        assert all(item.reason for item in result.unseen)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == whole_page(published())


@pytest.mark.power
def test_a_whole_model() -> None:
    result = measured("recurrent")
    counts = total(result.rows)
    assert counts.fail >= 0.99 * counts.above > 100
    assert Result.from_json(result.to_json()) == result
