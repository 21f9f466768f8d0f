"""Judges correct conversions of all models, of which none may be refused; part of ``make power``.

The results stand in alarms.json, from which a section of docs/power.md is made.
"""

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.power.conversions import NAMES, Conversion, Source, conversions, source
from tests.power.peers import RULES, caught
from tests.workers import bars, renewed, write, written

from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators import calls, onnx_runner
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import Golden, capture, read_golden
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.torch_original import TorchOriginal

RESULTS = Path(__file__).with_name("alarms.json")

LEAST = 300
CASE_SEEDS = (0, 1)
CASES = 8
"""Random cases beside the structured ones: the product's default."""

_SERVED = tuple((optimised, threads) for optimised in (True, False) for threads in (1, 2))
"""With and without onnxruntime's graph optimisation; threads for one operator."""


@dataclass
class Tally:
    """What came of the conversions of one model.

    Attributes:
        judged: how many verdicts.
        alarms: one line for each that is not PASS.
        peers: how many each peer's rule refuses.
        seconds: that it took.
    """

    judged: int = 0
    alarms: list[str] = field(default_factory=list)
    peers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    seconds: float = 0.0

    def add(self, said: str, findings: Iterable[Finding]) -> None:
        """Counts one verdict."""
        self.judged += 1
        self.alarms += [
            f"{said}: {f.check} on {f.subject}: {f.measured} of {f.allowed}: {f.note}"
            for f in findings
            if f.outcome is not Outcome.PASS
        ]


def main() -> int:
    """Runs all models, or those that are named, which then replace their old results."""
    return bars(faults_of(renewed(__doc__, measured, NAMES, published, publish, _said)))


def _said(name: str, tally: Tally) -> str:
    line = f"{tally.seconds:6.1f} s  {name}: {len(tally.alarms)} alarms, {tally.judged} judged"
    return "\n  ".join([line, *tally.alarms])


def publish(results: Mapping[str, Tally]) -> None:
    """Writes the results."""
    write(RESULTS, results)


def published() -> Mapping[str, Tally]:
    """Returns the results that were written last, by model; nothing where there are none."""
    return written(RESULTS, Tally)


def faults_of(results: Mapping[str, Tally]) -> Iterator[str]:
    """Yields the bars that the results do not reach."""
    judged = sum(tally.judged for tally in results.values())
    alarms = sum(len(tally.alarms) for tally in results.values())
    if not judged >= LEAST:
        yield f"{judged} correct conversions; at least {LEAST}"
    if alarms:
        yield f"{alarms} false alarms; none is allowed"


def section(results: Mapping[str, Tally]) -> str:
    """Returns the results as a section of docs/power.md."""
    judged = sum(tally.judged for tally in results.values())
    rows = {"this project": sum(len(tally.alarms) for tally in results.values())}
    rows |= {rule: sum(tally.peers[rule] for tally in results.values()) for rule in RULES}
    table = "".join(f"| {who} | {count} |\n" for who, count in rows.items())
    return (
        f"## False alarms\n\n{judged} correct conversions of {len(results)} models: of two sizes "
        "and two sets of weights each where they are ours, at opset 17 and 18, some in float16 and "
        "bfloat16, ONNX with and without onnxruntime's graph optimisation and with 1 and 2 "
        "threads, some as MindIR, all on inputs of two seeds. Of them were refused:\n\n"
        f"| rule | false alarms |\n| --- | --- |\n{table}"
    )


def measured(name: str) -> Tally:
    """Judges the conversions of one model, in a folder that does not stay."""
    began = time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="alarms-") as folder:
        given = source(name, Path(folder))
        truths: dict[tuple[str, int], Path] = {}
        for made in conversions(name, given, Path(folder)):
            for seed in CASE_SEEDS:
                key = (str(made.precision), seed)
                if key not in truths:
                    truths[key] = Path(folder) / f"golden-{len(truths)}"
                    _record(given, made, seed, truths[key])
                _judge(f"{made.said}, inputs {seed}", given, made, truths[key], tally)
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def _record(given: Source, made: Conversion, seed: int, path: Path) -> None:
    original = TorchOriginal(given.build, given.checkpoint)
    cases = make_cases(given.inputs, seed=seed, count=CASES)
    capture(original, cases, path, source=given.checkpoint.digest, precision=made.precision)


def _judge(said: str, given: Source, made: Conversion, golden: Path, tally: Tally) -> None:
    """Judges it as the product does, then as onnxruntime may be set to run it."""
    verdict = judge(
        [made.artifact],
        golden,
        source_digest=given.checkpoint.digest,
        source_weights=given.checkpoint,
        source_tensor=given.checkpoint.read,
    )
    tally.add(said, verdict.findings)
    if made.artifact.form is not Form.ONNX:
        return
    truth = read_golden(golden)
    for optimised, threads in _SERVED:
        answers = _answers(made.artifact.path, truth, optimised=optimised, threads=threads)
        how = f"{said}, {'' if optimised else 'not '}optimised, {threads} threads"
        tally.add(how, calls.findings(Form.ONNX, truth, answers, answers))
        for rule in RULES:
            tally.peers[rule] += caught(RULES[rule], truth, answers)


def _answers(path: Path, truth: Golden, *, optimised: bool, threads: int) -> list[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(str(path), options, providers=[onnx_runner.PROVIDER])
    return [onnx_runner.run(session, case.feeds, str(path)) for case in truth.cases]


if __name__ == "__main__":
    sys.exit(main())
