"""Plants faults in all models, judges every one, and publishes the rates: ``make power``.

The results stand in results.json, from which docs/power.md is made.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.power import false_alarms, located
from tests.power.page import page
from tests.power.results import Result, rows_of, total
from tests.power.subjects import SUBJECTS
from tests.power.trials import plant
from tests.workers import bars, renewed

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[2] / "docs/power.md"

LEAST_PLANTED = 2000
LEAST_FAIL = 0.995
LEAST_OUTPUTS = 0.97


def main() -> int:
    """Runs all models, or those that are named, which then replace their old results."""
    return bars(faults_of(renewed(__doc__, measured, SUBJECTS, published, publish, _said)))


def _said(name: str, result: Result) -> str:
    counts = total(result.rows)
    line = f"{result.seconds:6.1f} s  {name}: {counts.fail} of {counts.above} FAIL"
    return f"{line}, {counts.outputs} by outputs alone"


def faults_of(results: Mapping[str, Result]) -> Iterator[str]:
    """Yields the bars that the results do not reach."""
    counts = total(rows_of(results.values()))
    if not counts.above >= LEAST_PLANTED:
        yield f"{counts.above} faults above the noise floor; at least {LEAST_PLANTED}"
    if not counts.fail >= LEAST_FAIL * counts.above:
        yield f"{counts.fail} of {counts.above} end in FAIL; at least {LEAST_FAIL:.1%}"
    if not counts.outputs >= LEAST_OUTPUTS * counts.above:
        yield f"outputs alone see {counts.outputs} of {counts.above}; at least {LEAST_OUTPUTS:.1%}"


def publish(results: Mapping[str, Result]) -> None:
    """Writes the results, and the page that is made from them."""
    fields = {name: result.to_json() for name, result in results.items()}
    RESULTS.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(whole_page(results), encoding="utf-8")


def whole_page(results: Mapping[str, Result]) -> str:
    """Returns the page, with what the last runs of the other measurements came to."""
    alarms, places = false_alarms.published(), located.published()
    sections = [false_alarms.section(alarms)] if alarms else []
    return page(results, (*sections, *([located.section(places)] if places else [])))


def published() -> Mapping[str, Result]:
    """Returns the results that were written last, by model."""
    data = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {name: Result.from_json(fields) for name, fields in data.items()}


def measured(name: str) -> Result:
    """Plants faults in one model, in a folder that does not stay."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="power-") as folder:
        planted = plant(name, Path(folder))
    return Result.of(planted, round(time.monotonic() - began, 1))


if __name__ == "__main__":
    sys.exit(main())
