"""The search for the fewest nodes that must stay in float32, in few runs.

It assumes that keeping more never makes it worse. Then a node that spoils the outputs when it alone
is lowered is in every set that passes, and how much each one alone does is a good order for the
rest: small errors add up like independent ones.
"""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

NEGLIGIBLE = 0.1
"""Share of the limit up to which a group of nodes is not looked into: errors add up as squares, so
that it takes a hundred such groups to reach the limit."""

Effect = Callable[[frozenset[int]], float]
"""How much of the limit the outputs use if only these nodes are lowered; above 1 they fail."""

Passes = Callable[[frozenset[int]], bool]
"""Whether the model passes with these nodes kept in float32."""


@dataclass(frozen=True, slots=True)
class KeepSet:
    """What the search found.

    Attributes:
        kept: places of the nodes; with them the model passes.
        minimal: whether none of them can be left out; False where time ran out.
    """

    kept: tuple[int, ...]
    minimal: bool


def effects(
    nodes: Sequence[int], alone: Collection[int], effect: Effect, *, until: float
) -> dict[int, float]:
    """Returns what each node does alone, or its share of what its group does.

    Args:
        nodes: in the order of the graph.
        alone: those of them that are asked about one by one, and after the others.
        effect: is asked about groups of neighbours, and about halves of those that matter.
        until: `time.monotonic` after which groups are not divided any more, and those of ``alone``
            are taken to do without bound.
    """
    found: dict[int, float] = {}
    together = tuple(node for node in nodes if node not in alone)
    groups = [together] if together else []
    while groups:
        group = groups.pop(0)
        size = effect(frozenset(group))
        if len(group) > 1 and size > NEGLIGIBLE and time.monotonic() < until:
            middle = len(group) // 2
            groups += [group[:middle], group[middle:]]
        else:
            found |= dict.fromkeys(group, size / len(group) ** 0.5)
    for node in sorted(alone):
        found[node] = effect(frozenset({node})) if time.monotonic() < until else math.inf
    return found


def smallest(order: Sequence[int], passes: Passes, *, until: float, failed: int = 0) -> KeepSet:
    """Returns a set that passes and of which nothing can be left out.

    Args:
        order: nodes, the most harmful first; with all of them kept the model passes.
        passes: the verdict.
        until: `time.monotonic` after which the best set so far is returned.
        failed: how many of the first are known not to be enough.
    """
    kept = list(order[: _prefix(order, passes, until, failed)])
    chunk = max(len(kept) // 2, 1)
    while kept and time.monotonic() < until:
        # From the least harmful on: what is left out first decides what must stay.
        end, left_out = len(kept), False
        while end > 0 and time.monotonic() < until:
            start = max(0, end - chunk)
            rest = kept[:start] + kept[end:]
            if passes(frozenset(rest)):
                kept, left_out = rest, True
            end = start
        if chunk == 1 and not left_out and end == 0:
            return KeepSet(tuple(sorted(kept)), minimal=True)
        chunk = max(chunk // 2, 1)
    return KeepSet(tuple(sorted(kept)), minimal=not kept)


def _prefix(order: Sequence[int], passes: Passes, until: float, failed: int) -> int:
    """Returns the length of a prefix that passes: the shortest one, if time allows."""
    low, high = failed, len(order)  # ``low`` does not pass, ``high`` does
    step = 1
    while low + step < high:  # a few runs, whatever the time: all would be far too many to keep
        if passes(frozenset(order[: low + step])):
            high = low + step
            break
        low, step = low + step, step * 2
    while high - low > 1 and time.monotonic() < until:
        middle = (low + high) // 2
        if passes(frozenset(order[:middle])):
            high = middle
        else:
            low = middle
    return high
