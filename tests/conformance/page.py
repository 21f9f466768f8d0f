"""docs/conformance.md: what the last whole run came to, made from results.json."""

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx
from tests.conformance.attempt import LEFT_OUT, PURE, SPECIALISED, Result
from tests.conformance.categories import EXCLUDED, SECONDARY
from tests.conformance.suite import FOLDER_SUITES

Results = Mapping[str, tuple[str, Result]]
"""Category and result by the name of the test."""

_RELEASE = onnx.__version__.rpartition(".")[0]
_HEADER = f"""\
# ONNX backend tests through MindIR

Made by `make conformance` from the tests that ship inside onnx {_RELEASE}: convert, write the file,
load it into MindSpore on the CPU, run it, compare with the expected values. Beside the node tests,
whose core is frozen in tests/conformance/core.txt, these are the suites
{", ".join(FOLDER_SUITES)}.

- *pure*: the model as it is, computed by MindSpore.
- *specialised*: an input that is a parameter (axes, a shape, k, scales) was made a constant first,
  or, in the category *sequence*, the tensors of a sequence were given and returned one by one.
- *vacuous*: no primitive computes the answer, as where only a static size is asked for; no pass.
  Copying counts as computing: where an output is an input, Identity makes it.
- *refused*: MindSpore's CPU refuses to run it; what Ascend has was not tried.

bfloat16 is run as the judge runs it: where MindSpore's CPU lacks a kernel, by the float32 twin of
validators/mindir_twin.py, which rounds every result to bfloat16 at once.
"""


def page(results: Results) -> str:
    """Returns the page for results by test, each with its category."""
    parts = [_HEADER, *_counts(results), "", *_unpassed(results), "", *_excluded(results)]
    return "\n".join(parts)


def share(results: Results, category: str, *outcomes: str) -> float:
    """Returns the share of a category's tests that ended in one of the outcomes."""
    found = [result.outcome for kind, result in results.values() if kind == category]
    return sum(outcome in outcomes for outcome in found) / len(found)


def _counts(results: Results) -> Iterator[str]:
    yield "| category | tests | pass | of these pure | not |"
    yield "| --- | --- | --- | --- | --- |"
    for category in ("core", *SECONDARY, *FOLDER_SUITES):
        found = Counter(r.outcome for kind, r in results.values() if kind == category)
        passed = found[PURE] + found[SPECIALISED]
        rest = {k: n for k, n in sorted(found.items()) if k not in (PURE, SPECIALISED)}
        total = sum(found.values())
        yield (
            f"| {category} | {total} | {passed} ({passed / total:.1%}) | "
            f"{found[PURE]} ({found[PURE] / total:.1%}) | "
            f"{', '.join(f'{n} {k}' for k, n in rest.items())} |"
        )


def _unpassed(results: Results) -> Iterator[str]:
    yield "| test | category | outcome | reason |"
    yield "| --- | --- | --- | --- |"
    for name, (category, result) in sorted(results.items()):
        if not result.passed and result.outcome != LEFT_OUT:
            note = " ".join(result.note.split()).replace("|", "\\|")
            # Scratch folders have a new name each time, and say nothing.
            note = note.partition("model.mindir: ")[2] or note
            yield f"| {name} | {category} | {result.outcome} | {note[:200]} |"


def _excluded(results: Results) -> Iterator[str]:
    yield "## Left out"
    for category, reason in EXCLUDED.items():
        names = sorted(name for name, (kind, _) in results.items() if kind == category)
        yield from ("", f"{category} ({len(names)} tests): {reason}", "")
        yield from (f"- {name}" for name in names)
    yield ""
