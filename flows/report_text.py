"""A verdict as text for the terminal and as JSON for machines; made from the records alone."""

from collections.abc import Mapping
from typing import Any

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.flows import torch_npu
from ascend_migrate.flows.steps import PAGE, REPORT, Migration
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import WORST_FIRST, Finding, Outcome, Verdict

WORDS = {
    Outcome.PASS: "PASS",
    Outcome.FAIL: "FAIL",
    Outcome.NOT_RUN: "NOT RUN",
    Outcome.WAIVED: "WAIVED",
}

MEANINGS = {
    "weights.equal": "every tensor is the source's, bit for bit or as the declared cast makes it",
    "weights.ledger": "every tensor of the source is in there, bit for bit or as declared",
    "weights.origin": "a compiled file says which graph it was made from, and that is at hand",
    "weights.finite": "no weight is NaN, nor infinite but in a mask",
    "outputs.present": "every output is there, in every case, with its sizes and type",
    "outputs.close": "as near to float64 as the original is, on the whole",
    "outputs.peak": "as near to float64 as the original is, at the worst element",
    "calls.repeatable": "the same inputs give the same outputs when asked again",
    "runtime.kernels": "the runtime has the kernels that it takes, or a twin was run instead",
    "precision.range": "the model stays in the range of the lower type",
    "precision.graph": "in float32, with the source's weights, it is the original",
    "outputs.vary": "the outputs depend on the inputs, so that equality says something",
}
"""What each check asks, for a reader who has not met it."""

_LEVELS = {
    "ledger": "proved by its weights; no output was compared",
    "cpu": "proved equivalent on the CPU; not verified on device",
    "device": "proved equivalent on the device",
}

_NAMED = 5
"""Weights that no input exercises are named up to this number; the report has all."""

_SHOWN = 20
"""Findings listed on the terminal: a failing model can have thousands; the report has all."""


def exit_code(verdict: Verdict) -> ExitCode:
    """FAIL is a difference; a check that could not run is something missing."""
    return {
        Outcome.PASS: ExitCode.OK,
        Outcome.FAIL: ExitCode.REFUSED,
        Outcome.NOT_RUN: ExitCode.UNABLE,
        # Admitted, because the specification says so.
        Outcome.WAIVED: ExitCode.OK,
    }[verdict.outcome]


def headline(judged: Verdict) -> str:
    """Returns what the verdict means, in one phrase."""
    if judged.outcome is Outcome.FAIL:
        return "not equivalent to the original"
    if judged.outcome is Outcome.NOT_RUN:
        return "not proved: a check could not be carried out"
    if judged.outcome is Outcome.WAIVED:
        waived = {str(f.form) for f in judged.findings if f.outcome is Outcome.WAIVED}
        forms = ", ".join(sorted(waived))
        return f"the weights are proved; as the specification allows, no output of {forms} is"
    return _LEVELS[judged.level]


def verdict(judged: Verdict) -> str:
    """Returns one line for each check and form, then every finding that did not pass."""
    lines = [f"{WORDS[judged.outcome]}: {headline(judged)}", ""]
    lines.append(
        shared.table([["form", "check", "verdict", "measured", "allowed", "found"], *_rows(judged)])
    )
    lines += [f"device: {line}" for line in devices(judged)]
    lines += [f"power: {line}" for line in power(judged)]
    lines += [f"first difference: {line}" for line in places(judged)]
    bad = [f for f in judged.findings if f.outcome is not Outcome.PASS]
    lines += [""] * bool(bad)
    lines += [
        f"{WORDS[f.outcome]}: {f.form} {f.check} {f.subject}: {_numbers(f)}{f.note}"
        for f in bad[:_SHOWN]
    ]
    if len(bad) > _SHOWN:
        lines.append(f"and {len(bad) - _SHOWN} more; the report has all")
    return "\n".join(lines)


def devices(judged: Verdict) -> list[str]:
    """Returns which forms a device answered for, and what is not known of that."""
    return [
        f"{form} was run by {ran['name']}; the part of ascend-migrate that asks it was written "
        "without a device at hand, and is itself not verified on device"
        for form, ran in judged.context.get("runtimes", {}).items()
        if ran["level"] == "device"
    ]


def power(judged: Verdict) -> list[str]:
    """Returns what the verdict would have seen of planted faults, form by form."""
    lines = []
    for form, found in judged.context.get("power", {}).items():
        line = f"{form}: of {found['planted']} wrong weights that were planted"
        if found["outputs"] is not None:
            line += f" the outputs alone show {found['outputs']},"
        line += f" the ledger shows {found['ledger']}"
        dark = [*found["not_exercised"]]
        if dark:
            named = ", ".join(dark[:_NAMED])
            more = f" and {len(dark) - _NAMED} more" if len(dark) > _NAMED else ""
            line += f"; not exercised by any input: {named}{more}"
        lines.append(line)
    return lines


