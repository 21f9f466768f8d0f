"""Measures the converter on BERT-base and on a model above 2 GiB (see `make bench`).

python -P -m tests.bench.run [--only bert|large]

Exits with 1 where a figure is over its bar.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.processes import Cost, step

MIB = 1 << 20

WALL, RESIDENT = 60.0, 3.0
"""For BERT-base from ONNX to a MindIR file: seconds, and peak memory as a multiple of the
weights, mapped files included."""

PRIVATE = 2.0
"""For any model: weights are not held more than twice."""

LAYERS = 12
COUNT, SIZE = 36, 4096  # 2.25 GiB of float32 weights
ERROR = math.sqrt(COUNT * SIZE) * 2.0**-24
"""Of the large model's answer: one rounding of float32 for each of the terms that follow one
another, added up as chance adds them."""


@dataclass
class Table:
    """The figures as they come, and whether all of them are within their bars."""

    weights: int = 0
    faults: list[str] = field(default_factory=list)

    def head(self, title: str) -> None:
        """Begins a model."""
        say(f"\n{title}\n")
        say(f"{'step':34}{'wall s':>8}{'CPU s':>8}{'peak MiB':>10}{'private':>9}{'x weights':>16}")

    def row(
        self, name: str, cost: Cost, *, wall: float = math.inf, resident: float = math.inf,
        private: float = math.inf, share: float = math.inf,
    ) -> None:  # fmt: skip
        """Adds a step; the last four are its bars, memory in multiples of the weights."""
        shares = cost.rss / self.weights, cost.anon / self.weights
        say(
            f"{name:34}{cost.wall:8.1f}{cost.cpu:8.1f}{cost.rss / MIB:10.0f}"
            f"{cost.anon / MIB:9.0f}{shares[0]:8.2f}{shares[1]:8.2f}"
        )
        self.check(f"{name}: seconds", cost.wall, wall)
        self.check(f"{name}: peak memory in multiples of the weights", shares[0], resident)
        self.check(f"{name}: private memory in multiples of the weights", shares[1], private)
        once = cost.pss / self.weights
        self.check(f"{name}: memory, each page once, in multiples of the weights", once, share)

    def check(self, what: str, found: float, bar: float) -> None:
        """Compares a figure with its bar."""
        if math.isinf(bar):
            return
        over = not found < bar
        say(f"    {'OVER' if over else 'ok':6}{what}: {found:.3g}, the bar is {bar:.3g}")
        if over:
            self.faults.append(what)


def bert(folder: Path, table: Table) -> None:
    """From a checkpoint of BERT-base to a verdict on both graphs."""
    where, layers = str(folder), str(LAYERS)
    made = step("make_bert", where, layers)
    parameters, table.weights = map(int, made.output.split())
    table.head(f"BERT-base: {parameters / 1e6:.0f} M parameters, {table.weights / MIB:.0f} MiB")
    table.row("torch -> ONNX + safetensors", step("export", where, layers))
    onnx = str(folder / "onnx/model.onnx")
    cost = step("convert", onnx, str(folder / "mindir"), "")
    table.row("ONNX -> MindIR", cost, wall=WALL, resident=RESIDENT)
    capture = step("capture", where, layers)
    table.row("capture (original, all cases)", capture)
    judged = {form: step("judge", form, where) for form in ("onnx", "mindir")}
    for form, cost in judged.items():
        table.row(f"judge {form}: {json.loads(cost.output)['outcome']}", cost)
    runs = json.loads(step("runs", where, layers).output)
    single, double = runs["seconds"]
    say(
        f"    one run of the original on all {runs['cases']} cases: {single:.1f} s of CPU in "
        f"float32, {double:.1f} s in float64"
    )
    for form, cost in judged.items():
        spent = json.loads(cost.output)["seconds"]
        say(
            f"    judging {form}, two runs on each: {spent:.1f} s of CPU; three runs in float32 "
            f"and one in float64: {3 * single + double:.1f} s (for information)"
        )


def large(folder: Path, table: Table) -> None:
    """A model above what one protobuf message holds: converted, loaded, run, and right."""
    table.weights = COUNT * SIZE * SIZE * 4
    shape = str(COUNT), str(SIZE)
    table.head(f"{COUNT} products of {SIZE} x {SIZE}: {table.weights / MIB:.0f} MiB of weights")
    table.row("write the ONNX file", step("make_matmuls", str(folder), *shape))
    cost = step("convert", str(folder / "model.onnx"), str(folder / "mindir"), "")
    table.row("ONNX -> MindIR, split form", cost, private=PRIVATE)
    mindir = str(folder / "mindir/model.mindir")
    run = step("run_matmuls", mindir, str(folder), *shape)
    table.row("load and run in MindSpore", run)
    table.check("relative error of the answer", float(run.output), ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=sorted(PARTS))
    asked = parser.parse_args(arguments)
    table = Table()
    for name, part in PARTS.items():
        if asked.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="ascend-migrate-bench-") as folder:
                part(Path(folder), table)
    for fault in table.faults:
        say(f"over the bar: {fault}")
    return 1 if table.faults else 0


PARTS = {"bert": bert, "large": large}


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
