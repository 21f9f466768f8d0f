"""What one runtime may take of the machine while it judges, and how much there is to take."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DEFAULT_TIMEOUT = 600.0
"""Seconds that one request to a runtime may take before it is stopped."""

_SHARE = 0.9
"""Of the free memory, by default: so the runtime reaches its limit, which is said, before the
system runs out, and then ends whichever process it likes."""

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What one runtime may take.

    Attributes:
        timeout: seconds for one request.
        memory: bytes; None for nine tenths of what is free when the runtime starts.
        threads: for one operator; None for the processors that this process may use. A runtime
            left to itself counts those of the machine, of which a container often has a few.
    """

    timeout: float = DEFAULT_TIMEOUT
    memory: int | None = None
    threads: int | None = None

    def bytes_allowed(self) -> int:
        """Returns the limit of memory as it is now."""
        return int(free_memory() * _SHARE) if self.memory is None else self.memory

    def threads_allowed(self) -> int:
        """Returns the number of threads."""
        return usable_processors() if self.threads is None else self.threads


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns the bytes that programs can still take, of the machine and of our control groups."""
    lines = (proc / "meminfo").read_text().splitlines()
    figures = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    for folder in _control_groups("memory", proc, groups):
        for limit, used in (("memory.max", "anon"), ("memory.limit_in_bytes", "total_rss")):
            allowed = _number(folder / limit)
            if allowed is not None:
                # Files in the cache count as used too, but make room when it is needed.
                figures.append(max(0, allowed - _statistic(folder / "memory.stat", used)))
    return min(figures)


def usable_processors(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns the number of processors that this process may use, at least 1."""
    figures = [len(os.sched_getaffinity(0))]
    for folder in _control_groups("cpu", proc, groups):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if (folder / "cpu.max").is_file():
            quota, period = (int(n) if n.isdecimal() else None for n in _words(folder / "cpu.max"))
        if quota and quota > 0 and period:
            figures.append(max(1, round(quota / period)))
    return min(figures)


def private_memory(pid: int) -> int:
    """Returns the bytes that a process holds itself: those of files can be read again."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:  # it has ended
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Gives the memory that this process has freed back to the system, where its library can.

    The GNU library keeps freed blocks of up to 32 MiB, once it has seen some of that size.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _control_groups(controller: str, proc: Path, groups: Path) -> Iterator[Path]:
    """Returns the folders of the control groups that this process is in, innermost first."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        # Version 2 has number 0, and one tree for all controllers.
        root = groups if number == "0" else groups / controller
        # Within a container the path may be the host's, and the root be the container's own group.
        folder = root / path.lstrip("/")
        yield from (item for item in (folder, *folder.parents) if item.is_relative_to(root))


def _number(path: Path) -> int | None:
    """Returns the number in a file; None where there is no file or no limit ("max")."""
    words = _words(path)
    return int(words[0]) if words and words[0].lstrip("-").isdecimal() else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _statistic(path: Path, name: str) -> int:
    words = _words(path)
    return int(words[words.index(name) + 1]) if name in words else 0


DEFAULT_LIMITS = Limits()


def in_gib(size: int) -> str:
    """Spells a number of bytes for people."""
    return f"{size / GIB:.3g} GiB"
