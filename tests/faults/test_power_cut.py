"""What fsync is for: everything is on the disk before the name that makes it count.

Both tests run a second time with fsync turned off, and must fail then: otherwise they would prove
nothing.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePath

import pytest
from tests.faults import checker
from tests.faults.harness import Call, World, can_mount, mounted

pytestmark = pytest.mark.faults


def unsynced(calls: Sequence[Call], root: Path) -> list[str]:
    """Returns what got its final name, or let the index name it, before it was on the disk."""
    files: set[str] = set()
    folders: set[str] = set()
    faults = []
    for call in calls:
        entry = PurePath(call.new or call.path)
        # Who is called by a temporary name, or a lock, may be lost.
        folder = set() if entry.name.startswith((".tmp-", ".lock-")) else {str(entry.parent)}
        if call.name == "fsync":
            files.discard(call.path)
            folders.discard(call.path)
        elif call.name in ("write", "create"):
            files.add(call.path)
            folders |= folder
        elif call.name == "mkdir":
            folders |= folder
        elif call.name == "rename":
            inside = {p for p in files | folders if p == call.path or p.startswith(call.path + "/")}
            if not temporary(call.new, root):
                faults += [f"{path} was renamed to {call.new} first" for path in sorted(inside)]
            if call.new == str(root / "index.json"):
                faults += [f"{path} was indexed first" for path in sorted(lasting(folders, root))]
            files = {path.replace(call.path, call.new, 1) for path in files}
            folders = {path.replace(call.path, call.new, 1) for path in folders} | folder
    return faults + [f"{path} never" for path in sorted(lasting(folders | files, root))]


def temporary(path: str, root: Path) -> bool:
    return any(part.startswith(".tmp-") for part in PurePath(path).relative_to(root).parts)


def lasting(paths: set[str], root: Path) -> set[str]:
    """Leaves out temporary places and locks, which may be lost."""
    inside = {path for path in paths if path.startswith(f"{root}/") or path == str(root)}
    return {p for p in inside if not temporary(p, root) and "/.lock-" not in p}


@pytest.mark.parametrize("empty", [False, True])
def test_everything_is_synced_before_it_counts(world: World, empty: bool) -> None:
    root = world.fresh(empty=empty)
    run = world.run("publish", root, world.job, fault={})
    assert run.result["digest"] == world.digest
    renames = [call for call in run.calls if call.name == "rename"]
    assert len(renames) >= 20
    assert sum(call.name == "fsync" for call in run.calls) >= 20
    assert unsynced(run.calls, root) == []


def test_without_fsync_that_test_fails(world: World) -> None:
    root = world.fresh()
    run = world.run("publish", root, world.job, fault={"FAULT_NO_SYNC": 1})
    assert run.result["digest"] == world.digest
    assert sum(call.name == "unsynced" for call in run.calls) >= 20
    assert not any(call.name == "fsync" for call in run.calls)
    assert len(unsynced(run.calls, root)) >= 20


@pytest.mark.skipif(not can_mount(), reason="a private mount needs root and unshare")
@pytest.mark.parametrize("synced", [True, False])
def test_the_power_fails_after_the_command(world: World, tmp_path: Path, synced: bool) -> None:
    """What the disk holds then is mounted again: the journal is replayed, as at a boot."""
    image, copy = tmp_path / "image", tmp_path / "copy"
    with image.open("wb") as stream:
        stream.truncate(32 << 20)
    subprocess.run([str(shutil.which("mkfs.ext4")), "-q", "-F", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        root = world.fresh(at=disk / "registry")
        os.sync()
        fault = {} if synced else {"FAULT_NO_SYNC": 1, "FAULT_ROOT": ""}
        run = world.run("publish", root, world.job, fault=fault)
        assert run.result["digest"] == world.digest
        shutil.copy(image, copy)
    with mounted(tmp_path / "after", "-o", "loop", str(copy)) as disk:
        root = disk / "registry"
        found = checker.problems(root, world.before)
        whole = found == [] and checker.versions_of(root).get("toy:v3") == world.digest
        assert whole is synced
