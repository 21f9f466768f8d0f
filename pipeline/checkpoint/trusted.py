"""Checkpoints whose Python objects the user trusts: made by a confined process, never by this one.

That process hands back a file of plain tensors, which is read like any other file from a stranger.
So what a lying pickle can reach is its own sandbox, and the values of the weights.
"""

import json
import logging
import os
import signal
import site
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ascend_migrate.pipeline.checkpoint.archive import open_archive
from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.formats import open_contents
from ascend_migrate.pipeline.checkpoint.mapped import map_file
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.sandbox.scratch import scratch_folder, taken
from ascend_migrate.pipeline.sandbox.unpickle import FAILURE, STATE

FORMAT = "trusted-pickle"

TIME_LIMIT = 600
"""Seconds: a module of several GB is made in less than a minute."""

_DISK = 4 << 30
"""Bytes that its folder may hold beside four copies of the file."""

_LOOK = 0.25
"""Seconds between two looks at that folder."""

_MODULE = "ascend_migrate.pipeline.sandbox.unpickle"

_LOG = logging.getLogger("ascend_migrate")


def open_trusted(path: Path, search: Path, seconds: int = TIME_LIMIT) -> Contents:
    """Runs the code of a pickle in a confined process, and opens what that leaves.

    Args:
        path: a file of ``torch.save``, or a bare pickle.
        search: folder that is searched for the modules of its classes.
        seconds: until the process is ended.

    Raises:
        SourceError: damaged, the code failed or took too long, or left no tensors.
    """
    with named(path, FORMAT):
        _check_file(path)
        _LOG.warning("WARNING: %s: running the code in this file, as --trust-pickle asks", path)
        with scratch_folder() as folder:
            confinement = _run(path.resolve(), folder, search.resolve(), seconds)
            _LOG.warning("WARNING: %s: it had %s", path, "; ".join(confinement))
            made = folder / STATE
            if made.is_symlink() or not made.is_file():
                _fail(folder)
            held = _Held(made)
            try:
                contents = open_contents(held.path, ("torch-zip",))
            except SourceError as error:
                reason = str(error).removeprefix(f"{held.path}: ")
                raise FormatError(f"its code left what cannot be read: {reason}") from None
    notes = (
        'its Python objects were made by running their code (trust = "pickle")',
        f"confined while that ran: {'; '.join(confinement)}",
    )
    return replace(contents, format=FORMAT, notes=notes, held=held)


class _Held:
    """A file that is kept open: it can be read when its name is gone, and goes with this object.

    Attributes:
        path: under which it can be opened again, in this process only.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        self.path = Path(f"/proc/self/fd/{descriptor}")


def _check_file(path: Path) -> None:
    """Refuses a damaged archive before anything of it runs: torch checks no checksums."""
    if path.is_dir():
        raise FormatError("is a folder; --trust-pickle takes a single file")
    data = map_file(path)
    if bytes(data[:4]) == b"PK\3\4":
        for record in open_archive(data).records.values():
            record.load()


def _run(path: Path, folder: Path, search: Path, seconds: int) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE, path, folder, search, str(seconds)],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Its own session, so that whatever it starts can be ended with it.
        start_new_session=True,
    )
    try:
        said = _watched(
            process, folder, time.monotonic() + seconds, _DISK + 4 * path.stat().st_size
        )
    except TimeoutError:
        raise FormatError(f"its code was ended after {seconds} s; nothing of it is used") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    lines: list[str] = json.loads(said) if said else ["NOT CONFINED: the process ended at once"]
    return lines


def _watched(process: subprocess.Popen[bytes], folder: Path, end: float, disk: int) -> bytes:
    """Waits for a process and returns what it has printed.

    Raises:
        TimeoutError: it is not at an end by then.
        FormatError: its folder holds more than ``disk`` bytes.
    """
    while time.monotonic() < end:
        try:
            # Printed before anything of the checkpoint is read, and only then: the pipe is shut.
            return process.communicate(timeout=_LOOK)[0]
        except subprocess.TimeoutExpired:
            if taken(folder, disk):
                raise FormatError(
                    f"its code wrote more than {disk >> 20} MiB; nothing of it is used"
                ) from None
    raise TimeoutError


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the caller's but where programs and modules are: no keys, no tokens."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {
        **kept,
        "PYTHONUSERBASE": site.getuserbase(),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _fail(folder: Path) -> NoReturn:
    failure = folder / FAILURE
    text = "the process was ended, by a limit or by a crash"
    if failure.is_file() and not failure.is_symlink():
        with failure.open("rb") as stream:
            text = stream.read(500).decode("utf-8", "replace")
    raise FormatError(
        f"its code failed: {shown(' '.join(text.split()))}; put the modules of its classes beside "
        "the specification, or install them"
    )
