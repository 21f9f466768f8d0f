"""Landlock: a process gives up all files but some, for itself and for what it starts.

Numbers: include/uapi/linux/landlock.h, the same on every architecture.
"""

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ascend_migrate.pipeline.sandbox.kernel import prctl, syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE_DIR, _MAKE_FILE, _TRUNCATE = 3 << 4, 1 << 7, 1 << 8, 1 << 14
_OF_A_FILE = _WRITE_FILE | _READ_FILE | _TRUNCATE

# Rights over files that each version of Landlock knows, as the number of their bits.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_NEWEST_RIGHTS = 16
_WITH_NETWORK = 4
_WITH_SCOPES = 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def restrict(read: Iterable[Path], write: Iterable[Path]) -> int:
    """Gives up all files but those below ``read``, to read, and below ``write``, to read and write.

    Also given up, where the kernel can: TCP, abstract sockets, and signals to other processes.

    Returns:
        The kernel's version of Landlock.

    Raises:
        OSError: the kernel has none, or refuses.
    """
    version = syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    files = (1 << _RIGHTS.get(version, _NEWEST_RIGHTS)) - 1
    rules = _Ruleset(
        files, 3 if version >= _WITH_NETWORK else 0, 3 if version >= _WITH_SCOPES else 0
    )
    size = 8 * (1 + (version >= _WITH_NETWORK) + (version >= _WITH_SCOPES))
    handle = syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    try:
        reading = _READ_FILE | _READ_DIR
        writing = reading | _WRITE_FILE | _REMOVE | _MAKE_DIR | _MAKE_FILE | _TRUNCATE
        for paths, rights in ((read, reading), (write, writing)):
            for path in paths:
                with suppress(FileNotFoundError, NotADirectoryError):
                    _allow(handle, path, rights & files)
        prctl(_NO_NEW_PRIVILEGES, 1)
        syscall(_RESTRICT_SELF, handle, 0)
    finally:
        os.close(handle)
    return version


def _allow(handle: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights if path.is_dir() else rights & _OF_A_FILE
        rule = _Beneath(allowed, descriptor)
        syscall(_ADD_RULE, handle, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)
