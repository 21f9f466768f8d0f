"""The gate: the one place that decides whether files may be published.

It is a pure function of a verdict and of the files as they really are. It opens only if the
verdict names exactly these files, every finding passed, and the checks that make a form's proof
were all carried out. Nothing can be switched off. One thing can be waived, by name and in the
specification: running a form for which the judging runtime has no kernel (`KERNELS`). Its weights
are then all that is proved, and the verdict says so. A compiled file (om) cannot be waived: nobody
can read its weights, so that its answers are all that there is.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from types import MappingProxyType

from ascend_migrate.pipeline.errors import PublicationRefusedError
from ascend_migrate.pipeline.records import (
    GRAPH_FORMS,
    READABLE_FORMS,
    FileEntry,
    Finding,
    Form,
    Outcome,
    Verdict,
)

GRAPH_CHECKS = frozenset({"outputs.close", "outputs.present", "calls.repeatable", "weights.ledger"})
"""What a form that computes must have been asked: the right numbers, all of them, twice, and with
every weight of the source accounted for."""

KERNELS = "runtime.kernels"
"""Whether the judging runtime has the kernels that the form needs."""

WAIVABLE_CHECKS = GRAPH_CHECKS - {"weights.ledger"}
"""What cannot be asked without them."""

ORIGIN = "weights.origin"
"""Whether a compiled file says which graph it was made from, and that graph is at hand. Nobody can
read the file itself: the ledger is that of the graph, and only the device's answers are the file's.
"""

REQUIRED_CHECKS: Mapping[Form, Set[str]] = MappingProxyType(
    {
        Form.SAFETENSORS: frozenset({"weights.equal"}),
        Form.ONNX: GRAPH_CHECKS,
        Form.ONNX_CANN: GRAPH_CHECKS,
        Form.MINDIR: GRAPH_CHECKS,
        Form.OM: GRAPH_CHECKS | {ORIGIN},
        Form.TORCH_NPU: frozenset({"weights.equal"}),
    }
)

_SHOWN = 20
"""Reasons shown before the rest is counted: a failing model can have thousands of findings."""


def admit(
    verdict: Verdict,
    *,
    subjects: Mapping[Form, Sequence[FileEntry]],
    required: Mapping[Form, Set[str]] = REQUIRED_CHECKS,
    name: str = "publication",
) -> None:
    """Returns if ``verdict`` proves exactly ``subjects``.

    Args:
        verdict: the findings, and the files that they are about.
        subjects: the files to be published as they are now, by form.
        required: names of the checks that each form needs.
        name: what to call the publication in the error.

    Raises:
        PublicationRefusedError: carries every reason.
    """
    reasons = [
        *_file_reasons(verdict, subjects),
        *(r for form in sorted(subjects) for r in _proof_reasons(verdict, form, required)),
        *_finding_reasons(verdict),
    ]
    if len(reasons) > _SHOWN:
        reasons = [*reasons[:_SHOWN], f"and {len(reasons) - _SHOWN} more"]
    if reasons:
        raise PublicationRefusedError(name, reasons)


def _file_reasons(verdict: Verdict, subjects: Mapping[Form, Sequence[FileEntry]]) -> Iterator[str]:
    if not subjects:
        yield "there is nothing to publish"
    for form in sorted({*subjects, *verdict.subjects}):
        if form not in verdict.subjects:
            yield f"{form}: the verdict does not judge this form; validate it"
            continue
        if form not in subjects:
            yield f"{form}: judged, but not among the files to publish"
            continue
        yield from _entry_reasons(form, verdict.subjects[form], subjects[form])


def _entry_reasons(
    form: Form, judged: Sequence[FileEntry], given: Sequence[FileEntry]
) -> Iterator[str]:
    if not given:
        yield f"{form}: has no files"
    for path in sorted({f.path for f in (*judged, *given)}):
        old = [f for f in judged if f.path == path]
        new = [f for f in given if f.path == path]
        if not old:
            yield f"{form}: {path} is not named in the verdict"
        elif not new:
            yield f"{form}: {path} was judged, but is missing"
        elif len(old) > 1 or len(new) > 1:
            yield f"{form}: {path} is named more than once"
        elif old != new:
            yield (
                f"{form}: {path} is not the file that was judged "
                f"({new[0].digest}, {new[0].size} bytes; judged: {old[0].digest}, "
                f"{old[0].size} bytes)"
            )


def _proof_reasons(
    verdict: Verdict, form: Form, required: Mapping[Form, Set[str]]
) -> Iterator[str]:
    """Says which part of the proof of ``form`` is missing."""
    findings = [f for f in verdict.findings if f.form == form]
    if not findings:
        yield f"{form}: nothing was checked"
        return
    if not required.get(form):
        yield f"{form}: no check is known that proves this form"
        return
    made = {f.check for f in findings}
    waived = form in READABLE_FORMS and any(
        f.check == KERNELS and f.outcome is Outcome.WAIVED for f in findings
    )
    for check in sorted(required[form] - made - (WAIVABLE_CHECKS if waived else frozenset())):
        yield f"{form}: {check} was not carried out"
    if form in GRAPH_FORMS and not waived and all(f.measured is None for f in findings):
        yield f"{form}: no number was measured"
    if not verdict.source:
        yield f"{form}: the verdict does not name its source"
    if form in GRAPH_FORMS and not verdict.golden:
        yield f"{form}: the verdict does not name the outputs that it was judged against"


def _finding_reasons(verdict: Verdict) -> Iterator[str]:
    for finding in verdict.findings:
        where = f"{finding.form}: {finding.check} on {finding.subject}"
        if finding.outcome is Outcome.NOT_RUN:
            yield f"{where} was not run: {finding.note or 'no reason given'}"
        elif finding.outcome is Outcome.WAIVED:
            if finding.check != KERNELS:
                yield f"{where} is waived, which only {KERNELS} can be"
            elif finding.form not in READABLE_FORMS:
                yield f"{where} is waived, which no {finding.form} can be"
        elif finding.outcome is not Outcome.PASS:
            yield f"{where} failed{_numbers(finding)}: {finding.note or 'no reason given'}"
        elif _over(finding):
            yield f"{where} is called passed, but is not{_numbers(finding)}"


def _over(finding: Finding) -> bool:
    if finding.measured is None or finding.allowed is None:
        return False
    # Spelled so that NaN counts as over the limit.
    return not finding.measured <= finding.allowed


def _numbers(finding: Finding) -> str:
    if finding.measured is None or finding.allowed is None:
        return ""
    return f" (measured {finding.measured:g}, allowed {finding.allowed:g})"
