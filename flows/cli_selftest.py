"""The command that judges the judge: would it have seen a fault in this artifact?"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode

if TYPE_CHECKING:
    from ascend_migrate.validators.power.selftest import Selftest, Trial

_SHOWN = 20
"""Weights and faults listed on the terminal; --json has all."""


@click.command()
@click.argument("artifact", type=shared.existing)
@shared.judged_against
@click.option(
    "--faults",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Faults to plant, at least one in each weight.",
)
@shared.as_json
def selftest(artifact: Path, against: Path, faults: int, json_: bool) -> int:
    """Plant faults in an artifact, and show which are seen.

    Exit code 1: one would have passed that changes the outputs by more than is allowed.
    """
    from ascend_migrate.flows import selftest as flow

    spec = shared.against(against)
    with shared.progress() as show:
        done = flow.selftest(artifact, spec, faults, show)
    shared.print_result(document(done), "\n".join(lines(done)), json_=json_)
    return ExitCode.REFUSED if done.failures or done.missed else ExitCode.OK


def document(done: "Selftest") -> dict[str, Any]:
    """Returns everything as JSON-ready data."""
    return {
        "failures": [finding.to_json() for finding in done.failures],
        "planted": len(done.trials),
        "missed": len(done.missed),
        "not_exercised": list(done.not_exercised),
        "faults": [trial.to_json() for trial in done.trials],
    }


def lines(done: "Selftest") -> Iterator[str]:
    """Yields what people read: counts by kind, weak spots by weight, and every miss."""
    if done.failures:
        yield "FAIL: the artifact does not pass without any fault; see `ascend-migrate validate`"
        yield from (f"  {f.check} {f.subject}: {f.note}" for f in done.failures[:_SHOWN])
        return
    word = "FAIL" if done.missed else "PASS"
    yield f"{word}: of {len(done.trials)} planted faults {len(done.missed)} wrongly pass"
    yield ""
    yield _table("fault", {trial.kind: _of(done, kind=trial.kind) for trial in done.trials})
    weights = {t.place: _of(done, place=t.place) for t in done.trials if t.weight}
    weak = {name: found for name, found in weights.items() if not all(t.outputs for t in found)}
    if weak and any(trial.outputs is not None for trial in done.trials):
        yield ""
        strong = len(weights) - len(weak)
        yield f"{strong} of {len(weights)} weights show every fault in the outputs; the others:"
        yield _table("weight", dict(list(weak.items())[:_SHOWN]))
        yield from _more(len(weak))
    if done.not_exercised:
        yield ""
        yield "not exercised by any input, proved by their bytes alone:"
        yield from (f"  {name}" for name in done.not_exercised[:_SHOWN])
        yield from _more(len(done.not_exercised))
    unseen = [trial for trial in done.trials if trial.why]
    if unseen:
        yield ""
        yield "not seen:"
        for trial in sorted(unseen, key=lambda trial: not trial.missed)[:_SHOWN]:
            word = "MISSED " if trial.missed else ""
            yield f"  {word}{trial.place}: {trial.kind} ({trial.note}) {trial.why}"
        yield from _more(len(unseen))


def _of(done: "Selftest", **wanted: str) -> "list[Trial]":
    return [
        trial
        for trial in done.trials
        if all(getattr(trial, name) == value for name, value in wanted.items())
    ]


def _table(head: str, groups: "dict[str, list[Trial]]") -> str:
    rows = [[head, "planted", "outputs", "ledger", "both", "neither"]]
    for name, trials in groups.items():
        asked = any(trial.outputs is not None for trial in trials)
        both = sum(bool(trial.outputs and trial.ledger) for trial in trials)
        outputs = sum(bool(trial.outputs) for trial in trials)
        known = sum(trial.ledger for trial in trials)
        neither = sum(not (trial.outputs or trial.ledger) for trial in trials)
        counts = [len(trials), outputs if asked else "-", known, both if asked else "-", neither]
        rows.append([name, *map(str, counts)])
    return shared.table(rows)


def _more(count: int) -> Iterator[str]:
    if count > _SHOWN:
        yield f"and {count - _SHOWN} more; --json has all"
