"""Runs ONNX's backend tests through surgery and writes docs/cann.md (see `make cann`).

python -P -m tests.cann.run [--match TEXT] [--write]
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import onnx
from tests.cann.attempt import BROKEN, Attempt, attempt
from tests.cann.reread import strikes
from tests.conformance.suite import SUITES, examples

from ascend_migrate.pipeline.cann.generations import load_generation, versions
from ascend_migrate.validators.preflight.preflight import BLOCKING, examine

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "cann.md"
FAMILY = "Ascend910B"
_NEWEST = versions()[-1]
_WORKERS = 2


@dataclass(frozen=True)
class Row:
    """What came of one test; ``told`` are the rules of the preflight that strike after surgery."""

    suite: str
    outcome: str
    note: str
    rewritten: int
    told: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tests asked for and prints what came of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--match", default="")
    parser.add_argument("--write", action="store_true", help="replace the published results")
    asked = parser.parse_args(arguments)
    parts = [(index, asked.match) for index in range(_WORKERS)]
    with get_context("spawn").Pool(_WORKERS) as pool:
        rows = {name: row for part in pool.map(_part, parts) for name, row in part.items()}
    counted = Counter(row.outcome for row in rows.values())
    sys.stdout.write(f"{dict(sorted(counted.items()))}\n")
    for name, row in sorted(rows.items()):
        if row.outcome in ("wrong", "broken"):
            sys.stdout.write(f"{row.outcome} {name}: {row.note}\n")
    if asked.write:
        from tests.cann.page import page

        table = {n: [r.suite, r.outcome, r.note, r.rewritten, r.told] for n, r in rows.items()}
        RESULTS.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        PAGE.write_text(page(published()), encoding="utf-8")
    return 0


@cache
def published() -> dict[str, Row]:
    """Reads the results of the last whole run by the name of the test."""
    table = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {
        name: Row(suite, outcome, note, rewritten, tuple(told))
        for name, (suite, outcome, note, rewritten, told) in table.items()
    }


def told(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns the rules that would make a graph fail or change its numbers, as preflight does."""
    found = examine(model, load_generation(_NEWEST), FAMILY)
    return tuple(sorted({item.rule for item in found if item.effect in BLOCKING}))


def _part(asked: tuple[int, str]) -> dict[str, Row]:
    index, match = asked
    warnings.simplefilter("ignore")
    chosen = [e for suite in SUITES for e in examples(suite) if match in e.name]
    rows = {}
    for example in chosen[index::_WORKERS]:
        done = attempt(example)
        left = () if done.model is None else told(done.model)
        if done.model is not None and set(left) != (again := strikes(done.model, _NEWEST, FAMILY)):
            done = Attempt(BROKEN, f"the rules read anew tell of {sorted(again)}, not {left}")
        rows[example.name] = Row(example.suite, done.outcome, done.note, done.rewritten, left)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
