"""What the answers of an artifact to all cases, given twice, say about it."""

from collections.abc import Iterator, Sequence

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.batches import check_batch, pairs_of
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.decisions import check_decisions
from ascend_migrate.validators.golden import Golden, Recorded, same_bits
from ascend_migrate.validators.groups import check_groups
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import Answer, compare, distance, limits
from ascend_migrate.validators.tolerances import NOISE_PEAK

PRESENT = "outputs.present"
VARY = "outputs.vary"
REPEATABLE = "calls.repeatable"


def findings(
    form: Form,
    truth: Golden,
    first: Sequence[Outputs | str],
    second: Sequence[Outputs | str],
) -> list[Finding]:
    """Compares the answers of an artifact with the original's.

    Args:
        form: of the artifact.
        truth: the original's answers.
        first: for each case the artifact's outputs, or why the runtime refused.
        second: the same, asked once more after all of ``first``.
    """
    absent = [*_absent(form, truth.cases, first)]
    if absent:
        return absent
    answered = [outputs for outputs in first if not isinstance(outputs, str)]
    later = [outputs for outputs in second if not isinstance(outputs, str)]
    found = [_present(form, truth)]
    pairs = pairs_of(truth.cases)
    for name in truth.cases[0].own:
        answers = [
            given(case, name, outputs[name])
            for case, outputs in zip(truth.cases, answered, strict=True)
        ]
        found += compare(form, name, answers, truth.precision)
        found += check_groups(form, name, answers, truth.precision)
        allowed = _allowed(form, name, truth)
        found += check_decisions(form, name, answers, allowed)
        found += _repeatable(form, name, truth, answered, later, allowed)
        found += check_batch(form, name, truth, answered, allowed, pairs)
    found.append(check_varied(form, truth.cases, answered))
    return found


def _absent(
    form: Form, cases: Sequence[Recorded], first: Sequence[Outputs | str]
) -> Iterator[Finding]:
    """Fails where a case has no answer, or one of other names, sizes or types."""
    seen: set[str] = set()
    for case, outputs in zip(cases, first, strict=True):
        if isinstance(outputs, str):
            note = f"does not run in case {case.name}, which the original does: {outputs}"
            yield Finding(PRESENT, form, f"case {case.name}", Outcome.FAIL, note=note)
            continue
        for name in sorted({*case.own, *outputs}):
            fault = mismatch(case.own.get(name), outputs.get(name))
            if fault and name not in seen:
                seen.add(name)
                note = f"case {case.name}: {fault}"
                yield Finding(PRESENT, form, name, Outcome.FAIL, note=note)


def mismatch(own: Array | None, found: Array | None) -> str:
    """Says how an output is not of the original's name, sizes and type; empty where it is."""
    if own is None:
        return "the original has no such output"
    if found is None:
        return "the artifact has no such output"
    if own.shape != found.shape:
        return f"has the sizes {list(found.shape)}, the original's {list(own.shape)}"
    # NumPy as MindSpore uses it has no bfloat16; float32 holds each of its values exactly.
    widened = own.dtype == numpy_dtype("bfloat16") and found.dtype == np.float32
    if own.dtype != found.dtype and not widened:
        return f"is {found.dtype.name}, the original's {own.dtype.name}"
    return ""


def _present(form: Form, truth: Golden) -> Finding:
    names = list(truth.cases[0].own)
    note = f"{', '.join(names)} in {len(truth.cases)} cases, of the original's sizes and types"
    outcome = Outcome.PASS if names else Outcome.FAIL
    return Finding(PRESENT, form, f"{len(names)} output(s)", outcome, note=note)


def _repeatable(
    form: Form,
    name: str,
    truth: Golden,
    first: Sequence[Outputs],
    second: Sequence[Outputs],
    allowed: Sequence[float],
) -> Iterator[Finding]:
    """The same inputs give the same outputs later, from the original and from the artifact."""
    if len(second) != len(first):
        note = "the artifact ran once and refused to run again"
        yield Finding(REPEATABLE, form, name, Outcome.FAIL, note=note)
        return
    cases = truth.cases
    pairs = {
        "the original": [(c.own[name], c.again[name]) for c in cases],
        "the artifact": [(a[name], b[name]) for a, b in zip(first, second, strict=True)],
    }
    for who, answers in pairs.items():
        for case, limit, (one, other) in zip(cases, allowed, answers, strict=True):
            gap = distance(one, other)
            if not gap <= limit:
                note = (
                    f"{who} answers case {case.name} differently when asked again: it keeps state "
                    "between calls, which no graph does; make that state an input and an output"
                )
                yield Finding(REPEATABLE, form, name, Outcome.FAIL, gap, limit, note)
                return
    equal = all(same_bits(a, b) for group in pairs.values() for a, b in group)
    note = "bit-equal when asked again" if equal else "equal to within its noise when asked again"
    yield Finding(REPEATABLE, form, name, Outcome.PASS, note=note)


def given(case: Recorded, name: str, found: Array) -> Answer:
    """Returns one output of one case beside what the original says about it."""
    low = None if case.low is None else case.low[name]
    return Answer(case.name, case.own[name], (case.exact or case.own)[name], found, low)


def _allowed(form: Form, name: str, truth: Golden) -> list[float]:
    if truth.cases[0].own[name].dtype.kind in "biu":
        return [0.0] * len(truth.cases)
    answers = [given(case, name, case.own[name]) for case in truth.cases]
    return limits(form, answers, NOISE_PEAK, truth.precision)


def check_varied(form: Form, cases: Sequence[Recorded], answered: Sequence[Outputs]) -> Finding:
    """Fails where no output depends on the inputs: equality would then prove nothing."""
    seen: dict[tuple[str, tuple[int, ...]], Array] = {}
    for outputs in answered:
        for name, array in outputs.items():
            other = seen.setdefault((name, array.shape), array)
            if not same_bits(array, other):
                return Finding(VARY, form, name, Outcome.PASS, note="changes with the inputs")
    if len(cases) == 1:
        note = "there is only one case; declare ranges, or give samples"
    else:
        note = "no output changes with the inputs, so that nothing is proved; widen their ranges"
    return Finding(VARY, form, "all outputs", Outcome.FAIL, note=note)
