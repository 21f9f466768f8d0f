"""Migrates the architectures of the table and publishes what they came to: ``make zoo-page``.

The results stand in results.json, from which docs/zoo.md is made.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.workers import each
from tests.zoo.attempt import Result, attempt
from tests.zoo.page import page
from tests.zoo.table import ARCHITECTURES

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[2] / "docs/zoo.md"


def main() -> None:
    """Runs all architectures, or those that are named, which then replace their old results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures; all of them by default")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    results = dict(published()) if asked.names else {}
    for name, result in each(migrated, asked.names or list(ARCHITECTURES), asked.workers):
        sys.stdout.write(f"{result.outcome:8}{result.seconds:6.1f} s  {name} {result.note}\n")
        sys.stdout.flush()
        results[name] = result
        publish({name: results[name] for name in ARCHITECTURES if name in results})


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
