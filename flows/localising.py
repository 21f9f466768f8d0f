"""Where what failed first differs from its original, looked for in a process of its own.

Never part of the verdict: whatever becomes of the search is a line in the report.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ascend_migrate.flows.capturing import READY_FOR_CODE
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline import apart
from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.pipeline.printable import plain
from ascend_migrate.pipeline.records import GRAPH_FORMS, ONNX_FORMS, Artifact, Outcome, Verdict
from ascend_migrate.pipeline.spec import MigrationSpec

KEY = "localisation"
"""Of the verdict's context: what was found, by form."""

_OUTPUTS = ("outputs.present", "outputs.close", "outputs.peak")
_LEDGER = "weights.ledger"

_READY = ("onnxruntime", "onnx", "ascend_migrate.validators.localisation.localise")
_NO_ORIGINAL = "needs the original itself: validate against its specification"


def localised(
    verdict: Verdict,
    artifacts: Sequence[Artifact],
    spec: MigrationSpec | None,
    golden: Path | None,
    into: Path | None,
) -> Verdict:
    """Adds to the context of a verdict where each form that failed by its outputs does so.

    Args:
        verdict: returned as it is where no output failed.
        artifacts: what was judged.
        spec: names the original; None where only its golden file is at hand.
        golden: the original's inputs and outputs.
        into: folder for reproductions; None to write none.
    """
    found: dict[str, Any] = {}
    for artifact in artifacts:
        if golden is None or artifact.form not in GRAPH_FORMS or not _failed(verdict, artifact):
            continue
        if spec is None:
            found[str(artifact.form)] = {"note": _NO_ORIGINAL}
            continue
        wrong = {
            item.subject: item.note
            for item in verdict.findings
            if (item.check, item.form, item.outcome) == (_LEDGER, artifact.form, Outcome.FAIL)
        }
        ready = _READY if spec.is_onnx else (*_READY, *READY_FOR_CODE)
        try:
            found[str(artifact.form)] = apart.call(
                _located, "localisation", spec.limits, ready, spec, artifact, golden, wrong, into
            )
        except MigrationError as error:
            found[str(artifact.form)] = {"note": plain(str(error))}
    if not found:
        return verdict
    return replace(verdict, context={**verdict.context, KEY: found})


def _failed(verdict: Verdict, artifact: Artifact) -> bool:
    """Whether outputs are wrong or, of a graph that can be run node by node, missing."""
    bad = {Outcome.FAIL, Outcome.NOT_RUN} if artifact.form in ONNX_FORMS else {Outcome.FAIL}
    return any(
        item.check in _OUTPUTS and item.form is artifact.form and item.outcome in bad
        for item in verdict.findings
    )


def _located(
    doing: apart.Doing,
    spec: MigrationSpec,
    artifact: Artifact,
    golden: Path,
    wrong: dict[str, str],
    into: Path | None,
) -> dict[str, Any]:
    from ascend_migrate.validators.golden import read_golden
    from ascend_migrate.validators.localisation.localise import localise

    doing("looking for the first difference")
    original = open_source(spec).original()
    return localise(artifact, read_golden(golden), original, wrong, into, limits=spec.limits)
