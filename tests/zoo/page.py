"""docs/zoo.md: what the last whole run came to, made from results.json."""

from collections.abc import Iterator, Mapping

from tests.zoo.attempt import FORMS, PASS, Result
from tests.zoo.entry import LIBRARY
from tests.zoo.table import ARCHITECTURES, FAMILIES

_HEADER = f"""\
# Architectures

Made by `make zoo-page`. Each model is small and has random weights of trained size. It goes the way
of every migration: its checkpoint is exported to ONNX, converted to MindIR, and both are judged
against the original at the shortest, the longest and other sizes of every dynamic dimension. PASS
means that the version entered the registry. Forms: {", ".join(FORMS)}. `make zoo` does it again.
"""


def page(results: Mapping[str, Result]) -> str:
    """Returns the page for results by architecture."""
    return "\n".join([_HEADER, *_counts(results), *_causes(results), *_families(results), ""])


def share(results: Mapping[str, Result]) -> float:
    """Returns the share of the architectures that pass."""
    return sum(result.outcome == PASS for result in results.values()) / len(results)


def _counts(results: Mapping[str, Result]) -> Iterator[str]:
    yield "| family | architectures | pass |"
    yield "| --- | --- | --- |"
    for family, entries in FAMILIES.items():
        passed = sum(results[name].outcome == PASS for name in entries if name in results)
        yield f"| {family} | {len(entries)} | {passed} |"
    passed = sum(result.outcome == PASS for result in results.values())
    yield f"| all | {len(results)} | {passed} ({share(results):.1%}) |"
    yield ""


def _causes(results: Mapping[str, Result]) -> Iterator[str]:
    yield "Not passed, and why:"
    yield ""
    yield "| architecture | outcome | reason |"
    yield "| --- | --- | --- |"
    for name, result in results.items():
        if result.outcome != PASS:
            reason = result.note.replace("|", "\\|")
            yield f"| {name} | {result.outcome} | {reason} |"
    yield ""


def _families(results: Mapping[str, Result]) -> Iterator[str]:
    for family, entries in FAMILIES.items():
        yield f"## {family.capitalize()}"
        yield ""
        yield "| architecture | class | parameters | calls | verdict | seconds |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for name in entries:
            result = results.get(name)
            if result is not None:
                yield (
                    f"| {name} | {_said(name)} | {result.parameters} | {result.cases} | "
                    f"{result.outcome} | {result.seconds:.0f} |"
                )
        yield ""


def _said(name: str) -> str:
    entry = ARCHITECTURES[name]
    return f"transformers {entry.model}" if entry.code == LIBRARY else entry.model
