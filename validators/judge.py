"""The judgement: every artifact against the golden file, and its weights against the ledger.

A model that differs is data, a FAIL. What could not be asked is NOT_RUN, which is no pass either.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline import mindir_buckets
from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.errors import (
    CheckError,
    EvidenceError,
    KernelMissingError,
    ToolchainError,
)
from ascend_migrate.pipeline.gate import KERNELS
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import (
    GRAPH_FORMS,
    Artifact,
    FileEntry,
    Finding,
    Form,
    Outcome,
    Verdict,
)
from ascend_migrate.validators import buckets, calls, lowered
from ascend_migrate.validators.cases import fed_integers
from ascend_migrate.validators.golden import Golden, read_golden
from ascend_migrate.validators.ledger import ledger
from ascend_migrate.validators.ledger.stored_weights import stored_weights
from ascend_migrate.validators.ledger.weight_bytes import Digests
from ascend_migrate.validators.ledger.weight_causes import Tensors
from ascend_migrate.validators.ledger.weights import Weight, weights_of_checkpoint
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import CLOSE
from ascend_migrate.validators.power import power
from ascend_migrate.validators.runners import open_runner


def judge(  # noqa: PLR0913 - what a verdict depends on
    artifacts: Sequence[Artifact],
    golden: Path | None,
    *,
    source_digest: str,
    source_weights: Checkpoint | None,
    source_tensor: Tensors | None = None,
    limits: Limits = DEFAULT_LIMITS,
    waive_kernels: Collection[Form] = (),
    stored_as: str | None = None,
    context: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Verdict:
    """Judges artifacts against the original.

    Args:
        artifacts: at most one for each form.
        golden: the original's inputs and outputs; None where only weights are published.
        source_digest: digest of the source; empty takes the golden file's word for it.
        source_weights: the source's tensors; None takes those that the golden file describes.
        source_tensor: reads one of the source's tensors; without it a lower precision cannot be
            judged, and what was done to a wrong weight is told by digests alone.
        limits: what one runtime may take for one request.
        waive_kernels: forms that may be published although the runtime lacks a kernel for them.
        stored_as: type that float32 tensors were cast to in the safetensors form; None if they
            were not.
        context: what a reader of the report wants to know beside the findings.
        progress: told one line at a time.

    Raises:
        EvidenceError: the golden file is damaged, or is about another source; or an artifact's
            file is not the one that it names.
        SourceError: an artifact's file is damaged.
        ToolchainError: a runtime failed in a way that trying again may mend.
    """
    truth = read_golden(golden) if golden is not None else None
    if truth is not None and source_digest and truth.source != source_digest:
        raise EvidenceError(f"{golden}: is about another source ({truth.source}); capture it again")
    if source_weights is not None and (truth is None or not truth.weights):
        weights: Mapping[str, Weight] = weights_of_checkpoint(
            source_weights, precision=Precision(stored_as) if stored_as else None
        )
    else:
        weights = truth.weights if truth is not None else {}
    findings: list[Finding] = []
    about = dict(context or {})
    digests = Digests()
    for artifact in artifacts:
        progress(f"judge {artifact.form}")
        if artifact.form not in GRAPH_FORMS:
            findings += ledger.check_equal(
                artifact.form,
                weights,
                stored_weights(artifact),
                cast=stored_as is not None,
                tensors=source_tensor,
                digests=digests,
            )
            continue
        before = len(findings)
        for part in mindir_buckets.parts(artifact):
            found = ledger.check_ledger(
                part.form,
                weights,
                stored_weights(part),
                tensors=source_tensor,
                constants=truth.constants if truth is not None else (),
                digests=digests,
            )
            where = "" if part is artifact else f" in {part.entry}"
            findings += [replace(item, subject=item.subject + where) for item in found]
        findings += _computing(artifact, truth, limits, waived=artifact.form in waive_kernels)
        passed = all(item.outcome is Outcome.PASS for item in findings[before:])
        if truth is not None and passed:
            measured = power.measure(artifact, truth, limits)
            if measured is not None:
                about.setdefault("power", {})[str(artifact.form)] = measured.to_json()
        if truth is not None and truth.precision is not None:
            findings.append(lowered.check_range(artifact.form, truth, truth.precision))
            findings += lowered.check_graph(artifact, truth, truth.precision, source_tensor, limits)
    if truth is not None:
        about["original"] = dict(truth.about)
        about["cases"] = [case.name for case in truth.cases]
        about["fed"] = list(fed_integers(case.feeds for case in truth.cases))
        if truth.no_exact:
            about["no_float64_twin"] = truth.no_exact
    _check_unchanged(artifacts)
    return Verdict(
        source=source_digest or (truth.source if truth is not None else ""),
        golden=truth.digest if truth is not None else "",
        subjects={artifact.form: artifact.files for artifact in artifacts},
        findings=tuple(findings),
        level=_level(artifacts, findings),
        context=about,
    )


def _level(artifacts: Sequence[Artifact], findings: Sequence[Finding]) -> str:
    """Returns how far the proof reaches for all forms: one that was not run is known by weights."""
    graphs = {artifact.form for artifact in artifacts if artifact.form in GRAPH_FORMS}
    ran = {finding.form for finding in findings if finding.check == calls.PRESENT}
    return "cpu" if graphs and graphs <= ran else "ledger"


def _check_unchanged(artifacts: Sequence[Artifact]) -> None:
    """What was judged must be what the verdict names: the bytes with these digests."""
    for artifact in artifacts:
        for entry in artifact.files:
            if FileEntry.of(artifact.root, entry.path) != entry:
                raise EvidenceError(
                    f"{artifact.root / entry.path}: is not the file that was made: it changed "
                    "before it was judged, or meanwhile; make it again"
                )


def _computing(
    artifact: Artifact, truth: Golden | None, limits: Limits, *, waived: bool
) -> list[Finding]:
    """Runs an artifact on every case, twice, and compares what it returns."""
    form = artifact.form
    if truth is None:
        return [_not_run(form, "there is no golden file to compare with; record it with `capture`")]
    try:
        with open_runner(artifact, limits) as runner:
            first = [_answer(runner.run, case.feeds) for case in truth.cases]
            if all(isinstance(answer, str) for answer in first):
                return [_not_run(form, str(first[0]))]
            second = [_answer(runner.run, case.feeds) for case in truth.cases]
            twin = runner.twin
    except KernelMissingError as error:
        return [_without_kernel(form, error, waived=waived)]
    except CheckError as error:
        return [_not_run(form, str(error))]
    except ToolchainError as error:
        if error.transient:
            raise
        return [_not_run(form, str(error))]
    found = calls.findings(form, truth, first, second)
    found += buckets.unasked(artifact, (case.feeds for case in truth.cases))
    if twin:
        found.append(Finding(KERNELS, form, "all outputs", Outcome.PASS, note=twin))
    return found


def _answer(run: Callable[..., Outputs], feeds: Outputs) -> Outputs | str:
    """Returns the outputs, or why the runtime refused these inputs."""
    try:
        return run(feeds)
    except KernelMissingError:
        raise
    except CheckError as error:
        return str(error)


def _without_kernel(form: Form, error: KernelMissingError, *, waived: bool) -> Finding:
    # Without the error's own words, which name a path of this machine: this may be published.
    said = f"the runtime that judges has no CPU kernel of {error.kernel}"
    if waived:
        note = f"{said}; the specification publishes it all the same: its outputs are not proved"
        return Finding(KERNELS, form, error.kernel, Outcome.WAIVED, note=note)
    note = (
        f"{said}, whatever the device has; it can only be judged there, or be published by its "
        f'weights alone with validation.waive_kernels = ["{form}"]'
    )
    return Finding(KERNELS, form, error.kernel, Outcome.NOT_RUN, note=note)


def _not_run(form: Form, reason: str) -> Finding:
    return Finding(CLOSE, form, "all outputs", Outcome.NOT_RUN, note=reason)
