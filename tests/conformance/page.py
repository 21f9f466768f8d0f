"""docs/conformance.md: what the last whole run came to, made from results.json."""

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx
from tests.conformance.attempt import PURE, SPECIALISED, Result
from tests.conformance.categories import EXCLUDED, SECONDARY

_RELEASE = onnx.__version__.rpartition(".")[0]
_HEADER = f"""\
# ONNX backend tests through MindIR

Made by `make conformance` from the tests that ship inside onnx {_RELEASE}: convert, write the file,
load it into MindSpore on the CPU, run it, compare with the expected values.

- *pure*: the model as it is, computed by MindSpore.
- *specialised*: an integer input that is a parameter (axes, a shape, k) was made a constant first.
- *vacuous*: no primitive computes the answer, as where only a static size is asked for; no pass.
- *refused*: MindSpore's CPU has no kernel of that element type; what Ascend has was not tried.
"""


def page(results: Mapping[str, tuple[str, Result]]) -> str:
    """Returns the page for results by test, each with its category."""
    return "\n".join([_HEADER, *_counts(results), "", *_excluded(), "", *_unpassed(results), ""])


def share(results: Mapping[str, tuple[str, Result]], category: str, *outcomes: str) -> float:
    """Returns the share of a category's tests that ended in one of the outcomes."""
    found = [result.outcome for kind, result in results.values() if kind == category]
    return sum(outcome in outcomes for outcome in found) / len(found)


def _counts(results: Mapping[str, tuple[str, Result]]) -> Iterator[str]:
    yield "| category | tests | pass | of these pure | not |"
    yield "| --- | --- | --- | --- | --- |"
    for category in ("core", *SECONDARY):
        found = Counter(r.outcome for kind, r in results.values() if kind == category)
        passed = found[PURE] + found[SPECIALISED]
        rest = {k: n for k, n in sorted(found.items()) if k not in (PURE, SPECIALISED)}
        total = sum(found.values())
        yield (
            f"| {category} | {total} | {passed} ({passed / total:.1%}) | "
            f"{found[PURE]} ({found[PURE] / total:.1%}) | "
            f"{', '.join(f'{n} {k}' for k, n in rest.items())} |"
        )


def _excluded() -> Iterator[str]:
    yield "Left out whole:"
    yield ""
    for name, reason in EXCLUDED.items():
        yield f"- {name}: {reason}"


def _unpassed(results: Mapping[str, tuple[str, Result]]) -> Iterator[str]:
    yield "| test | outcome | reason |"
    yield "| --- | --- | --- |"
    for name, (_, result) in sorted(results.items()):
        if not result.passed:
            note = " ".join(result.note.split()).replace("|", "\\|")
            # Scratch folders have a new name each time, and say nothing.
            note = note.partition("model.mindir: ")[2] or note
            yield f"| {name} | {result.outcome} | {note[:200]} |"
