"""One fault at every call that changes the disk, until a run ends by itself."""

import errno
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest
from tests.faults import checker
from tests.faults.harness import KILLED, World

pytestmark = pytest.mark.faults

CASES: dict[str, tuple[tuple[str, ...], int]] = {
    # Command, and how many calls it makes at least: fewer, and the shim would have missed some.
    "first publication": (("publish", "JOB"), 90),
    "publication": (("publish", "JOB"), 90),
    "promotion": (("promote", "toy:v2"), 4),
    "collection": (("gc",), 5),
}


def prepare(world: World, case: str) -> tuple[str, Path, *tuple[object, ...]]:
    """Returns the command and the registry that it is for."""
    (command, *rest), _ = CASES[case]
    root = world.fresh(empty=case == "first publication")
    if case == "collection":
        (root / ".tmp-dead/sub").mkdir(parents=True)
        (root / ".tmp-dead/sub/file").write_bytes(b"x")
        data = b"listed by nobody"
        (root / "blobs/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    return command, root, *(world.job if word == "JOB" else word for word in rest)


def allowed(case: str) -> dict[str, Any]:
    """What the check of a registry must know about the command."""
    return {
        "empty": case == "first publication",
        "moving": "toy:prod" if case == "promotion" else "",
    }


@pytest.mark.parametrize("case", CASES)
def test_killed(world: World, case: str) -> None:
    for at in itertools.count(1):
        command = prepare(world, case)
        run = world.run(*command, fault={"FAULT_AT": at, "FAULT_ACTION": "kill"})
        if run.code == 0:
            break
        assert run.code == KILLED
        assert run.calls[-1].number == at
        world.check(command[1], **allowed(case))
        if case in ("promotion", "collection"):
            assert world.run(*command).code == 0
        # Once the layout is there, a first publication passes through the states of any other.
        if at % 4 == 0 or case != "first publication" or not (command[1] / "oci-layout").exists():
            world.recover(command[1], **allowed(case))
    assert at - 1 == len(run.calls) >= CASES[case][1]


def test_refused_by_the_system(world: World) -> None:
    """The command ends by itself, says so in one line, and tidies up."""
    harmless = 0
    for at in itertools.count(1):
        command = prepare(world, "publication")
        run = world.run(*command, fault={"FAULT_AT": at, "FAULT_ACTION": int(errno.EIO)})
        if len(run.calls) < at:
            break
        world.check(command[1])
        if run.code == 0:  # a clean-up, or Python's copying, which has a second way
            harmless += 1
            assert run.result["digest"] == world.digest
        else:
            assert run.failed_properly(), run.err
            assert "Input/output error" in run.err
            assert checker.leftovers(command[1]) == []
        if at % 4 == 0:  # every killed run recovers as well
            world.recover(command[1])
    assert at - 1 == len(run.calls) >= CASES["publication"][1]
    assert run.code == 0
    assert harmless < at / 4
