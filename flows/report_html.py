"""A verdict as one self-contained HTML page: no script, no network, readable in print and dark."""

import math
from dataclasses import dataclass
from importlib.resources import files

from ascend_migrate.flows import torch_npu
from ascend_migrate.flows.report_text import (
    MEANINGS,
    WORDS,
    devices,
    headline,
    number,
    places,
    power,
    summary,
)
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


@dataclass(frozen=True, slots=True)
class Curve:
    """How the error of one form grows along its graph.

    Attributes:
        form: the form.
        points: name of a tensor, and its error in limits: from 1 on it is wrong.
    """

    form: str
    points: list[tuple[str, float]]

    @property
    def bars(self) -> list[tuple[float, float, float, bool]]:
        """Returns left edge, width and height of a bar for each, from 0 to 100; and if it is wrong.

        Heights are logarithms: from a thousandth of the limit to a million times.
        """
        width = 100 / len(self.points)
        heights = [math.log10(max(error, 1e-3)) + 3 for _, error in self.points]
        return [
            (index * width, 0.8 * width, max(2.0, min(100.0, 100 * height / 9)), error > 1)
            for index, (height, (_, error)) in enumerate(zip(heights, self.points, strict=True))
        ]


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
        devices=devices(verdict),
        power=power(verdict),
        places=places(verdict),
        curves=_curves(verdict),
        folded=len(groups) < len(verdict.findings),
        context=verdict.context,
        npu=torch_npu,
    )


def _percent(finding: Finding) -> float | None:
    if finding.measured is None or not finding.allowed:
        return None
    return min(100.0, max(0.0, 100 * finding.measured / finding.allowed))


def _curves(verdict: Verdict) -> list[Curve]:
    found = verdict.context.get("localisation", {})
    return [Curve(form, item["curve"]) for form, item in found.items() if item.get("curve")]
