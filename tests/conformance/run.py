"""Runs the backend tests in crash-proof workers and writes the table (see `make conformance`).

python -P -m tests.conformance.run [--suite node] [--match TEXT] [--workers 2] [--write]
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

from tests.conformance.attempt import REFUSED, Result, attempt
from tests.conformance.categories import EXCLUDED, category
from tests.conformance.page import page
from tests.conformance.suite import Example, examples

from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.validators.mindspore_process import MindSporeProcess

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_FRESH_AFTER = 150
"""Graphs after which a worker's MindSpore is started anew: it never gives memory back."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tests asked for and prints what came of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", default="node")
    parser.add_argument("--category", default="")
    parser.add_argument("--match", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="replace results.json")
    asked = parser.parse_args(arguments)
    wanted = [
        (asked.suite, e.name, category(e))
        for e in examples(asked.suite)
        if asked.match in e.name and category(e) not in EXCLUDED
    ]
    wanted = [item for item in wanted if asked.category in ("", item[2])]
    started = time.monotonic()
    results = _parallel(asked.suite, [name for _, name, _ in wanted], asked.workers)
    categories = {name: kind for _, name, kind in wanted}
    for result in results:
        if not result.passed:
            sys.stdout.write(f"{result.outcome:12} {result.name}: {result.note[:300]}\n")
    counted = Counter((categories[r.name], r.outcome) for r in results)
    for (kind, outcome), count in sorted(counted.items()):
        sys.stdout.write(f"{kind:10} {outcome:12} {count}\n")
    sys.stdout.write(f"{len(results)} tests in {time.monotonic() - started:.0f} s\n")
    if asked.write:
        table = {r.name: [categories[r.name], r.outcome, r.note] for r in results}
        RESULTS.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        PAGE.write_text(page(published(RESULTS)), encoding="utf-8")
    return 0


def published(path: Path) -> dict[str, tuple[str, Result]]:
    """Reads the results of the last whole run: category and result by test."""
    table = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: (kind, Result(name, outcome, note)) for name, (kind, outcome, note) in table.items()
    }


def _parallel(suite: str, names: Sequence[str], workers: int) -> list[Result]:
    parts = [names[index::workers] for index in range(workers)]
    with get_context("spawn").Pool(workers) as pool:
        found = pool.starmap(_serial, [(suite, part) for part in parts])
    return sorted((r for part in found for r in part), key=lambda r: r.name)


def _serial(suite: str, names: Sequence[str]) -> list[Result]:
    wanted = set(names)
    chosen = [e for e in examples(suite) if e.name in wanted]
    return list(_attempts(chosen))


def _attempts(chosen: Sequence[Example]) -> Iterator[Result]:
    process: MindSporeProcess | None = None
    with tempfile.TemporaryDirectory() as scratch:
        for index, example in enumerate(chosen):
            if process is None:
                process = MindSporeProcess(timeout=60, threads=1)
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
