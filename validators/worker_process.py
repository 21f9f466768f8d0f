"""Starts, asks and ends the process in which a runtime runs.

A process of its own, because a runtime may crash, hang, write into the working directory, and
reads its environment when it is imported. What goes wrong in it is one error here.

Its memory is watched from here and not limited by the kernel (setrlimit): MindSpore does not
survive a failed allocation. It hangs, aborts on a check that has nothing to do with it, or says
that the file is invalid, which would be believed.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ascend_migrate.pipeline.apart import how_it_ended
from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.limits import Limits, in_gib, private_memory
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.worker import NAMES

_MESSAGE_LIMIT = 400
"""Characters of a message that are shown: MindSpore's first paragraph is shorter, its C++ call
stacks are longer."""

_LOOK_EVERY = 0.05
"""Seconds: a process that fills memory as fast as it can takes some 200 MB in this time."""

_LOG_LIMIT = 64 << 20
"""Bytes of messages, 400,000 lines or so; a whole judgement prints a few KB."""

_LOG_END = 1 << 16
"""Bytes of the log that are searched for the reason of a crash."""


ENDED: ContextVar[threading.Event | None] = ContextVar("ended", default=None)
"""Set by whoever asks from a thread: once the event is set, no request there is waited for."""


class WorkerProcess(Closing):
    """One process that holds any number of graphs.

    Args:
        name: of the runtime, for errors.
        module: what the process runs: it ends in `worker.main`.
        arguments: of the module.
        limits: for one request; the process is killed where it exceeds them.
        environment: of the process.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        limits: Limits,
        environment: Mapping[str, str],
    ) -> None:
        self._name = name
        self._limits, self._memory = limits, limits.bytes_allowed()
        prefix = f"ascend-migrate-{name.lower()}-"
        self._folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._paths: dict[str, Path] = {}
        read, self._requests = os.pipe()
        self._answers, write = os.pipe()
        self._buffer = b""
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(read), str(write), *arguments],
                cwd=self._folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(read, write),
                # Its own session, so that whatever it starts can be ended with it.
                start_new_session=True,
            )
        os.close(read)
        os.close(write)

    def load(self, path: Path, inputs: Sequence[TensorInfo]) -> str:
        """Loads a file and returns the key of the graph.

        Raises:
            CheckError: the runtime refuses the file.
            ToolchainError: its device is missing, the process crashed, or exceeded a limit.
        """
        key = str(len(self._paths))
        self._paths[key] = path
        described = [info.to_json() for info in inputs]
        request = {"load": key, "path": str(path.resolve()), "inputs": described}
        self._ask(request, f"{path}: not loaded")
        return key

    def run(self, key: str, feeds: list[np.ndarray]) -> list[np.ndarray]:
        """Runs a loaded graph on arrays given by position.

        Raises:
            CheckError: the runtime refuses, for example for want of a kernel.
            ToolchainError: the process crashed, or exceeded a limit.
        """
        return list(self.run_named(key, feeds).values())

    def run_named(self, key: str, feeds: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Does the same for a worker that names what it writes; the names are its own."""
        subject = f"{self._paths[key]}: did not run"
        self._check_open(subject)
        given, made = self._folder / "feeds.npz", self._folder / "outputs.npz"
        try:
            np.savez(given, *feeds)
        except OSError as error:
            raise ToolchainError(
                f"{self._name}: {subject}: {given} cannot be written: {error.strerror}; make room"
            ) from error
        self._ask({"run": key, "feeds": str(given), "outputs": str(made)}, subject)
        with np.load(made, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        names = found.pop(NAMES, None)
        return dict(zip(found if names is None else map(str, names), found.values(), strict=True))

    def log(self) -> str:
        """Returns what the runtime has printed so far."""
        return (self._folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """Ends the process, its children and its working folder."""
        if self._requests >= 0:
            os.close(self._requests)
            os.close(self._answers)
            self._requests = self._answers = -1
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def refusal(self, subject: str, message: str) -> CheckError:
        """Returns the error for what the runtime says on refusing a request."""
        return CheckError(f"{subject}: {first_paragraph(message)}")

    def _kill(self) -> None:
        # Not there any more: it has ended by itself.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _check_open(self, subject: str) -> None:
        if self._requests < 0:
            raise ToolchainError(f"{self._name}: {subject}: the process was ended before")

    def _ask(self, request: Mapping[str, Any], subject: str) -> None:
        self._check_open(subject)
        try:
            os.write(self._requests, json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            self._crashed(subject)
        answer = json.loads(self._line(subject))
        if "absent" in answer:
            self._stop(f"{subject}: {first_paragraph(answer['absent'])}")
        if "error" in answer:
            raise self.refusal(f"{self._name}: {subject}", answer["error"])

    def _line(self, subject: str) -> bytes:
        deadline = time.monotonic() + self._limits.timeout
        while b"\n" not in self._buffer:
            self._check_limits(subject, deadline)
            if select.select([self._answers], [], [], _LOOK_EVERY)[0]:
                block = os.read(self._answers, 1 << 16)
                if not block:
                    self._crashed(subject)
                self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _check_limits(self, subject: str, deadline: float) -> None:
        limits = self._limits
        ended = ENDED.get()
        if ended is not None and ended.is_set():
            self._stop(f"{subject}: ended, because what it was needed for was")
        if time.monotonic() > deadline:
            self._stop(
                f"{subject}: no answer within {limits.timeout:g} s, ended; give it more time "
                "(validation.timeout) or a smaller input",
                transient=True,
            )
        if private_memory(self._process.pid) > self._memory:
            advice = "raise validation.memory, or give it a smaller input"
            if limits.memory is None:
                advice = "that is what was free: free some, or judge it on a larger machine"
            self._stop(f"{subject}: needed more than {in_gib(self._memory)} of memory; {advice}")
        if (self._folder / "log").stat().st_size > _LOG_LIMIT:
            last = f", such as: {lines[-1]}" if (lines := self._last_lines()) else ""
            self._stop(f"{subject}: printed more than {_LOG_LIMIT >> 20} MiB of messages{last}")

    def _stop(self, reason: str, *, transient: bool = False) -> NoReturn:
        self.close()
        raise ToolchainError(f"{self._name}: {reason}", transient=transient)

    def _crashed(self, subject: str) -> NoReturn:
        reason = how_it_ended(self._process.wait())
        lines = self._last_lines()
        telling = [line for line in lines if "Error" in line] or lines
        last = f": {telling[-1]}" if telling else ""
        self._stop(f"{subject}: the process ended with {reason}{last}")

    def _last_lines(self) -> list[str]:
        with (self._folder / "log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_END))
            lines = log.read().decode(errors="replace").splitlines()
        return [line.strip()[:_MESSAGE_LIMIT] for line in lines if line.strip()]


def first_paragraph(message: str) -> str:
    """Returns the part of a message that says what is wrong, as one line."""
    text = re.split(r"\n-{5,}\n- (?:C\+\+|The Function|Framework)", message, maxsplit=1)[0]
    # The headings of the other kinds are drawn with lines of dashes.
    text = " ".join(re.sub(r"-{5,}\s+(- )?", " ", text).split())
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + " ..."
