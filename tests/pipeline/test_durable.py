"""Writing to disk: old or new and nothing between, locks that die with their holder, sweeping."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.limits import files_of_at_most

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.errors import ExitCode, StoreError


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_write_file(tmp_path: Path, size: int) -> None:
    durable.write_file(tmp_path / "file", b"old")
    durable.write_file(tmp_path / "file", b"x" * size)
    assert (tmp_path / "file").read_bytes() == b"x" * size
    assert names(tmp_path) == ["file"]


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        durable.write_file(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    durable.write_file(tmp_path / "file", b"old")
    with files_of_at_most(1000), pytest.raises(StoreError, match="file: File too large; free"):
        durable.write_file(tmp_path / "file", b"x" * 1001)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file/inside").mkdir(parents=True)
    with pytest.raises(StoreError, match="/file: Is a directory") as caught:
        durable.write_file(tmp_path / "file", b"x")
    assert caught.value.exit_code is ExitCode.UNABLE
    assert names(tmp_path) == ["file"]
    assert names(tmp_path / "file") == ["inside"]


def test_make_folder(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a/b/c")
    durable.make_folder(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="file/d: Not a directory"):
        durable.make_folder(tmp_path / "file/d")


def test_a_temporary_folder_disappears(tmp_path: Path) -> None:
    with durable.temporary_folder(tmp_path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub/file").write_bytes(b"x")
        assert folder.name.startswith(durable.TEMPORARY)
    assert names(tmp_path) == []
    with pytest.raises(FileExistsError), durable.temporary_folder(tmp_path) as folder:
        folder.mkdir()
    assert names(tmp_path) == []


def test_a_published_folder_stays(tmp_path: Path) -> None:
    with durable.temporary_folder(tmp_path) as folder:
        (folder / "file").write_bytes(b"x")
        durable.publish_folder(folder, tmp_path / "final")
    assert names(tmp_path) == ["final"]
    assert (tmp_path / "final/file").read_bytes() == b"x"


def test_a_folder_is_never_published_over_another(tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    (tmp_path / "final/old").write_bytes(b"x")
    with (
        durable.temporary_folder(tmp_path) as folder,
        pytest.raises(StoreError, match="not empty"),
    ):
        durable.publish_folder(folder, tmp_path / "final")
    assert names(tmp_path) == ["final"]
    assert names(tmp_path / "final") == ["old"]


@pytest.mark.parametrize(
    ("held", "wanted", "waits"),
    [
        ("shared", "shared", False),
        ("shared", "alone", True),
        ("alone", "shared", True),
        ("alone", "alone", True),
    ],
)
def test_who_waits_for_whom(tmp_path: Path, held: str, wanted: str, waits: bool) -> None:
    got = threading.Event()

    def want() -> None:
        with durable.locked(tmp_path / "lock", shared=wanted == "shared"):
            got.set()

    thread = threading.Thread(target=want)
    with durable.locked(tmp_path / "lock", shared=held == "shared"):
        thread.start()
        assert got.wait(0.3) is not waits
    thread.join()
    assert got.is_set()


HOLD = """
import sys, time
from pathlib import Path
from ascend_migrate.pipeline import durable
folder = Path(sys.argv[1])
with durable.locked(folder / "lock"), durable.temporary_folder(folder) as made:
    (made / "sub").mkdir()
    (made / "sub/file").write_bytes(b"12345")
    (made / "other").write_bytes(b"123")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds tmp_path/lock and is at work in a temporary folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_dies_with_its_holder(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    threading.Timer(0.3, holder.send_signal, [signal.SIGKILL]).start()
    begin = time.monotonic()
    with durable.locked(tmp_path / "lock"):
        waited = time.monotonic() - begin
    assert 0.2 < waited < 5


def test_only_what_the_dead_left_is_swept(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    (tmp_path / "kept").write_bytes(b"x")
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "kept")
    (tmp_path / ".tmp-file").write_bytes(b"1234")
    assert durable.sweep(tmp_path) == (1, 4)
    assert len(names(tmp_path)) == 4  # the holder's folder, its lock, kept, and the link
    holder.kill()
    holder.wait()
    assert durable.sweep(tmp_path) == (2, 8)
    assert names(tmp_path) == [".tmp-link", "kept", "lock"]
    assert durable.sweep(tmp_path) == (0, 0)


def test_what_gets_its_final_name_meanwhile_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper has opened a temporary file; before it asks for the lock, the maker is done."""
    (tmp_path / ".tmp-file").write_bytes(b"x")
    really_open = os.open

    def open_(path: Path, *args: Any) -> int:
        descriptor = really_open(path, *args)
        path.rename(tmp_path / "final")
        return descriptor

    monkeypatch.setattr(os, "open", open_)
    assert durable.sweep(tmp_path) == (0, 0)
    assert names(tmp_path) == ["final"]


def test_sweepers_and_makers_do_not_disturb_each_other(tmp_path: Path) -> None:
    faults: list[BaseException] = []
    done = threading.Event()

    def make(number: int) -> None:
        try:
            for turn in range(60):
                durable.write_file(tmp_path / f"file-{number}", b"%d" % turn)
                with durable.temporary_folder(tmp_path) as folder:
                    (folder / "file").write_bytes(b"%d" % turn)
                    durable.publish_folder(folder, tmp_path / f"folder-{number}-{turn}")
        except BaseException as error:
            faults.append(error)

    def sweep() -> None:
        try:
            while not done.is_set():
                durable.sweep(tmp_path)
        except BaseException as error:
            faults.append(error)

    makers = [threading.Thread(target=make, args=(number,)) for number in range(2)]
    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in (*makers, *sweepers):
        thread.start()
    for thread in makers:
        thread.join()
    done.set()
    for thread in sweepers:
        thread.join()
    assert faults == []
    published = {f"folder-{n}-{t}" for n in range(2) for t in range(60)}
    assert set(names(tmp_path)) == published | {"file-0", "file-1"}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "here: No space left on device; free space or"),
        (PermissionError(13, "Permission denied", "there"), "there: Permission denied; free"),
        (FileExistsError(17, "File exists", "old", None, "new"), "new: File exists; free space"),
        (OSError("odd"), "here: odd; free space"),
    ],
)
def test_the_system_says_no(error: OSError, text: str) -> None:
    with pytest.raises(StoreError) as caught, durable.storing(Path("here")):
        raise error
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_a_held_folder_keeps_others_out_and_may_be_removed_by_its_holder(tmp_path: Path) -> None:
    folder, entered = tmp_path / "work", threading.Event()

    def second() -> None:
        with durable.held_folder(folder):
            assert list(folder.iterdir()) == []
            entered.set()

    with durable.held_folder(folder):
        (folder / "mine").touch()
        other = threading.Thread(target=second)
        other.start()
        assert not entered.wait(0.1)
        shutil.rmtree(folder)
    other.join(10)
    assert entered.is_set()
    assert folder.is_dir()
