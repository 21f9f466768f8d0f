"""docs/power.md: what the last whole run came to, made from results.json."""

from collections.abc import Iterator, Mapping

from tests.power.peers import RULES
from tests.power.results import Counts, Result, Row, rows_of, total
from tests.power.trials import GRAPH, WEIGHTS

_HEADER = """\
# Detection power

Made by `make power`. A verdict is worth as much as what it would have seen. So faults are planted
in correct conversions of the six public models and of small ones with weights of trained size, and
each is judged by the checks of every migration, at the default number of cases (two of the models
at smaller sizes than elsewhere). A graph that does not load or run with a fault is left out: that
hides nowhere. `ascend-migrate selftest` does the same with any artifact.

**Above the noise floor** is a fault that changes the outputs by more than the original's own
rounding does. That is decided without the judged inputs and without the judge: the graph is
computed in float64 with and without the fault, on inputs of another seed, and the distance is
compared with that between the original and its float64 twin. What is below is listed at the end;
most of it is no fault at all, such as another bias of keys under a softmax. A fault in a weight
that none of those inputs reaches counts as above.

*With the ledger* is the verdict. *Outputs alone* is what the comparison of outputs sees without
the ledger, *ledger alone* the other way round; a fault in the graph is in no ledger.
"""

_PEERS = """\
## The same faults under fixed tolerances

The rules of three peers, on all of our cases (their own inputs are fewer and weaker), between the
outputs of the original and of the artifact in the same run; an answer that is NaN or missing counts
as seen. msprobe's rule refuses where cosine < 0.99 and the largest difference > 0.001, where cosine
< 0.9, or where the largest difference > 1.
"""


def page(results: Mapping[str, Result], sections: tuple[str, ...] = ()) -> str:
    """Returns the page.

    Args:
        results: by model.
        sections: what other measurements say, as Markdown.
    """
    parts = [_HEADER, *_totals(results), *_models(results), *_peers(results), *_kinds(results)]
    return "\n".join([*parts, *sections, *_unseen(results), ""])


def share(part: int, whole: int) -> str:
    """Returns a share in percent, never rounded up to 100."""
    if not whole:
        return "-"
    return f"{part / whole:.1%}" if part == whole else f"{min(part / whole, 0.9999):.2%}"


def _cells(counts: Counts) -> str:
    shares = (counts.fail, counts.outputs, counts.ledger)
    said = " | ".join(f"{share(part, counts.above)} ({part})" for part in shares)
    return f"{counts.planted} | {counts.above} | {said}"


def _heading(first: str) -> Iterator[str]:
    cells = ("planted", "above the floor", "with the ledger", "outputs alone", "ledger alone")
    yield f"| {first} | {' | '.join(cells)} |"
    yield "| --- |" + " --- |" * len(cells)


def _totals(results: Mapping[str, Result]) -> Iterator[str]:
    yield from _heading("faults in")
    rows = [*rows_of(results.values())]
    for group in (WEIGHTS, GRAPH):
        yield f"| {group} | {_cells(total(row for row in rows if row.group == group))} |"
    yield f"| all | {_cells(total(rows))} |"
    yield ""


def _models(results: Mapping[str, Result]) -> Iterator[str]:
    yield from _heading("model")
    for name, result in results.items():
        yield f"| {name} | {_cells(total(result.rows))} |"
    yield ""


def _peers(results: Mapping[str, Result]) -> Iterator[str]:
    yield _PEERS
    yield "| rule | in weights | in the graph | all | sound models refused |"
    yield "| --- | --- | --- | --- | --- |"
    rows = [*rows_of(results.values())]
    groups: list[list[Row]] = [
        [row for row in rows if row.group == WEIGHTS],
        [row for row in rows if row.group == GRAPH],
        rows,
    ]
    counts = [total(group) for group in groups]
    ours = " | ".join(f"{share(c.fail, c.above)}" for c in counts)
    yield f"| this project | {ours} | 0 |"
    alone = " | ".join(f"{share(c.outputs, c.above)}" for c in counts)
    yield f"| this project, outputs alone | {alone} | 0 |"
    for rule in RULES:
        seen = " | ".join(f"{share(c.peers[rule], c.above)}" for c in counts)
        alarms = sum(rule in result.alarms for result in results.values())
        yield f"| {rule} | {seen} | {alarms} |"
    yield ""


def _kinds(results: Mapping[str, Result]) -> Iterator[str]:
    yield "## By kind"
    yield ""
    peers = " | ".join(RULES)
    yield f"| in | fault | above the floor | with the ledger | outputs alone | {peers} |"
    yield "| --- | --- | --- | --- | --- |" + " --- |" * len(RULES)
    kinds: dict[tuple[str, str], Counts] = {}
    for row in rows_of(results.values()):
        kinds.setdefault((row.group, row.kind), Counts()).add(row.counts)
    for (group, kind), counts in sorted(kinds.items(), reverse=True):
        seen = [counts.fail, counts.outputs, *counts.peers.values()]
        shares = " | ".join(share(part, counts.above) for part in seen)
        yield f"| {group} | {kind} | {counts.above} | {shares} |"
    yield ""


def _unseen(results: Mapping[str, Result]) -> Iterator[str]:
    sections = (
        ("Above the floor, and PASS", True, False),
        ("Above the floor, and seen by the ledger alone", True, True),
        ("Below the floor", False, False),
    )
    every = [(name, item) for name, result in results.items() for item in result.unseen]
    for title, above, fail in sections:
        found = [
            (name, item)
            for name, item in every
            if item.above == above and (item.fail == fail or not above)
        ]
        yield f"## {title}"
        yield ""
        if not found:
            yield "None."
            yield ""
            continue
        yield "| model | in | fault | place | what | why |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for name, item in found:
            cells = (name, item.group, item.kind, item.place, item.note, item.reason)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield ""
