"""System calls that Python has no function for."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)


def call(function: str, *args: object) -> int:
    """Calls a function of the C library.

    Raises:
        OSError: it returned -1, or the library lacks it.
    """
    found = getattr(_LIBC, function, None)
    result = -1 if found is None else int(found(*args))
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")
    return result


def syscall(number: int, *args: object) -> int:
    """Makes a system call by its number.

    Raises:
        OSError: the kernel refuses, or lacks it.
    """
    return call("syscall", ctypes.c_long(number), *args)


def prctl(option: int, *args: int | ctypes.c_void_p) -> None:
    """Sets an attribute of this process; missing arguments are 0.

    Raises:
        OSError: the kernel refuses.
    """
    given = [arg if isinstance(arg, ctypes.c_void_p) else ctypes.c_ulong(arg) for arg in args]
    rest = [ctypes.c_ulong(0)] * (4 - len(given))
    call("prctl", ctypes.c_int(option), *given, *rest)
