"""Asks the preflight of the architectures of the zoo and publishes it: ``make zoo-preflight``.

The results stand in preflight.json, from which docs/preflight-zoo.md is made.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.workers import renewed
from tests.zoo.preflight import CHIPS, Found, Result, attempt
from tests.zoo.preflight_page import outcome, page
from tests.zoo.table import ARCHITECTURES

RESULTS = Path(__file__).with_name("preflight.json")
PAGE = Path(__file__).resolve().parents[2] / "docs/preflight-zoo.md"


def main() -> None:
    """Takes all architectures, or those that are named, which then replace their old results."""
    renewed(__doc__, attempt, ARCHITECTURES, published, publish, _said)


def _said(name: str, result: Result) -> str:
    said = ", ".join(outcome(result, chip) for chip in CHIPS)
    return f"{result.seconds:6.1f} s  {name}: {said} {result.error}"


def publish(results: Mapping[str, Result]) -> None:
    """Writes the results, and the page that is made from them."""
    fields = {name: asdict(result) for name, result in results.items()}
    RESULTS.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def published() -> Mapping[str, Result]:
    """Returns the results that were written last, by architecture."""
    return {name: _read(data) for name, data in json.loads(RESULTS.read_text()).items()}


def _read(data: dict[str, Any]) -> Result:
    for moment in ("before", "after"):
        data[moment] = {
            chip: [Found(**item) for item in found] for chip, found in data[moment].items()
        }
    return Result(**data)


if __name__ == "__main__":
    main()
