"""Where what failed first differs from its original, looked for in a process of its own.

Never part of the verdict: whatever becomes of the search is a line in the report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ascend_migrate.flows.capturing import READY_FOR_CODE
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline import apart
from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS
from ascend_migrate.pipeline.printable import plain
from ascend_migrate.pipeline.records import ONNX_FORMS, READABLE_FORMS, Artifact, Outcome, Verdict
from ascend_migrate.pipeline.spec import MigrationSpec

KEY = "localisation"
"""Of the verdict's context: what was found, by form."""

_WHOLE = ("outputs.present", "outputs.close", "outputs.peak")
_PARTS = ("outputs.groups", "outputs.decisions", "calls.batch")
"""Checks that look at parts of an output, or at one beside another."""

_LEDGER = "weights.ledger"

_REPEATABLE = "calls.repeatable"
_CHANGING = (
    "no place is looked for: that takes one call at a time, and the answers to the same inputs "
    f"change from call to call, as {_REPEATABLE} says"
)

_INSTEAD = "validate against the specification, where the original is at hand"
_READY = ("onnxruntime", "onnx", "ascend_migrate.validators.localisation.localise")


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
        spec: names the original; None where only its golden file is at hand, with intermediates.
        golden: the original's inputs and outputs.
        into: folder for reproductions; None to write none.
    """
    found: dict[str, Any] = {}
    for artifact in artifacts:
        if golden is None or artifact.form not in READABLE_FORMS or not _failed(verdict, artifact):
            continue
        if _changes(verdict, artifact):
            found[str(artifact.form)] = {"note": _CHANGING}
            continue
        failed = _Failed(artifact, _wrong_weights(verdict, artifact), _in_parts(verdict, artifact))
        limits = spec.limits if spec is not None else DEFAULT_LIMITS
        ready = _READY if spec is None or spec.is_onnx else (*_READY, *READY_FOR_CODE)
        try:
            found[str(artifact.form)] = apart.call(
                _located, "localisation", limits, ready, spec, failed, golden, into
            )
        except MigrationError as error:
            found[str(artifact.form)] = {"note": plain(str(error))}
    if not found:
        return verdict
    return replace(verdict, context={**verdict.context, KEY: found})


@dataclass(frozen=True, slots=True)
class _Failed:
    """What is to be looked at.

    Attributes:
        artifact: that failed.
        weights: what the ledger says about each tensor that is wrong, by its name.
        parts: outputs that are wrong in parts, or beside others, and perhaps not as a whole.
    """

    artifact: Artifact
    weights: Mapping[str, str]
    parts: frozenset[str]


def _failed(verdict: Verdict, artifact: Artifact) -> bool:
    """Whether outputs are wrong or, of a graph that can be run node by node, missing."""
    bad = {Outcome.FAIL, Outcome.NOT_RUN} if artifact.form in ONNX_FORMS else {Outcome.FAIL}
    return any(
        item.check in (*_WHOLE, *_PARTS) and item.form is artifact.form and item.outcome in bad
        for item in verdict.findings
    )


def _changes(verdict: Verdict, artifact: Artifact) -> bool:
    """Whether the original or the artifact keeps state between calls."""
    return any(
        (item.check, item.form, item.outcome) == (_REPEATABLE, artifact.form, Outcome.FAIL)
        for item in verdict.findings
    )


def _wrong_weights(verdict: Verdict, artifact: Artifact) -> dict[str, str]:
    return {
        item.subject: item.note
        for item in verdict.findings
        if (item.check, item.form, item.outcome) == (_LEDGER, artifact.form, Outcome.FAIL)
    }


def _in_parts(verdict: Verdict, artifact: Artifact) -> frozenset[str]:
    """Returns the outputs that only the checks of parts refuse."""
    refused = {
        checks: {
            item.subject
            for item in verdict.findings
            if item.check in checks and (item.form, item.outcome) == (artifact.form, Outcome.FAIL)
        }
        for checks in (_WHOLE, _PARTS)
    }
    return frozenset(refused[_PARTS] - refused[_WHOLE])


def _located(
    doing: apart.Doing,
    spec: MigrationSpec | None,
    failed: _Failed,
    golden: Path,
    into: Path | None,
) -> dict[str, Any]:
    from ascend_migrate.validators.golden import read_golden
    from ascend_migrate.validators.localisation.localise import localise
    from ascend_migrate.validators.localisation.on_record import read_record
    from ascend_migrate.validators.localisation.witness import at_hand, on_record

    doing("looking for the first difference")
    truth = read_golden(golden)
    if spec is not None:
        witness = at_hand(open_source(spec).original(), truth.precision)
    else:
        record = read_record(golden)
        if isinstance(record, str):
            return {"note": f"the golden file holds no intermediates ({record}); {_INSTEAD}"}
        witness = on_record(record)
    limits = spec.limits if spec is not None else DEFAULT_LIMITS
    return localise(
        failed.artifact, truth, witness, failed.weights, into, failed=failed.parts, limits=limits
    )
