"""The judgement: every artifact against the golden file, and its weights against the ledger.

A model that differs is data, a FAIL. What could not be asked is NOT_RUN, which is no pass either.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.errors import CheckError, EvidenceError, ToolchainError
from ascend_migrate.pipeline.gate import GRAPH_FORMS
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome, Verdict
from ascend_migrate.validators import calls, ledger
from ascend_migrate.validators.golden import Golden, read_golden
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import CLOSE
from ascend_migrate.validators.runners import open_runner
from ascend_migrate.validators.stored_weights import stored_weights


def judge(  # noqa: PLR0913 - what a verdict depends on
    artifacts: Sequence[Artifact],
    golden: Path | None,
    *,
    source_digest: str,
    source_weights: Checkpoint | None,
    timeout: float = 600.0,
    context: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Verdict:
    """Judges artifacts against the original.

    Args:
        artifacts: at most one for each form.
        golden: the original's inputs and outputs; None where only weights are published.
        source_digest: digest of the source; empty takes the golden file's word for it.
        source_weights: the source's tensors; None takes those that the golden file describes.
        timeout: seconds that one runtime may take for one request.
        context: what a reader of the report wants to know beside the findings.
        progress: told one line at a time.

    Raises:
        EvidenceError: the golden file is damaged, or is about another source.
        SourceError: an artifact's file is damaged.
        ToolchainError: a runtime failed in a way that trying again may mend.
    """
    truth = read_golden(golden) if golden is not None else None
    if truth is not None and source_digest and truth.source != source_digest:
        raise EvidenceError(f"{golden}: is about another source ({truth.source}); capture it again")
    if source_weights is not None and (truth is None or not truth.weights):
        weights: Mapping[str, ledger.Weight] = ledger.weights_of_checkpoint(source_weights)
    else:
        weights = truth.weights if truth is not None else {}
    findings: list[Finding] = []
    about = dict(context or {})
    for artifact in artifacts:
        progress(f"judge {artifact.form}")
        stored = stored_weights(artifact)
        if artifact.form not in GRAPH_FORMS:
            findings += ledger.check_equal(artifact.form, weights, stored)
            continue
        findings += ledger.check_ledger(artifact.form, weights, stored)
        findings += _computing(artifact, truth, timeout)
    if truth is not None:
        about["original"] = dict(truth.about)
        about["cases"] = [case.name for case in truth.cases]
        if truth.no_exact:
            about["no_float64_twin"] = truth.no_exact
    return Verdict(
        source=source_digest or (truth.source if truth is not None else ""),
        golden=truth.digest if truth is not None else "",
        subjects={artifact.form: artifact.files for artifact in artifacts},
        findings=tuple(findings),
        level="cpu" if any(f.check == CLOSE for f in findings) else "ledger",
        context=about,
    )


def _computing(artifact: Artifact, truth: Golden | None, timeout: float) -> list[Finding]:
    """Runs an artifact on every case, twice, and compares what it returns."""
    form = artifact.form
    if truth is None:
        return [_not_run(form, "there is no golden file to compare with; record it with `capture`")]
    try:
        with open_runner(artifact, timeout=timeout) as runner:
            first = [_answer(runner.run, case.feeds) for case in truth.cases]
            if all(isinstance(answer, str) for answer in first):
                return [_not_run(form, str(first[0]))]
            second = [_answer(runner.run, case.feeds) for case in truth.cases]
    except CheckError as error:
        return [_not_run(form, str(error))]
    except ToolchainError as error:
        if error.transient:
            raise
        return [_not_run(form, str(error))]
    return calls.findings(form, truth, first, second)


def _answer(run: Callable[..., Outputs], feeds: Outputs) -> Outputs | str:
    """Returns the outputs, or why the runtime refused these inputs."""
    try:
        return run(feeds)
    except CheckError as error:
        return str(error)


def _not_run(form: Form, reason: str) -> Finding:
    return Finding(CLOSE, form, "all outputs", Outcome.NOT_RUN, note=reason)
