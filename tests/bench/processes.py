"""Runs a command and measures the whole process: time, processor time and memory."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PAUSE = 0.01
"""Seconds between two looks at a process's memory."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took.

    Attributes:
        wall: seconds from start to end.
        cpu: seconds of user and system time, as the kernel counts them.
        rss: peak of resident memory in bytes, mapped file pages included.
        anon: peak of anonymous memory in bytes, sampled; what the kernel cannot take back.
    """

    wall: float
    cpu: float
    rss: int
    anon: int

    def then(self, after: "Cost") -> "Cost":
        """Returns the cost of both, one after the other."""
        return Cost(
            self.wall + after.wall,
            self.cpu + after.cpu,
            max(self.rss, after.rss),
            max(self.anon, after.anon),
        )


def measure(command: Sequence[str]) -> Cost:
    """Runs a command to its end.

    Raises:
        RuntimeError: it fails; with what it said.
    """
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    anon = 0
    while True:
        anon = max(anon, _anonymous(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(_PAUSE)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    said = process.stderr.read().decode() if process.stderr else ""
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]}: {said[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10, anon)


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def least(costs: Sequence[Cost]) -> Cost:
    """Returns the smallest of each figure: what disturbs a measurement only ever adds to it."""
    return Cost(
        min(cost.wall for cost in costs),
        min(cost.cpu for cost in costs),
        min(cost.rss for cost in costs),
        min(cost.anon for cost in costs),
    )
