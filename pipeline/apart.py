"""Calls one of our functions in a process of its own, which may crash, hang, or fill memory.

call             here: asks, watches, and says in one line what went wrong
   -> apart_server   a process that has imported the heavy libraries and runs none of them
       -> its child      carries out one call, and ends

The child is forked from the server, so that only the first call pays for the imports, and no call
sees what an earlier one has left behind: imported modules, patches, flags, memory.
"""

import atexit
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

from ascend_migrate.pipeline.errors import ToolchainError
from ascend_migrate.pipeline.limits import Limits, in_gib, private_memory

Doing = Callable[[str], None]
"""Told what is about to be done; the limit of time begins anew with each."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SERVER = "ascend_migrate.pipeline.apart_server"

_STDERR = 2

_LOOK_EVERY = 0.05
"""Seconds: a process that fills memory as fast as it can takes some 200 MB in this time."""


def call(  # noqa: D417 - the rest are the function's own
    function: Callable[Concatenate[Doing, _P], _T],
    subject: str,
    limits: Limits,
    preload: Sequence[str],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    """Returns what ``function`` returns in a process of its own.

    The process has this one's folder, environment and module search path; what it prints goes to
    stderr. It is ended with all that it started when this call ends, however that comes about.

    Args:
        function: of a module's top level; its first argument is a `Doing`.
        subject: what to call it in an error.
        limits: of time from one thing to the next, and of memory for all of it.
        preload: modules that the server imports, to be ready for the next call as well.

    Raises:
        ToolchainError: the process crashed, or exceeded a limit.
        Exception: what the function raises, as it is.
    """
    server = _taken()
    try:
        found, value = server.ask((function, args, kwargs), subject, limits, preload)
    finally:
        if server.idle:
            _IDLE.append(server)
        else:
            server.close()
    if not found:
        raise value
    result: _T = value
    return result


def how_it_ended(code: int) -> str:
    """Says how a process ended, given its exit code, or less than zero for a signal."""
    reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if code == -signal.SIGKILL:
        reason += ", as the system does where memory runs out"
    return reason


class _Server:
    """One server, which runs one call at a time."""

    def __init__(self) -> None:
        self.idle = True
        self._child = 0
        # Each message is one packet; the server ends when our end is closed.
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _SERVER, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # Ctrl-C is ours to pass on: to it, by closing its socket.
                start_new_session=True,
            )

    def ask(
        self, work: tuple[Any, ...], subject: str, limits: Limits, preload: Sequence[str]
    ) -> tuple[bool, Any]:
        """Returns whether the call succeeded, and its result or its exception."""
        self.idle = False
        ours, theirs = socket.socketpair()
        connection = Connection(ours.detach())
        with connection, theirs:
            request = json.dumps(list(preload)).encode()
            fds = [theirs.fileno(), _STDERR]
            try:
                socket.send_fds(self._control, [request], fds)
                theirs.close()
                # The path first: the rest may name modules that are found only there.
                for part in ((os.getcwd(), dict(os.environ), sys.path), work):  # noqa: PTH109
                    connection.send_bytes(pickle.dumps(part))
            except OSError:  # it has ended; why is said below
                pass
            self._child = int(self._control.recv(64) or 0)
            answer = None
            if self._child:
                answer = _Watch(connection, self._child, subject, limits).answer()
        said = self._control.recv(64)
        code = int(said or self._process.wait())
        self.idle, self._child = bool(said), 0
        if answer is None:
            _crashed(subject, code)
        if isinstance(answer, str):
            _crashed(f"{subject}: {answer}", code)
        return answer

    def close(self) -> None:
        """Ends the server and what it runs."""
        self._control.close()
        if not self._child:
            self._process.kill()  # it may be in the midst of its imports
        self._process.wait()


class _Watch:
    """Waits for the answer of one call, and for its limits."""

    def __init__(self, connection: Connection, child: int, subject: str, limits: Limits) -> None:
        self._connection, self._child = connection, child
        self._subject, self._limits = subject, limits
        self._memory = limits.bytes_allowed()
        self._doing = ""

    def answer(self) -> tuple[bool, Any] | str | None:
        """Returns the answer; where it ends without one, what it was doing."""
        deadline = time.monotonic() + self._limits.timeout
        while True:
            if not self._connection.poll(_LOOK_EVERY):
                self._check(deadline)
                continue
            try:
                kind, value = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - ours
            except (EOFError, OSError):
                return self._doing
            if kind != "doing":
                return kind == "result", value
            self._doing = value
            deadline = time.monotonic() + self._limits.timeout

    def _check(self, deadline: float) -> None:
        subject = f"{self._subject}: {self._doing}" if self._doing else self._subject
        if time.monotonic() > deadline:
            raise ToolchainError(
                f"{subject}: not done within {self._limits.timeout:g} s, ended; give it more time "
                "(validation.timeout) or a smaller input",
                transient=True,
            )
        if private_memory(self._child) > self._memory:
            advice = "raise validation.memory, or give it a smaller input"
            if self._limits.memory is None:
                advice = "that is what was free: free some, or run it on a larger machine"
            raise ToolchainError(
                f"{subject}: needed more than {in_gib(self._memory)} of memory; {advice}"
            )


def _crashed(subject: str, code: int) -> NoReturn:
    advice = "the fault is in native code, for which other versions of the libraries may help"
    if code == -signal.SIGKILL:
        advice = "free some, or use a larger machine"
    elif code >= 0:
        advice = "its own code ends it; what it printed is above"
    raise ToolchainError(f"{subject}: its process ended with {how_it_ended(code)}; {advice}")


_IDLE: list[_Server] = []
_TAKING = threading.Lock()


def _taken() -> _Server:
    with _TAKING:
        return _IDLE.pop() if _IDLE else _Server()


@atexit.register
def _close_all() -> None:
    while _IDLE:
        with suppress(OSError):
            _IDLE.pop().close()


# A server answers to the process that started it.
os.register_at_fork(after_in_child=_IDLE.clear)
