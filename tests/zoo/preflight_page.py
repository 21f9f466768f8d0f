"""docs/preflight-zoo.md: what CANN's rules say of the architectures, made from preflight.json."""

from collections.abc import Iterator, Mapping

from tests.zoo.preflight import CANN, CHIPS, Found, Result
from tests.zoo.table import FAMILIES

from ascend_migrate.pipeline.cann.generations import load_generation
from ascend_migrate.validators.preflight.preflight import BLOCKING

_KNOWN = load_generation(CANN)
RULES = {rule.id: rule for rule in (*_KNOWN.rules, *_KNOWN.graph_rules)}

AS_IS, REWRITTEN, FIXED = "as it is", "rewritten", "at fixed sizes"
REFUSED, ABSENT = "refused", "no graph"
BAR = "\\|"
"""A bar inside a cell."""

_HEADER = f"""\
# Architectures before CANN's rules

Made by `make zoo-preflight`. Each architecture of [zoo.md](zoo.md) is exported to ONNX (opset 17),
asked of the rules for CANN {CANN} by `ascend-migrate preflight`, rewritten (`onnx-cann`) and asked
once more. The rewritten graph is judged against the original like any other form; it counts as
accepted only where that verdict is a pass. Nothing here has met ATC or a device.

- *{AS_IS}*: nothing would fail or change numbers in the exported graph.
- *{REWRITTEN}*: something would, and nothing does any more after surgery.
- *{FIXED}*: something that depends on sizes cannot be said exactly while they are open; it is
  accepted with every dynamic dimension at its greatest size, as ATC's `--input_shape` wants it.
- *{REFUSED}*: something still would; why stands below.
- *{ABSENT}*: there is none at opset 17, for CANN or for anyone else.

Slow kernels and notes (types that a vendor's page does not list, sizes that are not fixed) are no
refusal; they stand in the last table.
"""


def outcome(result: Result, chip: str) -> str:
    """Returns what became of an architecture on a chip."""
    if not result.exported:
        return ABSENT
    if result.error or result.verdict != "pass" or blocking(result.after[chip]):
        return REFUSED
    if result.refused:
        return FIXED
    return REWRITTEN if blocking(result.before[chip]) else AS_IS


def blocking(found: list[Found]) -> list[Found]:
    """Returns what a graph should not go to ATC with."""
    return [item for item in found if item.effect in BLOCKING]


def page(results: Mapping[str, Result]) -> str:
    """Returns the page for results by architecture."""
    parts = [*_counts(results), *_table(results), *_refused(results), *_rules(results)]
    return "\n".join([_HEADER, *parts, ""])


def _counts(results: Mapping[str, Result]) -> Iterator[str]:
    yield f"| of {len(results)} architectures | {' | '.join(CHIPS)} |"
    yield "| --- | --- | --- | --- |"
    for kind in (AS_IS, REWRITTEN, FIXED, REFUSED, ABSENT):
        counts = [sum(outcome(r, chip) == kind for r in results.values()) for chip in CHIPS]
        yield f"| {kind} | {' | '.join(map(str, counts))} |"
    yield ""


def _table(results: Mapping[str, Result]) -> Iterator[str]:
    yield "## By architecture"
    yield ""
    yield f"| architecture | {' | '.join(CHIPS)} | what surgery answered |"
    yield "| --- | --- | --- | --- | --- |"
    for entries in FAMILIES.values():
        for name in entries:
            result = results.get(name)
            if result is None:
                continue
            said = " | ".join(outcome(result, chip) for chip in CHIPS)
            yield f"| {name} | {said} | {_answered(result)} |"
    yield ""


def _answered(result: Result) -> str:
    """Returns the rules that struck before and do not any more, with their operators."""
    gone = {
        (item.rule, item.op_type)
        for chip in result.after
        for item in blocking(result.before[chip])
        if item.rule not in {left.rule for left in blocking(result.after[chip])}
    }
    return ", ".join(f"`{rule}` ({op_type})" for rule, op_type in sorted(gone))


def _refused(results: Mapping[str, Result]) -> Iterator[str]:
    yield "## Not accepted as exported, and why"
    yield ""
    yield "| architecture | outcome | chips | reason |"
    yield "| --- | --- | --- | --- |"
    for name, result in results.items():
        for kind in (FIXED, REFUSED, ABSENT):
            chips = [chip for chip in CHIPS if outcome(result, chip) == kind]
            if chips:
                why = result.refused if kind == FIXED else _why(result, chips[0])
                yield f"| {name} | {kind} | {', '.join(chips)} | {why.replace('|', BAR)} |"
    yield ""


def _why(result: Result, chip: str) -> str:
    if result.error:
        return result.error
    left = [
        f"`{item.rule}`: {item.op_type} {item.says}; to do: {RULES[item.rule].remedy}"
        for item in blocking(result.after[chip])
    ]
    if result.verdict != "pass":
        left.append(f"the verdict is {result.verdict}")
    return "; ".join(left)


def _rules(results: Mapping[str, Result]) -> Iterator[str]:
    yield "## Slow kernels and notes after surgery"
    yield ""
    yield f"| rule | effect | operator | {' | '.join(CHIPS)} | what to do |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    met: dict[tuple[str, str, str], dict[str, int]] = {}
    for result in results.values():
        for chip, found in result.after.items():
            for item in found:
                if item.effect not in BLOCKING:
                    key = (item.rule, item.effect, item.op_type)
                    counts = met.setdefault(key, {})
                    counts[chip] = counts.get(chip, 0) + 1
    for (rule, effect, op_type), counts in sorted(met.items()):
        numbers = " | ".join(str(counts.get(chip, 0)) for chip in CHIPS)
        yield f"| `{rule}` | {effect} | {op_type} | {numbers} | {RULES[rule].remedy} |"
    yield ""
