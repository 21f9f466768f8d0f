"""Several at once: publishers of the same and of different content, and a collector among them."""

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.faults import checker
from tests.faults.harness import (
    Run,
    World,
    begin,
    ends_within,
    finish,
    halted,
    make_job,
    started,
)

pytestmark = pytest.mark.faults

PUBLISHERS = 8


def race(world: World, *commands: tuple[object, ...]) -> list[Run]:
    """Starts all, lets all begin at once, and waits for them."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(*command)) for command in commands]
        for process in processes:
            begin(process)
        return [finish(process) for process in processes]


def test_the_same_content(world: World) -> None:
    for empty in (False, True):
        root = world.fresh(empty=empty)
        runs = race(world, *[("publish", root, world.job)] * PUBLISHERS)
        assert {run.result["digest"] for run in runs} == {world.digest}
        assert {run.result["version"] for run in runs} == {"v1" if empty else "v3"}
        assert [run.result["reused"] for run in runs].count(False) == 1
        world.check(root, empty=empty)
        assert checker.leftovers(root) == []
        assert checker.unlisted(root) == set()
        world.recover(root, empty=empty)


def test_different_content(world: World, tmp_path: Path) -> None:
    jobs = [make_job(tmp_path / str(number), f"racer {number}") for number in range(PUBLISHERS)]
    root = world.fresh()
    collectors = [("gc", root)] * 2
    runs = race(world, *(("publish", root, job) for job in jobs), *collectors)
    versions = {run.result["version"]: run.result["digest"] for run in runs[:PUBLISHERS]}
    assert set(versions) == {f"v{number}" for number in range(3, 3 + PUBLISHERS)}
    assert len(set(versions.values())) == PUBLISHERS
    assert all(run.code == 0 for run in runs)
    world.check(root, new=PUBLISHERS)
    found = checker.versions_of(root)
    assert {f"toy:{version}": digest for version, digest in versions.items()} == {
        name: digest for name, digest in found.items() if name not in ("toy:v1", "toy:v2")
    }
    assert checker.leftovers(root) == []
    assert checker.unlisted(root) == set()
    for number, job in enumerate(jobs):
        alone = world.run("publish", world.fresh(), job).result
        assert alone["digest"] == runs[number].result["digest"]


def test_killed_publishers_do_not_hinder_the_others(world: World) -> None:
    root = world.fresh()
    with ExitStack() as stack:
        processes = [
            stack.enter_context(started("publish", root, world.job)) for _ in range(PUBLISHERS)
        ]
        for process in processes:
            begin(process)
        for process in processes[::2]:
            process.send_signal(signal.SIGKILL)
        runs = [finish(process) for process in processes[1::2]]
    assert {run.result["digest"] for run in runs} == {world.digest}
    world.check(root)
    world.recover(root)


def test_a_collector_takes_nothing_from_a_publisher_at_rest(world: World) -> None:
    """The publisher is halted before each sixth of its calls while the other one collects."""
    calls = world.run("publish", world.fresh(), world.job, fault={}).calls
    waited = 0
    for at in range(1, len(calls) + 1, 6):
        root = world.fresh()
        fault = world.shimmed(root) | {"FAULT_AT": at, "FAULT_ACTION": "stop"}
        with started("publish", root, world.job, **fault) as publisher:
            begin(publisher)
            assert halted(publisher)
            with started("gc", root) as collector:
                begin(collector)
                waited += not ends_within(collector, 0.2)
                publisher.send_signal(signal.SIGCONT)
                assert finish(publisher).result["digest"] == world.digest
                assert finish(collector).code == 0
        world.check(root)
        assert checker.versions_of(root)["toy:v3"] == world.digest
    # It must have met the publisher with the lock, and without it.
    assert 0 < waited < len(calls) / 6
