"""Runs commands in forked children that are watched: ``python -m tests.hostile.server``.

One JSON job a line on stdin, one JSON result a line on stdout. The server has imported what the
commands need, so that a child takes milliseconds; it has one thread, so that it may be forked.
"""

import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ascend_migrate.flows import cli, sources, steps_single  # noqa: F401
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import SourceError

_FORBIDDEN = frozenset(
    (
        *("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.putenv"),
        *("subprocess.Popen", "pty.spawn", "pickle.find_class", "marshal.loads", "webbrowser.open"),
        *("socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request", "os.kill"),
    )
)
"""Events of Python's own audit that no input may cause (PEP 578)."""

_Hook = Callable[[str, tuple[Any, ...]], None]


def _watch(forbidden_folder: str, report: int) -> _Hook:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        opened = event == "open" and str(args[0]).startswith(forbidden_folder)
        imports = event == "marshal.loads" and "importlib" in sys._getframe(1).f_code.co_filename
        if opened or (event in _FORBIDDEN and not imports):
            os.write(report, f"{event} {args[:2]!r}\n".encode(errors="replace"))

    return hook


def _child(job: dict[str, Any], events: int) -> None:
    for number, file in ((1, job["stdout"]), (2, job["stderr"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job["cwd"])
    os.environ["TMPDIR"] = job["tmp"]
    # Private memory only: mapped files may be as large as they like.
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    limit = 2 * held + 2 * job["memory"] * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    before = dict(os.environ)
    sys.addaudithook(_watch(job["secret"], events))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(job["seconds"])
    code = cli.run(job["arguments"])
    if dict(os.environ) != before:
        os.write(events, b"the environment was changed\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(job: dict[str, Any]) -> dict[str, Any]:
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            _child(job, write)
        finally:
            os._exit(99)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        events = stream.read().decode()
    _, status, usage = os.wait4(process, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "events": events.splitlines(),
        "memory": usage.ru_maxrss / 1024,
        "cpu": usage.ru_utime + usage.ru_stime,
    }


def _import_everything() -> None:
    """Imports what the commands import lazily; a child would pay for it each time."""
    import ascend_migrate.converters.onnx_to_mindir
    import ascend_migrate.converters.onnx_to_onnx
    import ascend_migrate.validators.cases  # noqa: F401

    try:
        open_checkpoint(Path("none"))
    except SourceError:
        return


if __name__ == "__main__":
    _import_everything()
    # The collector touches every object, and each touched page would be copied for each child.
    gc.collect()
    gc.freeze()
    results = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        results.write(json.dumps(_run(json.loads(line))) + "\n")
        results.flush()
