"""What a process gives up before it runs code that is not trusted.

Each part is asked for on its own, and what the kernel does not offer is said, never passed over.
To be called while the process has one thread: the kernel confines threads, not processes.
"""

import ctypes
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ascend_migrate.pipeline.sandbox import landlock, seccomp
from ascend_migrate.pipeline.sandbox.kernel import call

_NEW_USER, _NEW_NETWORK, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000
_CAPABILITY_VERSION = 0x20080522

# What is said of each part: in force, and not in force.
_NETWORK = ("no network", "NETWORK NOT CONFINED: the kernel offers neither namespaces nor seccomp")
_FILES = (
    "no files but the checkpoint, the folder of its modules, and Python, all read-only",
    "FILES NOT CONFINED: the kernel offers no Landlock",
)
_PROCESSES = (
    "no other processes or programs",
    "PROCESSES NOT CONFINED: the kernel offers no seccomp",
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a process may use.

    Attributes:
        read: files and folders that it may read.
        write: folders that it may write to.
        seconds: of processor time.
        memory: bytes that it may allocate.
        file_size: bytes of the largest file that it may write.
    """

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    seconds: int
    memory: int
    file_size: int


def confine(allowed: Allowance) -> list[str]:
    """Gives up all rights but the allowed ones, as far as the kernel can.

    Returns:
        A line for each part: what is in force, or that it is not.
    """
    offline = _done(_leave_network)
    _done(_drop_capabilities)
    files = _done(lambda: landlock.restrict(allowed.read, allowed.write))
    calls = _done(seccomp.deny)
    _limit(allowed)
    parts = ((offline or calls, *_NETWORK), (files, *_FILES), (calls, *_PROCESSES))
    said = [text if in_force else missing for in_force, text, missing in parts]
    return [*said, f"at most {allowed.seconds} s and {allowed.memory >> 20} MiB"]


def _done(step: Callable[[], object]) -> bool:
    """Takes a step; says whether the kernel lets us."""
    try:
        step()
    except OSError:
        return False
    return True


def _leave_network() -> None:
    """Moves to a network with no device but an idle loopback, and to empty System V IPC."""
    user, group = os.getuid(), os.getgid()
    call("unshare", _NEW_USER | _NEW_NETWORK | _NEW_IPC)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _drop_capabilities() -> None:
    """The new namespace gave all of them, and with them far more of the kernel to attack."""
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    call("capset", ctypes.byref(head), ctypes.byref(none))


def _limit(allowed: Allowance) -> None:
    limits = {
        resource.RLIMIT_CPU: allowed.seconds,
        resource.RLIMIT_DATA: allowed.memory,
        resource.RLIMIT_FSIZE: allowed.file_size,
        resource.RLIMIT_CORE: 0,
    }
    for kind, wanted in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))
