"""A verdict as one self-contained HTML page: no script, no network, readable in print and dark."""

import math
from dataclasses import dataclass
from importlib.resources import files

from ascend_migrate.flows.report_text import WORDS, summary
from ascend_migrate.pipeline.records import Finding, Outcome, Verdict

_DECADES = 8
"""The bars span 1e-8 of the limit to the limit: below that a difference is of no interest."""


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of its limit a finding used, on a logarithmic scale from 0 to 100 percent."""

    finding: Finding
    percent: float | None


def render(verdict: Verdict) -> str:
    """Returns the page; every text in it comes from the verdict, and is escaped."""
    from jinja2 import Environment, StrictUndefined

    template = files("ascend_migrate.flows").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    bad = [f for f in verdict.findings if f.outcome is not Outcome.PASS]
    return environment.from_string(template).render(
        verdict=verdict,
        words=WORDS,
        summary=summary(verdict),
        bad=bad,
        bars=[_bar(f) for f in verdict.findings],
        context=verdict.context,
    )


def _bar(finding: Finding) -> Bar:
    if finding.measured is None or not finding.allowed:
        return Bar(finding, None)
    used = finding.measured / finding.allowed
    if not used > 0:
        return Bar(finding, 0.0)
    if math.isinf(used):
        return Bar(finding, 100.0)
    return Bar(finding, min(100.0, max(1.0, 100 * (1 + math.log10(used) / _DECADES))))
