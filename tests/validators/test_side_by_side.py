"""What runs beside is what would have run alone, and it ends with what it runs beside."""

import threading
import time
from pathlib import Path

import pytest

from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.limits import GIB
from ascend_migrate.pipeline.records import Artifact, FileEntry, Form
from ascend_migrate.validators import side_by_side
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.worker_process import ENDED


def artifact(form: Form, size: int = 1) -> Artifact:
    return Artifact(form, Path(), "x", (FileEntry("x", "sha256:0", size),), parent="")


@pytest.mark.parametrize(
    ("forms", "processors", "size", "apart"),
    [
        ([Form.SAFETENSORS, Form.ONNX, Form.MINDIR], 2, 1, [Form.MINDIR]),
        ([Form.ONNX, Form.ONNX_CANN], 2, 1, []),
        ([Form.MINDIR], 2, 1, []),
        ([Form.ONNX, Form.MINDIR], 1, 1, []),
        ([Form.ONNX, Form.MINDIR], 2, GIB, []),
    ],
)
def test_what_is_apart_is_another_runtime_that_there_is_room_for(
    forms: list[Form],
    processors: int,
    size: int,
    apart: list[Form],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(side_by_side, "usable_processors", lambda: processors)
    monkeypatch.setattr(side_by_side, "free_memory", lambda: 4 * GIB)
    found = side_by_side.apart_from_this_process([artifact(form, size) for form in forms])
    assert [item.form for item in found] == apart


def test_both_are_called_at_a_time_and_the_second_alone_can_be_ended() -> None:
    met = threading.Barrier(2, timeout=20)

    def seen() -> bool:
        met.wait()
        return ENDED.get() is not None

    assert side_by_side.both(seen, seen) == (False, True)


def test_an_error_of_either_is_raised() -> None:
    def failing() -> int:
        raise CheckError("x")

    for here, beside in ((failing, int), (int, failing)):
        with pytest.raises(CheckError):
            side_by_side.both(here, beside)


def test_where_the_first_fails_the_process_of_the_second_is_not_waited_for() -> None:
    started = threading.Event()
    said: list[str] = []

    def failing() -> None:
        assert started.wait(20)
        raise CheckError("the first")

    def beside() -> None:
        with MindSporeProcess() as process:
            started.set()
            try:
                process.load(Path("no such file.mindir"), [])
            except ToolchainError as error:
                said.append(str(error))
                raise

    began = time.monotonic()
    with pytest.raises(CheckError, match="the first"):
        side_by_side.both(failing, beside)
    assert "ended, because what it was needed for was" in said[0]
    assert time.monotonic() - began < 10