def places(judged: Verdict) -> list[str]:
    """Returns where what failed first differs from the original, form by form."""
    lines = []
    for form, found in judged.context.get("localisation", {}).items():
        where = f"{form}: case {found['case']}" if "case" in found else str(form)
        if "tensor" not in found:
            lines.append(f"{where}: {found.get('note', 'not found')}")
            continue
        module = f" of module {found['module']}" if found.get("module") else ""
        first = "wrong tensor" if found.get("tried", True) else "tensor that differs"
        line = (
            f"{where}: the first {first} is {found['tensor']}, made by "
            f"{found.get('operator')} {found.get('node')}{module}; "
            f"{found.get('kind')}: {found.get('why')}"
        )
        if not found.get("tried", True):
            line += "; none of the original's values could be tried in its place"
        elif "mended" in found:
            alone = "with the original's value in its place the outputs are right"
            line += f"; {alone if found['mended'] else 'it may not be the only one'}"
        if "coarse" in found:
            line += f"; found {found['coarse']}"
        if "reproduction" in found:
            line += f"; run {found['reproduction']}/run.py in the report's folder to see it alone"
        lines.append(line)
    return lines


def migration(done: Migration) -> str:
    """Returns what a migration came to: the verdict, the notes, and where the results are."""
    judged = done.verdict
    lines = [verdict(judged), ""]
    lines += [f"note: source: {note}" for note in judged.context.get("source_notes", ())]
    if torch_npu.KEY in judged.context:
        lines.append(f"torch-npu: {torch_npu.summary(judged.context[torch_npu.KEY])}")
    for form, notes in judged.context.get("notes", {}).items():
        lines += [f"note: {form}: {note}" for note in notes]
    if done.reused:
        lines.append(f"reused from an earlier run: {', '.join(done.reused)}")
    entry = done.publication
    published = f"{entry.name}:{entry.version} {entry.digest}" if entry else "nothing"
    lines.append(f"published: {published}")
    lines.append(f"report: {shared.shown(done.report / PAGE)}")
    return "\n".join(lines)


def migration_document(done: Migration) -> dict[str, Any]:
    """Returns the same as JSON-ready data."""
    return {
        "outcome": str(done.verdict.outcome),
        "published": done.publication.to_json() if done.publication else None,
        "reused": list(done.reused),
        "report": str((done.report / REPORT).absolute()),
        "verdict": done.verdict.to_json(),
    }


def entry(found: Mapping[str, Any]) -> str:
    """Returns a registry entry: its names, its files and its verdict."""
    judged = Verdict.from_json(found["verdict"])
    rows = [["file", "of", "bytes", "digest"]]
    rows += [
        [f["path"], ", ".join(f["forms"]), f"{f['size']:,}", f["digest"]] for f in found["files"]
    ]
    source = " ".join(filter(None, [judged.context.get("source", ""), found["source"]]))
    lines = [
        f"{found['name']}:{found['version']}  {found['digest']}",
        f"source: {source}",
        f"aliases: {', '.join(found['aliases']) or 'none'}",
        f"published: {found['published']}",
        "",
        shared.table(rows),
        "",
        verdict(judged),
    ]
    return "\n".join(lines)


def summary(judged: Verdict) -> list[tuple[list[Finding], Finding]]:
    """Returns, for each form and check: all findings, and the worst of them."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in judged.findings:
        groups.setdefault((str(finding.form), finding.check), []).append(finding)
    return [(found, _worst(found)) for found in groups.values()]


def number(value: float | None) -> str:
    """Returns three digits of a number; nothing where there is none."""
    return "" if value is None else f"{value:.3g}"


def _rows(judged: Verdict) -> list[list[str]]:
    rows = []
    for found, worst in summary(judged):
        note = worst.note if worst.outcome is Outcome.PASS else "see below"
        if len(found) > 1:
            note = f"{note} (the worst of {len(found)} findings)"
        said = [number(worst.measured), number(worst.allowed), note]
        rows.append([str(worst.form), worst.check, WORDS[worst.outcome], *said])
    return rows


def _worst(findings: list[Finding]) -> Finding:
    """Returns the finding that is worst: by outcome, then by how much of the limit it used."""

    def badness(finding: Finding) -> tuple[int, float]:
        used = 0.0
        if finding.measured is not None and finding.allowed:
            used = finding.measured / finding.allowed
        return -WORST_FIRST.index(finding.outcome), used

    return max(findings, key=badness)


def _numbers(finding: Finding) -> str:
    if finding.measured is None or finding.allowed is None:
        return ""
    return f"{number(finding.measured)} measured, {number(finding.allowed)} allowed; "
