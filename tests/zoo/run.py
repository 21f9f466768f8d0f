"""Migrates the architectures of the table and publishes what they came to: ``make zoo-page``.

The results stand in results.json, from which docs/zoo.md is made.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.workers import renewed
from tests.zoo.attempt import Result, attempt
from tests.zoo.page import page
from tests.zoo.table import ARCHITECTURES

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[2] / "docs/zoo.md"


def main() -> None:
    """Runs all architectures, or those that are named, which then replace their old results."""
    renewed(__doc__, migrated, ARCHITECTURES, published, publish, _said)


def _said(name: str, result: Result) -> str:
    return f"{result.outcome:8}{result.seconds:6.1f} s  {name} {result.note}"


def publish(results: Mapping[str, Result]) -> None:
    """Writes the results, and the page that is made from them."""
    fields = {name: result.to_json() for name, result in results.items()}
    RESULTS.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def migrated(name: str) -> Result:
    """Migrates one architecture in a folder of its own, which does not stay."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        return attempt(name, ARCHITECTURES[name], Path(folder))


def published() -> Mapping[str, Result]:
    """Returns the results that were written last, by architecture."""
    return {name: Result(**data) for name, data in json.loads(RESULTS.read_text()).items()}


if __name__ == "__main__":
    main()
