"""Runs a command and measures the whole process: time, processor time and memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAUSE = 0.005
"""Seconds between two looks at memory: what is held for less is missed; 10 MB at 2 GB a second."""

_PSS_PAUSE = 0.1
"""Seconds between two looks at shares: the kernel walks all pages, 20 ms for 2 GiB."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took, its start, its imports and its children included.

    Attributes:
        wall: seconds from start to end.
        cpu: seconds of user and system time, as the kernel counts them.
        rss: peak of resident memory in bytes, mapped file pages included; what several processes
            share counts in each.
        anon: peak of anonymous memory in bytes, sampled; what the kernel cannot take back.
        output: what it printed.
        pss: peak of the memory of the machine that it takes, mapped file pages included, sampled
            ten times a second: a page that several of its processes share counts once.
    """

    wall: float
    cpu: float
    rss: int
    anon: int
    output: str = ""
    pss: int = 0

    def then(self, after: "Cost") -> "Cost":
        """Returns the cost of both, one after the other."""
        return Cost(
            self.wall + after.wall,
            self.cpu + after.cpu,
            max(self.rss, after.rss),
            max(self.anon, after.anon),
            pss=max(self.pss, after.pss),
        )


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a command to its end.

    Args:
        command: program and arguments.
        environment: variables beside those of this process.

    Raises:
        RuntimeError: it fails; with the end of what it said.
    """
    variables = os.environ | dict(environment or {})
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=output, stderr=said, env=variables)
        rss = anon = pss = 0
        looked = 0.0
        while True:
            held = _memory(process.pid)
            rss, anon = max(rss, held[0]), max(anon, held[1])
            if time.monotonic() - looked >= _PSS_PAUSE:
                pss, looked = max(pss, _share(process.pid)), time.monotonic()
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(_PAUSE)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)[:200]}: {said.read()[-2000:]}")
        cpu = usage.ru_utime + usage.ru_stime
        return Cost(wall, cpu, max(rss, usage.ru_maxrss << 10), anon, output.read(), pss)


def step(name: str, *arguments: str, module: str = "tests.bench.steps") -> Cost:
    """Runs one step of a module in a fresh process; raises as `measure`."""
    command = [sys.executable, "-P", "-m", module, name, *arguments]
    root = str(Path(__file__).parents[2])
    # One thread: what waits for others depends on what else the machine does.
    return measure(command, {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"})


def _memory(pid: int) -> tuple[int, int]:
    """Returns the resident and the anonymous bytes of a process and its children."""
    folder = Path(f"/proc/{pid}")
    try:
        lines = (folder / "status").read_text().splitlines()
        children = (folder / f"task/{pid}/children").read_text().split()
    except OSError:
        return 0, 0
    sizes = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS:", "RssAnon:")))
    rss, anon = (int(sizes.get(key, "0").split()[0]) << 10 for key in ("VmRSS", "RssAnon"))
    others = [_memory(int(child)) for child in children]
    return rss + sum(o[0] for o in others), anon + sum(o[1] for o in others)


def _share(pid: int) -> int:
    """Returns the bytes of memory that a process and its children take, each page once."""
    folder = Path(f"/proc/{pid}")
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
        children = (folder / f"task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return own + sum(map(_share, map(int, children)))


def least(costs: Sequence[Cost]) -> Cost:
    """Returns the smallest of each figure: what disturbs a measurement only ever adds to it."""
    return Cost(
        min(cost.wall for cost in costs),
        min(cost.cpu for cost in costs),
        min(cost.rss for cost in costs),
        min(cost.anon for cost in costs),
        pss=min(cost.pss for cost in costs),
    )
