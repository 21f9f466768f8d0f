"""Hostile files of every class: nothing executed, no traceback, no hang, one line, nothing left."""

from pathlib import Path

import pytest
from tests.hostile import (
    archives,
    folders,
    graphs,
    headers,
    parallel,
    pickles,
    places,
    programs,
    requests,
    tars,
)
from tests.hostile.case import Case
from tests.hostile.runner import Outcome, run_all

MODULES = (
    *(pickles, tars, archives, headers, folders, parallel, programs, graphs),
    *(requests, places),
)
CASES = [case for module in MODULES for case in module.cases()]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Outcome]]:
    """All of them at once, which takes seconds; each test looks at its own."""
    return run_all(CASES, tmp_path_factory.mktemp("hostile"))


def test_the_corpus_is_as_large_as_promised() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) >= 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused(case: Case, outcomes: dict[str, list[Outcome]]) -> None:
    for outcome in outcomes[case.name]:
        assert not outcome.events, outcome
        assert not outcome.changed, outcome
        assert not outcome.left, outcome
        assert outcome.memory < case.memory, outcome
        assert "Traceback" not in outcome.stdout + outcome.stderr, outcome
        if outcome.code == 0 and outcome.command.startswith("inspect"):
            assert outcome.errors == []
            continue
        assert outcome.code in case.codes, outcome
        assert outcome.stdout == "", outcome
        (line,) = outcome.errors
        check_line(line, case)


def check_line(line: str, case: Case) -> None:
    """One line that names the file and the reason, and nothing that a terminal would obey."""
    assert line.startswith("ascend-migrate: ")
    assert (case.culprit or Path(case.file).name) in line
    assert case.reason in line, line
    assert line.isprintable(), repr(line)
    assert len(line) < 1500, len(line)
    assert "MemoryError" not in line
    assert "unexpected" not in line
    for advice in ("weights_only=False", "allow_pickle=True"):
        assert advice not in line
