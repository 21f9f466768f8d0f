"""One architecture through the whole product: checkpoint, export, conversion, verdict, registry."""

import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tests.zoo.entry import Entry
from tests.zoo.random_weights import fill

from ascend_migrate.flows.steps import migrate, open_workspace
from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.pipeline.model import build_model
from ascend_migrate.pipeline.records import Finding, Outcome
from ascend_migrate.pipeline.spec import make_spec

PASS, FAIL, REFUSED = "PASS", "FAIL", "REFUSED"
FORMS = ("onnx", "mindir")

MODELS = Path(__file__).resolve().parent / "models"

CASES = 2
"""Random cases. The structured ones before them, which the product adds, are six or more at three
sizes or more; MindSpore compiles a graph anew for each size, which is most of the time here."""


@dataclass(frozen=True)
class Result:
    """What a migration came to.

    Attributes:
        outcome: PASS, FAIL (a verdict) or REFUSED (an error that names its reason).
        note: the error's line, or the first finding that did not pass; empty after PASS.
        parameters: of the model.
        cases: calls that each form was judged by.
        seconds: of building, migrating and judging.
    """

    outcome: str
    note: str
    parameters: int
    cases: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Returns the fields."""
        return asdict(self)


def attempt(name: str, entry: Entry, folder: Path) -> Result:
    """Migrates a model with random weights.

    Args:
        name: in the table.
        entry: the architecture.
        folder: an empty one, for the checkpoint and the registry.
    """
    began = time.monotonic()
    model = fill(build_model(entry.code, (), entry.kwargs, MODELS))
    torch.save(model.state_dict(), folder / "model.pt")
    request = {
        "name": name,
        "to": list(FORMS),
        "inputs": list(entry.inputs),
        "registry": str(folder / "registry"),
        "source": {"path": str(folder / "model.pt")},
        "model": {"callable": entry.code, "kwargs": entry.kwargs},
        "validation": {"cases": CASES},
    }
    outcome, note, cases = _migrated(request)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    seconds = round(time.monotonic() - began, 1)
    # Scratch folders and stages have a new name each time, and say nothing.
    note = re.sub(rf"{re.escape(str(folder))}/(registry/stages/[\w-]+/)?", "", note)
    return Result(outcome, note, parameters, cases, seconds)


def _migrated(request: dict[str, Any]) -> tuple[str, str, int]:
    spec = make_spec(request, subject=request["name"], base=MODELS)
    try:
        done = migrate(open_workspace(spec, lambda _line: None))
    except MigrationError as error:
        return REFUSED, str(error), 0
    cases = len(done.verdict.context["cases"])
    if done.publication is not None:
        return PASS, "", cases
    wrong = next(f for f in done.verdict.findings if f.outcome is not Outcome.PASS)
    return FAIL, _said(wrong), cases


def _said(finding: Finding) -> str:
    numbers = ""
    if finding.measured is not None and finding.allowed is not None:
        numbers = f" measured {finding.measured:.2g}, allowed {finding.allowed:.2g};"
    return f"{finding.form} {finding.check} {finding.subject}:{numbers} {finding.note}"
