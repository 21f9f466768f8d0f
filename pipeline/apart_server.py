"""The server that apart.py starts: ``python -P -m ... FD``; imports, forks, and waits.

It reads packets from the socket FD: a list of modules to import, with two descriptors. It then
forks a child that talks to the first and prints to the second, and answers twice: with the child's
process id, and with its exit code. Whatever comes meanwhile, and the socket's end, ends the child.
"""

import gc
import importlib
import json
import os
import pickle
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from ascend_migrate.pipeline.errors import MigrationError


def main() -> None:
    """Serves until the socket is closed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not request:
            return
        for name in json.loads(request):
            with suppress(ImportError):  # the call needs it as well, and says so
                importlib.import_module(name)
        # What is here will stay: no child looks through it for what can be freed.
        gc.collect()
        gc.freeze()
        child = os.fork()
        if not child:
            for number in (control.fileno(), wake, woken):
                os.close(number)
            _carry_out(*descriptors)
        # Here and there: whoever comes first.
        with suppress(OSError):
            os.setpgid(child, child)
        for number in descriptors:
            os.close(number)
        with suppress(BrokenPipeError):  # nobody waits any more; the next request is the end
            control.send(str(child).encode())
        code = _awaited(child, control, wake)
        with suppress(BrokenPipeError):
            control.send(str(code).encode())


def _awaited(child: int, control: socket.socket, wake: int) -> int:
    """Returns the child's exit code; nothing of what it started is left."""
    options = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while not os.waitid(os.P_PID, child, options):
        ready, _, _ = select.select([control.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 64)
        if control.fileno() in ready:
            break
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _carry_out(talk: int, errors: int) -> NoReturn:
    """Receives the call, makes it, and sends what came of it."""
    with suppress(OSError):
        os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for stream in (1, 2):
        os.dup2(errors, stream)
    connection = Connection(talk)
    code = 1
    try:
        folder, environment, path = _received(connection)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
        os.chdir(folder)
        function, args, kwargs = _received(connection)
        value = function(lambda text: _send(connection, "doing", text), *args, **kwargs)
        _send(connection, "result", value)
        code = 0
    except Exception as error:
        _send_error(connection, error)
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else code
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the libraries may not end by themselves.
    os._exit(code)


def _send_error(connection: Connection, error: Exception) -> None:
    where = "".join(traceback.format_exception(error))
    if not isinstance(error, MigrationError):
        # A traceback does not travel, and neither does what led to the error.
        error.add_note(where)
    try:
        _send(connection, "error", error)
    except Exception:  # of a class that cannot be pickled
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(where)
        with suppress(OSError):  # nobody waits any more
            _send(connection, "error", told)


def _received(connection: Connection) -> Any:
    return pickle.loads(connection.recv_bytes())  # noqa: S301 - from the process that started us


def _send(connection: Connection, kind: str, value: Any) -> None:
    # Plain pickle: torch teaches multiprocessing's own to send tensors by shared memory.
    connection.send_bytes(pickle.dumps((kind, value)))


if __name__ == "__main__":
    main()
