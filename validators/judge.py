"""The judgement: every artifact against the golden file, and its weights against the ledger.

A model that differs is data, a FAIL. What could not be asked is NOT_RUN, which is no pass either.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from ascend_migrate.pipeline.spec import MigrationSpec
from ascend_migrate.validators import buckets, calls, clear_fail, compiled, lowered, side_by_side
from ascend_migrate.validators.brought import BroughtRunner
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
from ascend_migrate.validators.runners import CPU, DEVICE, Opened, open_runner


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
    runtime: str = "",
    spec: MigrationSpec | None = None,
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
        runtime: one of `runners.RUNTIMES` that runs the artifacts; "" for each form's default.
        spec: names the code of the original, for a runtime that runs it.
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
    work = _Judging(
        truth,
        weights,
        source_tensor,
        limits,
        partial(open_runner, limits=limits, runtime=runtime, golden=golden, spec=spec),
        frozenset(waive_kernels),
        cast=stored_as is not None,
        named=bool(runtime),
    )
    said = _all_said(work, artifacts, progress)
    findings = [finding for one in said for finding in one.findings]
    ran = {form: runner for one in said for form, runner in one.ran.items()}
    about = {**(context or {}), "runtimes": ran}
    for artifact, one in zip(artifacts, said, strict=True):
        if one.measured is not None:
            about.setdefault("power", {})[str(artifact.form)] = one.measured.to_json()
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
        level=_level(artifacts, findings, ran),
        context=about,
    )


@dataclass(slots=True)
class _Said:
    """What is said of one artifact.

    Attributes:
        findings: in a fixed order.
        ran: what ran it, by its form; empty where nothing did.
        measured: what would have been seen of faults in it; None where that was not measured.
    """

    findings: list[Finding]
    ran: dict[str, dict[str, str]] = field(default_factory=dict)
    measured: power.Power | None = None


@dataclass(frozen=True, slots=True)
class _Judging:
    """What artifacts are judged by, one at a time or several at once."""

    truth: Golden | None
    weights: Mapping[str, Weight]
    tensors: Tensors | None
    limits: Limits
    opened: Callable[[Artifact], Opened]
    waived: frozenset[Form]
    cast: bool
    named: bool
    digests: Digests = field(default_factory=Digests)

    def said(self, artifact: Artifact) -> _Said:
        """Judges one artifact."""
        if artifact.form not in GRAPH_FORMS:
            equal = ledger.check_equal(
                artifact.form,
                self.weights,
                stored_weights(artifact),
                cast=self.cast,
                tensors=self.tensors,
                digests=self.digests,
            )
            said = _Said([*equal])
            if self.named:  # weights compute where there is a runtime with code for them
                opened = partial(self.opened, artifact)
                said.findings += _computing(artifact, self.truth, opened, said.ran, waived=False)
            return said
        truth, form = self.truth, artifact.form
        findings, graph, asked = compiled.seen_through(artifact, truth)
        said = _Said([*findings])
        for part in mindir_buckets.parts(graph) if graph is not None else ():
            found = ledger.check_ledger(
                form,
                self.weights,
                stored_weights(part),
                tensors=self.tensors,
                constants=truth.constants if truth is not None else (),
                digests=self.digests,
            )
            where = "" if part is artifact else f" in {part.entry}"
            said.findings += [replace(item, subject=item.subject + where) for item in found]
        opened = partial(self.opened, artifact)
        waived = form in self.waived
        said.findings += _computing(artifact, asked, opened, said.ran, waived=waived)
        passed = all(item.outcome is Outcome.PASS for item in said.findings)
        if truth is not None and passed:
            said.measured = power.measure(artifact, truth, self.limits)
        if graph is not None and asked is not None and asked.precision is not None:
            said.findings.append(lowered.check_range(form, asked, asked.precision))
            same = lowered.check_graph(graph, asked, asked.precision, self.tensors, self.limits)
            said.findings += [replace(item, form=form) for item in same]
        return said


def _all_said(
    work: _Judging, artifacts: Sequence[Artifact], progress: Callable[[str], None]
) -> list[_Said]:
    """Judges all artifacts, side by side where that pays; returns what is said in their order."""
    apart = side_by_side.apart_from_this_process(artifacts)

    def here() -> dict[Form, _Said]:
        said = {}
        for artifact in artifacts:
            # In one order, whether another one has been at work beside it or not.
            progress(f"judge {artifact.form}")
            if artifact not in apart:
                said[artifact.form] = work.said(artifact)
        return said

    def beside() -> dict[Form, _Said]:
        return {artifact.form: work.said(artifact) for artifact in apart}

    own, other = side_by_side.both(here, beside) if apart else (here(), {})
    return [(own | other)[artifact.form] for artifact in artifacts]


def _level(
    artifacts: Sequence[Artifact],
    findings: Sequence[Finding],
    ran: Mapping[str, Mapping[str, str]],
) -> str:
    """Returns how far the proof reaches for all forms: one that was not run is known by weights."""
    computing = GRAPH_FORMS | ran.keys()
    graphs = {artifact.form for artifact in artifacts if artifact.form in computing}
    # Where no more was asked after a clear failure, nothing says what is present.
    told = {(calls.PRESENT, o) for o in Outcome} | {(CLOSE, Outcome.FAIL)}
    answered = {finding.form for finding in findings if (finding.check, finding.outcome) in told}
    if not graphs or not graphs <= answered:
        return "ledger"
    return DEVICE if all(ran[form]["level"] == DEVICE for form in graphs) else CPU


def _check_unchanged(artifacts: Sequence[Artifact]) -> None:
    """What was judged must be what the verdict names: the bytes with these digests."""
    # A file that several forms share is read once; the times of a file prove nothing about it.
    files = {(artifact.root, entry) for artifact in artifacts for entry in artifact.files}
    for root, entry in sorted(files, key=lambda file: file[1].path):
        if FileEntry.of(root, entry.path) != entry:
            raise EvidenceError(
                f"{root / entry.path}: is not the file that was made: it changed before it was "
                "judged, or meanwhile; make it again"
            )


def _computing(
    artifact: Artifact,
    truth: Golden | None,
    opened: Callable[[], Opened],
    ran: dict[str, dict[str, str]],
    *,
    waived: bool,
) -> list[Finding]:
    """Runs an artifact on every case, twice, and compares what it returns; ``ran`` gets in what."""
    form = artifact.form
    if truth is None:
        return [_not_run(form, "there is no golden file to compare with; record it with `capture`")]
    try:
        with opened() as runner:
            ran[str(form)] = {"name": runner.name, "level": runner.level}
            if isinstance(runner, BroughtRunner) and runner.brought:
                ran[str(form)]["answers"] = runner.brought
            first, clear = clear_fail.first_pass(
                form, truth, lambda feeds: _answer(runner.run, feeds)
            )
            if clear or all(isinstance(answer, str) for answer in first):
                return clear or [_not_run(form, str(first[0]))]
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
