"""docs/cann.md: the rewrites, and what the last whole run of ONNX's backend tests came to."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import onnx

from ascend_migrate.converters.cann.registry import answers

if TYPE_CHECKING:
    from tests.cann.run import Row

_RELEASE = onnx.__version__.rpartition(".")[0]
_MEANINGS = {
    "same": "the same is computed before and after",
    "refused": "a node is named that cannot be said exactly, or that opset 17 does not have",
    "unjudged": "written, but nothing computes it",
    "wrong": "other numbers",
    "broken": "a defect of the converter",
}
_HEADER = """\
# The form for CANN

`onnx-cann` is the ONNX form once more, rewritten so that CANN's parser (ATC) reads it as ONNX means
it: opset 17 or older, only operators that the parser registers, and no attribute that it ignores.
It shares `model.safetensors` with the other forms and is judged by onnxruntime like the ONNX form.
It is made when it is asked for: `--to onnx-cann`, or `to = ["onnx-cann"]`.

What cannot be said exactly is refused, all such nodes in one message. What only the vendor's pages
advise against (a kernel above 255, a picture wider than 4096) is left as it is, for `preflight`
knows the chip and the version of CANN, and the graph does not. What whole architectures come to is
in [preflight-zoo.md](preflight-zoo.md).

Every operator that CANN registers and every rule has a small model of its own: what the preflight
says of it, what becomes of it, and the same numbers before and after (tests/cann/test_operators.py,
test_rewrites.py); a rule without one fails tests/cann/test_complete.py.

Nothing here has met the real ATC: the rules are those of `pipeline/cann/`, read from the parser's
sources and from the vendor's pages.

## The rewrites

One function each in `converters/cann/`, named after the rule that it answers. Integer results, and
what is moved or chosen, are equal bit by bit to onnxruntime's; sums of products differ by rounding.

What opsets above 17 brought (antialias and the like in Resize, dilated averages, RMSNormalization,
Attention, Gelu, ...) is written out before, for every form, and what opset 17 has beyond 13 to 16
where `[onnx] opset` asks for one of these: `converters/onnx_opset_*.py`.

| rule | operators | becomes |
| --- | --- | --- |
"""


def page(results: "Mapping[str, Row]") -> str:
    """Returns the page for results by test."""
    parts = [*_rewrites(), "", *_counts(results), "", *_told(results), "", *_refused(results), ""]
    return _HEADER + "\n".join(parts)


def _rewrites() -> Iterator[str]:
    for answer in answers():
        yield f"| `{answer.rule}` | {', '.join(answer.operators)} | {answer.says} |"


def _counts(results: "Mapping[str, Row]") -> Iterator[str]:
    yield f"""\
## ONNX's backend tests

Made by `make cann` from the {len(results)} tests that ship inside onnx {_RELEASE}: brought to opset
17, rewritten, checked, run before and after. An input that is a parameter (axes, a shape, k) is
made a constant where the model is refused without that. onnxruntime computes both; where it has no
kernel (bfloat16, some integers), ONNX's own reference evaluator does. Generators of random numbers
are given one seed in both graphs.

| outcome | tests | meaning |
| --- | --- | --- |"""
    found = Counter(row.outcome for row in results.values())
    for outcome, meaning in _MEANINGS.items():
        yield f"| {outcome} | {found[outcome]} | {meaning} |"
    changed = sum(1 for row in results.values() if row.rewritten and row.outcome == "same")
    yield f"\nOf the models that stayed the same, surgery rewrote {changed}."


def _told(results: "Mapping[str, Row]") -> Iterator[str]:
    found = Counter(rule for row in results.values() for rule in row.told)
    yield """\
## What is left to the preflight

Rules that strike a model after surgery, for a chip of the family Ascend910B. They are read twice,
by the preflight and by tests/cann/reread.py, which shares no code with it; where the two differ,
the test counts as broken. A float's remainder is taken of magnitudes, on which both definitions
agree, so that `mod-fmod` does not strike it.

| rule | tests |
| --- | --- |"""
    yield from (f"| `{rule}` | {count} |" for rule, count in sorted(found.items()))


def _refused(results: "Mapping[str, Row]") -> Iterator[str]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, row in sorted(results.items()):
        if row.outcome == "refused":
            reasons[_reason(row.note)].append(name)
    yield "## What was refused\n\n| reason | tests | such as |\n| --- | --- | --- |"
    for reason, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"| {reason} | {len(names)} | {names[0]} |"


def _reason(note: str) -> str:
    """Returns the reason without the names of nodes."""
    text = note.partition("; ")[0].replace("|", "\\|")
    text = re.sub(r"^checker: (\[\w+\] )?(Inference error\(s\): )?", "by onnx.checker: ", text)
    text = re.sub(r", node name: [^)]*\)", ")", text)
    return re.sub(r"^[^ ]* \(", "(", text) if not text.startswith("by onnx") else text
