"""What is called in a process of its own; imported there by its name."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ascend_migrate.pipeline.errors import ModelError, SpecError

Doing = Callable[[str], None]
EFFECTS: list[int] = []


def add(_doing: Doing, one: int, *, two: int) -> tuple[int, int]:
    EFFECTS.append(one)
    return one + two, len(EFFECTS)


def surroundings(_doing: Doing) -> tuple[str, str | None, bool]:
    return os.getcwd(), os.environ.get("APART_TEST"), sys.stdin.read() == ""  # noqa: PTH109


def prints(_doing: Doing) -> None:
    print("by print")  # noqa: T201
    sys.stdout.flush()
    os.write(1, b"by number\n")


def fails(_doing: Doing, kind: str) -> None:
    if kind == "ours":
        raise ModelError("the model is at fault")
    if kind == "several":
        raise SpecError("request", ["first", "second"])
    if kind == "chained":
        raise ModelError("in short") from ValueError("at length")
    if kind == "foreign":
        raise LookupError("a defect")

    class LocalError(Exception):
        pass

    raise LocalError("not to be pickled")


def ends(doing: Doing, kind: str) -> None:
    doing("case 'zeros'")
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "exit":
        sys.exit(7)
    if kind == "now":
        os._exit(0)
    if kind == "killed":
        os.kill(os.getpid(), 9)
    if kind == "hangs":
        time.sleep(60)
    if kind == "memory":
        blocks = []
        while True:
            blocks.append(bytearray(b"x") * (16 << 20))
            time.sleep(0.01)


def patient(doing: Doing) -> str:
    for step in range(6):
        doing(f"step {step}")
        time.sleep(0.15)
    return "done"


def with_children(_doing: Doing, pids: Path, *, waits: bool) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pids.write_text(f"{os.getpid()} {child.pid}")
    if waits:
        time.sleep(60)
