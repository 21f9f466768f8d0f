"""Asking an artifact no further once its answers are clearly those of another function.

Only ever on the way to a FAIL: each case that counts here is one that the comparison of all cases
refuses as well, by the same limits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators import calls
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.golden import Golden, Recorded, same_bits
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.outputs import CLOSE, filled, limits, mean_square, wide
from ascend_migrate.validators.tolerances import CLEAR, CLEAR_CASES, NOISE_RMS

Ask = Callable[[Feeds], Outputs | str]
"""Returns the artifact's outputs, or why the runtime refused the inputs."""


def first_pass(form: Form, truth: Golden, ask: Ask) -> tuple[list[Outputs | str], list[Finding]]:
    """Asks case after case, and stops after `CLEAR_CASES` that fail clearly.

    A refusal never stops it, because which cases are refused says why. Nor do answers that do not
    change with the inputs, or an original that answers otherwise when asked again: those are causes
    which the other checks name.

    Returns:
        The answers and, where it stopped, what to say in place of any other comparison: for each
        output the first case that fails clearly, each a FAIL.
    """
    answers: list[Outputs | str] = []
    found: dict[tuple[str, str], Finding] = {}
    failing = 0
    for place, case in enumerate(truth.cases):
        answer = ask(case.feeds)
        answers.append(answer)
        if isinstance(answer, str) or not _repeats_itself(case):
            continue
        clear = [*_failures(form, truth, place, answer)]
        found |= {(item.check, item.subject): item for item in clear} | found
        failing += bool(clear)
        last = len(answers) == len(truth.cases)
        if failing >= CLEAR_CASES.value and not last and _varies(form, truth, answers):
            said = f"so clear that only {len(answers)} of {len(truth.cases)} cases were asked"
            return answers, [replace(item, note=f"{item.note}; {said}") for item in found.values()]
    return answers, []


def _failures(form: Form, truth: Golden, place: int, answer: Outputs) -> Iterator[Finding]:
    """Yields what one answer clearly fails by."""
    case = truth.cases[place]
    for name in sorted({*case.own, *answer}):
        fault = calls.mismatch(case.own.get(name), answer.get(name))
        if fault:
            note = f"case {case.name}: {fault}"
            yield Finding(calls.PRESENT, form, name, Outcome.FAIL, note=note)
        elif case.own[name].dtype.kind not in "biu" and _is_far(case.own[name], answer[name]):
            yield from _far(form, truth, place, name, answer[name])


def _is_far(own: Array, found: Array) -> bool:
    """Whether an answer may be clearly wrong, at little cost: most answers are not."""
    right, wrong = wide(own), wide(found)
    with np.errstate(over="ignore", invalid="ignore"):
        return not mean_square(wrong - right) <= CLEAR.value / 2 * mean_square(right)


def _far(form: Form, truth: Golden, place: int, name: str, found: Array) -> Iterator[Finding]:
    case = truth.cases[place]
    strange = int(np.count_nonzero(np.isfinite(wide(case.own[name])) & ~np.isfinite(wide(found))))
    if strange:
        note = f"case {case.name}: {strange} of {found.size} elements are NaN or infinite here only"
        yield Finding(CLOSE, form, name, Outcome.FAIL, note=note)
        return
    own, _, exact, answered = filled(calls.given(case, name, found))
    kept = np.isfinite(own) & np.isfinite(answered)
    with np.errstate(over="ignore", invalid="ignore"):
        error, size = mean_square((answered - exact)[kept]), mean_square(exact[kept])
    known = [calls.given(c, name, c.own[name]) for c in truth.cases]
    limit = limits(form, known, NOISE_RMS, truth.precision)[place]
    if error > CLEAR.value * size and error > limit:
        scale = size or 1.0
        note = f"case {case.name}"
        yield Finding(CLOSE, form, name, Outcome.FAIL, error / scale, limit / scale, note)


def _varies(form: Form, truth: Golden, answers: Sequence[Outputs | str]) -> bool:
    """Whether the answers are known to depend on the inputs."""
    told = [answer for answer in answers if not isinstance(answer, str)]
    return calls.check_varied(form, truth.cases, told).outcome is Outcome.PASS


def _repeats_itself(case: Recorded) -> bool:
    return all(same_bits(array, case.again[name]) for name, array in case.own.items())
