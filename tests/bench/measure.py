"""What a process costs: time, processor time, and memory of its own as against that of files."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_LOOK_EVERY = 0.005
"""Seconds: what is held for less is missed, and at 2 GB a second is 10 MB."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took, its start and its imports included.

    Attributes:
        wall: seconds.
        cpu: seconds of all its threads and children.
        resident: peak bytes in memory of it and its children, mapped files included.
        private: the same without what can be read again from a file.
        output: what it printed.
    """

    wall: float
    cpu: float
    resident: int
    private: int
    output: str


def measure(step: str, *arguments: str) -> Cost:
    """Runs ``tests.bench.steps`` with these arguments in a fresh process.

    Raises:
        RuntimeError: the process failed; holds the end of what it said.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-P", "-m", "tests.bench.steps", step, *arguments]
    # One thread: what waits for others depends on what else the machine does.
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        peak = _Peak(process.pid)
        peak.start()
        output, said = process.communicate()
        wall = time.monotonic() - started
        peak.join()
    if process.returncode:
        raise RuntimeError(f"{step}: exit code {process.returncode}: {said.strip()[-2000:]}")
    text, used = output[:-1].rsplit("\n", 1)
    return Cost(wall, float(used), peak.resident, peak.private, text)


class _Peak(threading.Thread):
    """Looks at the memory of a process and its children until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.resident = self.private = 0

    def run(self) -> None:
        """Looks."""
        while held := _memory(self._pid):
            self.resident = max(self.resident, held[0])
            self.private = max(self.private, held[1])
            time.sleep(_LOOK_EVERY)


def _memory(pid: int) -> tuple[int, int] | None:
    """Returns the resident and the private bytes of a process and its children."""
    folder, page = Path(f"/proc/{pid}"), os.sysconf("SC_PAGE_SIZE")
    try:
        _, resident, shared, *_ = map(int, (folder / "statm").read_text().split())
        children = (folder / f"task/{pid}/children").read_text().split()
    except OSError:
        return None
    if not resident:  # it has ended, and nobody has asked how
        return None
    held = resident * page, (resident - shared) * page
    others = [_memory(int(child)) or (0, 0) for child in children]
    return held[0] + sum(o[0] for o in others), held[1] + sum(o[1] for o in others)
