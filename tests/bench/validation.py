"""What a verdict costs, against bars: ``make bench-validation``.

python -P -m tests.bench.validation [--only small|medium|memory] [--folder FOLDER]

small: a BERT of 4 layers of 128, from the checkpoint to the report: processor time after imports,
    and that of the judgement beside plain runs of the original.
medium: BERT-base, of 418 MiB: that of the judgement beside plain runs of the original.
memory: a decoder of 2 GiB is captured and judged as ONNX: peak memory by the size of the weights.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.processes import Cost
from tests.bench.processes import step as measured
from tests.bench.run import Table, say

SMALL_SECONDS = 10.0
"""Processor time for the small BERT, after imports: export, all cases, ledger and report."""

RUNS = 3.0
"""Wall time of a judgement: so many float32 runs of the original on all cases, and one in
float64."""

MEMORY = 1.3
"""Peak of the memory that all processes take while a large model is validated, mapped files
included, a page that several share being counted once; a multiple of the weights."""


def step(name: str, folder: Path) -> Cost:
    """Runs a step in the folder."""
    return measured(name, str(folder), module="tests.bench.validation_steps")


def small(folder: Path, table: Table) -> None:
    """The small BERT, twice: as a whole, and the judgement beside the original alone."""
    spent = _judged("small", folder, table)
    table.check(
        "small BERT: CPU seconds after imports", sum(spent["seconds"].values()), SMALL_SECONDS
    )


def medium(folder: Path, table: Table) -> None:
    """BERT-base: the judgement beside the original alone."""
    _judged("medium", folder, table)


def _judged(size: str, folder: Path, table: Table) -> dict[str, Any]:
    spent: dict[str, Any] = json.loads(step(f"{size}_bert", folder).output)
    say(f"\n{size} BERT: {spent['outcome']}, {spent['cases']} cases")
    for name, seconds in spent["seconds"].items():
        say(f"    {name:10}{seconds:6.2f} s of CPU")
    runs = json.loads(step(f"{size}_runs", folder).output)
    single, double = runs["seconds"]
    plain = RUNS * single + double
    say(f"    the original on all cases: {single:.2f} s in float32, {double:.2f} s in float64")
    table.check(f"{size} BERT: judging ONNX by plain runs", spent["wall"]["onnx"] / plain, 1.0)
    return spent


def memory(folder: Path, table: Table) -> None:
    """The decoder, captured and judged."""
    shutil.copy(Path(__file__).with_name("decoder.py"), folder)
    table.weights = int(step("make_decoder", folder).output)
    table.head(f"decoder: {table.weights / 2**20:.0f} MiB of weights")
    table.row("export", step("export_decoder", folder))
    table.row("capture", step("capture_decoder", folder), share=MEMORY)
    judged = step("judge_decoder", folder)
    table.row(f"judge onnx: {judged.output}", judged, share=MEMORY)


PARTS = {"small": small, "medium": medium, "memory": memory}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for; 1 where a figure is over its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args(arguments)
    table = Table()
    for name, part in PARTS.items():
        if asked.only in (None, name):
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                part(Path(folder), table)
    for fault in table.faults:
        say(f"over the bar: {fault}")
    return 1 if table.faults else 0


if __name__ == "__main__":
    sys.exit(main())
