"""The disk is full: by a limit of the process, and really."""

import errno
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults import checker
from tests.faults.harness import World, can_mount, mounted
from tests.pipeline.limits import files_of_at_most

pytestmark = pytest.mark.faults

PAGE = 4096


@pytest.mark.parametrize("size", [0, 1, 10, 100, 500, 1000, 1500, 2000, 3000, 5000, 10_999])
def test_files_are_limited(world: World, size: int) -> None:
    """11,000 bytes have the weights; index, manifests and reports some hundreds and more."""
    root = world.fresh()
    with files_of_at_most(size):
        run = world.run("publish", root, world.job)
    assert run.failed_properly(), run
    assert "File too large; free space" in run.err
    assert str(root) in run.err
    assert checker.leftovers(root) == []
    world.check(root)
    world.recover(root)


def until_full(add: Callable[[], object]) -> None:
    try:
        while True:
            add()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def fill_bytes(ballast: Path, left: int) -> None:
    """Leaves so many pages free."""
    ballast.mkdir()
    with (ballast / "file").open("wb", buffering=0) as stream:
        until_full(lambda: stream.write(bytes(PAGE)))
        stream.truncate(stream.tell() - left * PAGE)


def fill_names(ballast: Path, left: int) -> None:
    """Leaves so many inodes free."""
    ballast.mkdir()
    numbers = itertools.count()

    def add() -> None:
        (ballast / str(next(numbers))).touch()

    until_full(add)
    for path in list(ballast.iterdir())[:left]:
        path.unlink()


@pytest.mark.skipif(not can_mount(), reason="a private mount needs root and unshare")
@pytest.mark.parametrize(
    ("options", "fill"),
    [("size=2m", fill_bytes), ("size=8m,nr_inodes=200", fill_names)],
    ids=["bytes", "inodes"],
)
def test_the_disk_is_full(
    world: World, tmp_path: Path, options: str, fill: Callable[[Path, int], None]
) -> None:
    """With 0, 1, 2, ... pages or inodes left, until a publication succeeds."""
    failed = 0
    for left in range(100):
        with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", options, "tmpfs") as disk:
            root = world.fresh(at=disk / "registry")
            fill(disk / "ballast", left)
            run = world.run("publish", root, world.job)
            world.check(root)
            if run.code == 0:
                break
            failed += 1
            assert run.failed_properly(), run
            assert "No space left on device; free space" in run.err
            assert checker.leftovers(root) == []
            if left % 4 == 0:
                shutil.rmtree(disk / "ballast")
                world.recover(root)
    assert run.code == 0
    assert failed >= 10
