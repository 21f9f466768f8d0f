"""Runs the backend tests in crash-proof workers and writes the table (see `make conformance`).

python -P -m tests.conformance.run [--suite node] [--category core] [--match TEXT] [--write]
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

from tests.conformance.attempt import LEFT_OUT, REFUSED, Result, attempt
from tests.conformance.categories import EXCLUDED, category
from tests.conformance.page import page
from tests.conformance.suite import SUITES, Example, examples

from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.validators.mindspore_process import MindSporeProcess

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_FRESH_AFTER = 150
"""Graphs after which a worker's MindSpore is started anew: it never gives memory back."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tests asked for and prints what came of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", choices=SUITES, help="all, if it is left out")
    parser.add_argument("--category", default="")
    parser.add_argument("--match", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="replace the published results")
    asked = parser.parse_args(arguments)
    categories = {
        (suite, example.name): category(example)
        for suite in ([asked.suite] if asked.suite else SUITES)
        for example in examples(suite)
        if asked.match in example.name and asked.category in ("", category(example))
    }
    started = time.monotonic()
    tried = [name for name, kind in categories.items() if kind not in EXCLUDED]
    results = _parallel(tried, asked.workers)
    for result in results:
        if not result.passed:
            sys.stdout.write(f"{result.outcome:12} {result.name}: {result.note[:300]}\n")
    rows = {r.name: (categories[r.suite, r.name], r) for r in results}
    counted = Counter((kind, result.outcome) for kind, result in rows.values())
    for (kind, outcome), count in sorted(counted.items()):
        sys.stdout.write(f"{kind:18} {outcome:12} {count}\n")
    sys.stdout.write(f"{len(results)} tests in {time.monotonic() - started:.0f} s\n")
    if asked.write:
        rows |= {
            name: (kind, Result(suite, name, LEFT_OUT, EXCLUDED[kind]))
            for (suite, name), kind in categories.items()
            if kind in EXCLUDED
        }
        if len(rows) != len(categories):
            raise SystemExit("two tests of different suites have one name")
        table = {n: [r.suite, kind, r.outcome, r.note] for n, (kind, r) in rows.items()}
        RESULTS.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        PAGE.write_text(page(published(RESULTS)), encoding="utf-8")
    return 0


def published(path: Path) -> dict[str, tuple[str, Result]]:
    """Reads the results of the last whole run: category and result by test."""
    table = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: (kind, Result(suite, name, outcome, note))
        for name, (suite, kind, outcome, note) in table.items()
    }


def _parallel(names: Sequence[tuple[str, str]], workers: int) -> list[Result]:
    parts = [names[index::workers] for index in range(workers)]
    with get_context("spawn").Pool(workers) as pool:
        found = pool.map(_serial, parts)
    return sorted((r for part in found for r in part), key=lambda r: r.name)


def _serial(names: Sequence[tuple[str, str]]) -> list[Result]:
    suites = dict.fromkeys(suite for suite, _ in names)
    chosen = [e for suite in suites for e in examples(suite) if (suite, e.name) in names]
    return list(_attempts(chosen))


def _attempts(chosen: Sequence[Example]) -> Iterator[Result]:
    process: MindSporeProcess | None = None
    with tempfile.TemporaryDirectory() as scratch:
        for index, example in enumerate(chosen):
            if process is None:
                process = MindSporeProcess(Limits(timeout=60, threads=1))
            folder = Path(scratch) / str(index)
            folder.mkdir()
            result = attempt(example, folder, process)
            yield result
            crashed = result.outcome == REFUSED and "process" in result.note
            if crashed or index % _FRESH_AFTER == _FRESH_AFTER - 1:
                process.close()
                process = None
    if process is not None:
        process.close()


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except MigrationError as error:
        raise SystemExit(str(error)) from error
