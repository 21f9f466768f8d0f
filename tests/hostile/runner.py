"""Puts hostile files before the real commands and notes everything that follows."""

import hashlib
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.case import Case

SERVERS = 2

_NOT_OURS = frozenset((".ses",))
"""Files that onnxruntime writes into the folder for temporary files whenever it is used."""

_WRITING = threading.Lock()
"""The libraries that write the files are not made for several threads."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command did.

    Attributes:
        command: as it was given.
        code: exit code; negative if a signal ended it.
        stdout: what it printed.
        stderr: likewise.
        events: what it must never do, and did.
        memory: MiB above an idle process.
        cpu: seconds.
        left: names of what is new in the folders around it.
        changed: whether the input is another one afterwards.
    """

    command: str
    code: int
    stdout: str
    stderr: str
    events: list[str]
    memory: float
    cpu: float
    left: list[str] = field(default_factory=list)
    changed: bool = False

    @property
    def errors(self) -> list[str]:
        """The lines on stderr without the progress, which is indented."""
        return [line for line in self.stderr.split("\n") if line and not line.startswith("  ")]


class Server:
    """A process that runs watched commands, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.hostile.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(["", *sys.path]),
                "OMP_NUM_THREADS": "1",
            },
        )
        self._idle = 0.0
        self._idle = self.run(_job(["--version"], Path.cwd(), Path(os.devnull)))["memory"]

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Runs one job and returns its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        result["memory"] -= self._idle
        return result

    def stop(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@contextmanager
def servers(count: int) -> Iterator[list[Server]]:
    """Gives servers that end with the block."""
    started = [Server() for _ in range(count)]
    try:
        yield started
    finally:
        for server in started:
            server.stop()


def run_all(cases: Sequence[Case], folder: Path) -> dict[str, list[Outcome]]:
    """Runs all cases; returns what happened by the case's name."""
    waiting: queue.SimpleQueue[tuple[int, Case]] = queue.SimpleQueue()
    for numbered in enumerate(cases):
        waiting.put(numbered)
    found: dict[str, list[Outcome]] = {}

    def work(server: Server) -> None:
        while not waiting.empty():
            try:
                number, case = waiting.get_nowait()
            except queue.Empty:
                return
            found[case.name] = run_case(case, folder / str(number), server)

    with servers(SERVERS) as started:
        threads = [threading.Thread(target=work, args=(server,)) for server in started]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def run_case(case: Case, folder: Path, server: Server) -> list[Outcome]:
    """Writes the file and runs each of the case's commands on it."""
    home, secret = folder / "home", folder / "secret"
    for made in (home, secret, folder / "work", folder / "tmp", folder / "log"):
        made.mkdir(parents=True)
    (secret / "outside.safetensors").write_bytes(_outside())
    with _WRITING:
        case.write(home)
    before = _snapshot(home)
    outcomes = []
    for number, template in enumerate(case.commands):
        out = folder / f"out{number}"
        words = {"path": str(home / case.file), "out": str(out), "home": str(home)}
        # Split first: a file's name may hold blanks.
        arguments = [word.format(**words) for word in shlex.split(template)]
        log = folder / "log" / str(number)
        result = server.run(_job(arguments, folder, log, case.memory, case.seconds))
        outcomes.append(
            Outcome(
                template,
                stdout=_text(f"{log}.out"),
                stderr=_text(f"{log}.err"),
                left=sorted(
                    str(path.relative_to(folder))
                    for place in ("work/*", "tmp/*", "out*", "out*/**/*")
                    for path in folder.glob(place)
                    if path.name not in _NOT_OURS
                ),
                changed=_snapshot(home) != before,
                **result,
            )
        )
    return outcomes


def _job(
    arguments: list[str], folder: Path, log: Path, memory: int = 256, seconds: int = 60
) -> dict[str, Any]:
    work = folder / "work"
    return {
        "arguments": arguments,
        "cwd": str(work if work.is_dir() else folder),
        "tmp": str(folder / "tmp"),
        "secret": str(folder / "secret"),
        "stdout": f"{log}.out" if log.name != "null" else str(log),
        "stderr": f"{log}.err" if log.name != "null" else str(log),
        "memory": memory,
        "seconds": seconds,
    }


def _text(path: str) -> str:
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")


def _snapshot(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        readable = path.is_file() and os.access(path, os.R_OK) and path.stat().st_size < 1 << 28
        content = hashlib.sha256(path.read_bytes()).hexdigest() if readable else ""
        found[str(path)] = f"{path.lstat().st_mode} {content}"
    return found


def _outside() -> bytes:
    text = b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    return len(text).to_bytes(8, "little") + text + b"\1"
