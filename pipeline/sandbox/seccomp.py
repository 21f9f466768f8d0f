"""seccomp: a process gives up system calls, for itself and for all that it starts.

A filter is a program for the kernel's packet machine (linux/filter.h); it sees the number of the
call and its arguments. Numbers: arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h.
"""

import ctypes
import errno
import platform
from dataclasses import dataclass

from ascend_migrate.pipeline.sandbox.kernel import prctl

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_MACHINE, _AT_FIRST_ARGUMENT = 0, 4, 16
_THREAD = 0x00010000  # CLONE_THREAD
_X32 = 0x40000000
"""Numbers from here on are a second set of the same calls on x86-64."""


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    clone: int
    denied: tuple[int, ...]


_CLONE3 = 435
_ALIKE = (
    *(424, 425, 434, 438),  # pidfd_send_signal, io_uring_setup, pidfd_open, pidfd_getfd
    *(428, 429, 430, 432, 442),  # open_tree, move_mount, fsopen, fsmount, mount_setattr
    *(452, 463, 466),  # fchmodat2, setxattrat, removexattrat
)
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        56,
        (
            41,  # socket
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(62, 129, 200, 234, 297),  # kill, rt_sigqueueinfo, tkill, tgkill, rt_tgsigqueueinfo
            *(101, 310, 311),  # ptrace, process_vm_readv, process_vm_writev
            *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
            *(90, 91, 268, 92, 93, 94, 260),  # chmod and chown
            *(132, 235, 261, 280),  # utime
            *(188, 189, 190, 197, 198, 199),  # setxattr, removexattr
            *(29, 64, 68, 240),  # shmget, semget, msgget, mq_open
            *(248, 249, 250, 298, 321, 323),  # keys, perf_event_open, bpf, userfaultfd
        ),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        (
            198,
            *(221, 281),
            *(129, 138, 130, 131, 240),
            *(117, 270, 271),
            *(41, 51, 40, 39, 97, 268),
            *(52, 53, 54, 55),
            88,
            *(5, 6, 7, 14, 15, 16),
            *(194, 190, 186, 180),
            *(217, 218, 219, 241, 280, 282),
        ),
    ),
}


class _Step(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("yes", ctypes.c_uint8),
        ("no", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("steps", ctypes.POINTER(_Step)))


def deny() -> None:
    """Gives up sockets, other processes, other programs, mounts, and the attributes of files.

    A call that was given up fails with EPERM. Threads can still be started.

    Raises:
        OSError: the kernel has no seccomp, or this machine is of no known kind.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no list of system calls for {platform.machine()}")
    steps = _program(machine)
    held = (_Step * len(steps))(*steps)
    program = _Program(len(steps), held)
    prctl(_NO_NEW_PRIVILEGES, 1)
    prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.cast(ctypes.byref(program), ctypes.c_void_p))


def _program(machine: _Machine) -> list[_Step]:
    refused = _ERRNO | errno.EPERM
    steps = [
        _Step(_LOAD, 0, 0, _AT_MACHINE),
        _Step(_EQUAL, 1, 0, machine.audit),
        _Step(_RETURN, 0, 0, _KILL),
        _Step(_LOAD, 0, 0, _AT_NUMBER),
        _Step(_AT_LEAST, 0, 1, _X32),
        _Step(_RETURN, 0, 0, refused),
    ]
    for number in (*machine.denied, *_ALIKE):
        steps += [_Step(_EQUAL, 0, 1, number), _Step(_RETURN, 0, 0, refused)]
    return [
        *steps,
        # Its flags lie in memory, where no filter sees them; the C library then takes clone.
        _Step(_EQUAL, 0, 1, _CLONE3),
        _Step(_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        _Step(_EQUAL, 0, 3, machine.clone),
        _Step(_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        _Step(_ANY_BIT, 1, 0, _THREAD),
        _Step(_RETURN, 0, 0, refused),
        _Step(_RETURN, 0, 0, _ALLOW),
    ]
