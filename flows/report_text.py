"""A verdict as text for the terminal and as JSON for machines; made from the records alone."""

from collections.abc import Mapping
from typing import Any

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.flows.steps import Migration
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import Finding, Outcome, Verdict

WORDS = {Outcome.PASS: "PASS", Outcome.FAIL: "FAIL", Outcome.NOT_RUN: "NOT RUN"}
_LEVELS = {
    "ledger": "proved by its weights only; no output was compared",
    "cpu": "proved on the CPU; not verified on device",
    "device": "proved on the device",
}


def exit_code(verdict: Verdict) -> ExitCode:
    """FAIL is a difference; a check that could not run is something missing."""
    return {
        Outcome.PASS: ExitCode.OK,
        Outcome.FAIL: ExitCode.REFUSED,
        Outcome.NOT_RUN: ExitCode.UNABLE,
    }[verdict.outcome]


def verdict(judged: Verdict) -> str:
    """Returns one line for each check and form, then every finding that did not pass."""
    lines = [f"{WORDS[judged.outcome]}  {_LEVELS[judged.level]}"]
    lines.append(shared.table([["form", "check", "found", "worst", "allowed"], *_rows(judged)]))
    bad = [f for f in judged.findings if f.outcome is not Outcome.PASS]
    lines += [
        f"{WORDS[finding.outcome]}: {finding.form} {finding.check} {finding.subject}: "
        f"{_numbers(finding)}{finding.note}"
        for finding in bad
    ]
    return "\n".join(lines)


def migration(done: Migration) -> str:
    """Returns what a migration came to: the verdict, the notes, and what to do next."""
    judged = done.verdict
    lines = [verdict(judged)]
    lines += [f"note: source: {note}" for note in judged.context.get("source_notes", ())]
    for form, notes in judged.context.get("notes", {}).items():
        lines += [f"note: {form}: {note}" for note in notes]
    if done.reused:
        lines.append(f"reused from an earlier run: {', '.join(done.reused)}")
    if done.publication is None:
        lines.append("nothing was published")
    else:
        entry = done.publication
        lines.append(f"published: {entry.name}:{entry.version} {entry.digest}")
    lines.append(f"report: {done.report / 'report.html'}")
    return "\n".join(lines)


def migration_document(done: Migration) -> dict[str, Any]:
    """Returns the same as JSON-ready data."""
    return {
        "outcome": str(done.verdict.outcome),
        "published": done.publication.to_json() if done.publication else None,
        "reused": list(done.reused),
        "report": str(done.report / "report.json"),
        "verdict": done.verdict.to_json(),
    }


def entry(found: Mapping[str, Any]) -> str:
    """Returns a registry entry: its names, its files and its verdict."""
    rows = [["file", "bytes", "digest"]]
    rows += [[f["path"], f"{f['size']:,}", f["digest"]] for f in found["files"]]
    lines = [
        f"{found['name']}:{found['version']}  {found['digest']}",
        f"aliases: {', '.join(found['aliases']) or 'none'}",
        f"published: {found['published']}",
        shared.table(rows),
        verdict(Verdict.from_json(found["verdict"])),
    ]
    return "\n".join(lines)


def summary(judged: Verdict) -> list[tuple[str, str, Outcome, int, Finding]]:
    """Returns, for each form and check: the outcome, how many findings, and the worst of them."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in judged.findings:
        groups.setdefault((str(finding.form), finding.check), []).append(finding)
    return [
        (form, check, _worst(found).outcome, len(found), _worst(found))
        for (form, check), found in groups.items()
    ]


def _rows(judged: Verdict) -> list[list[str]]:
    rows = []
    for form, check, outcome, count, worst in summary(judged):
        measured = "" if worst.measured is None else f"{worst.measured:.3g}"
        allowed = "" if worst.allowed is None else f"{worst.allowed:.3g}"
        rows.append([form, check, f"{WORDS[outcome]} ({count})", measured, allowed])
    return rows


def _worst(findings: list[Finding]) -> Finding:
    """Returns the finding that is worst: by outcome, then by how much of the limit it used."""
    order = (Outcome.PASS, Outcome.NOT_RUN, Outcome.FAIL)

    def badness(finding: Finding) -> tuple[int, float]:
        used = 0.0
        if finding.measured is not None and finding.allowed:
            used = finding.measured / finding.allowed
        return order.index(finding.outcome), used

    return max(findings, key=badness)


def _numbers(finding: Finding) -> str:
    if finding.measured is None or finding.allowed is None:
        return ""
    return f"{finding.measured:.3g} measured, {finding.allowed:.3g} allowed; "
