"""The search on verdicts whose truth is known: sums of harms against a limit."""

import itertools
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.validators.forecast.search import effects, smallest

HARMS = st.lists(st.one_of(st.floats(0, 3), st.just(math.inf)), min_size=1, max_size=9)


def soon() -> float:
    return time.monotonic() + 60


def size(harms: list[float], lowered: frozenset[int]) -> float:
    """Errors that are independent add up as squares."""
    return math.hypot(*(harms[i] for i in lowered))


@given(HARMS)
def test_of_independent_errors_the_set_is_the_smallest_of_all(harms: list[float]) -> None:
    nodes = range(len(harms))
    every = frozenset(nodes)
    alone = effects(nodes, (), lambda lowered: size(harms, lowered) * 100, until=soon())
    order = sorted(nodes, key=lambda i: alone[i], reverse=True)

    def passes(kept: frozenset[int]) -> bool:
        return size(harms, every - kept) <= 1

    found = smallest(order, passes, until=soon())
    assert passes(frozenset(found.kept))
    assert found.minimal
    least = next(
        count
        for count in range(len(harms) + 1)
        if any(passes(frozenset(kept)) for kept in itertools.combinations(nodes, count))
    )
    assert len(found.kept) == least


@given(st.sets(st.integers(0, 99), max_size=6), st.randoms(use_true_random=False))
def test_any_necessary_nodes_are_found_in_few_runs(needed: set[int], random: object) -> None:
    order = list(range(100))
    random.shuffle(order)  # type: ignore[attr-defined]
    asked = 0

    def passes(kept: frozenset[int]) -> bool:
        nonlocal asked
        asked += 1
        return needed <= kept

    found = smallest(order, passes, until=soon())
    assert set(found.kept) == needed
    # Bisection, then halves, quarters, ... of what it left, each once or twice for a needed node.
    assert asked <= 8 + 4 * (len(needed) + 1) * 8


def test_groups_that_do_nothing_are_not_looked_into() -> None:
    asked: list[frozenset[int]] = []

    def effect(lowered: frozenset[int]) -> float:
        asked.append(lowered)
        return 5.0 if 37 in lowered else 0.01

    found = effects(range(64), {1}, effect, until=soon())
    assert max(found, key=lambda i: found[i]) == 37
    assert len(asked) <= 2 * 7 + 1
    assert asked[-1] == {1}


def test_without_time_everything_that_is_known_is_kept() -> None:
    found = smallest(range(10), lambda kept: {0, 1, 2} <= kept, until=time.monotonic() - 1)
    assert not found.minimal
    assert set(found.kept) >= {0, 1, 2}
    late = effects(range(4), {3}, lambda _lowered: 0.5, until=time.monotonic() - 1)
    assert late[3] == math.inf
    assert late[0] == pytest.approx(0.5 / math.sqrt(3))


def test_a_prefix_that_is_known_to_fail_is_not_asked_again() -> None:
    asked: list[frozenset[int]] = []

    def passes(kept: frozenset[int]) -> bool:
        asked.append(kept)
        return {0, 5} <= kept

    found = smallest(range(8), passes, until=soon(), failed=4)
    assert found.kept == (0, 5)
    assert frozenset(range(4)) not in asked
