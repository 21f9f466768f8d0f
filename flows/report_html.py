"""A verdict as one self-contained HTML page: no script, no network, readable in print and dark."""

from dataclasses import dataclass
from importlib.resources import files

from ascend_migrate.flows.report_text import MEANINGS, WORDS, headline, number, summary
from ascend_migrate.pipeline.records import Finding, Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Row:
    """A finding, and how much of its limit it used.

    Attributes:
        finding: what was found.
        percent: length of its bar, from 0 to 100; None where there is no number.
        others: how many findings of the same check and form are better.
    """

    finding: Finding
    percent: float | None
    others: int = 0


def render(verdict: Verdict) -> str:
    """Returns the page; every text in it comes from the verdict, and is escaped."""
    from jinja2 import Environment, StrictUndefined

    template = files("ascend_migrate.flows").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["number"] = number
    groups = summary(verdict)
    return environment.from_string(template).render(
        verdict=verdict,
        headline=headline(verdict),
        words=WORDS,
        meanings=MEANINGS,
        rows=[Row(worst, _percent(worst), len(found) - 1) for found, worst in groups],
        bad=[f for f in verdict.findings if f.outcome is not Outcome.PASS],
        all_rows=[Row(f, _percent(f)) for f in verdict.findings],
        folded=len(groups) < len(verdict.findings),
        context=verdict.context,
    )


def _percent(finding: Finding) -> float | None:
    if finding.measured is None or not finding.allowed:
        return None
    return min(100.0, max(0.0, 100 * finding.measured / finding.allowed))
