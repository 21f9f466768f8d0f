"""Starts, asks and ends the process in which MindSpore runs.

A process of its own, because MindSpore may crash, hang, compile in one thread only, never gives
memory back, and reads its environment when it is imported. What goes wrong in it is one error here.

Its memory is watched from here and not limited by the kernel (setrlimit): MindSpore does not
survive a failed allocation. It hangs, aborts on a check that has nothing to do with it, or says
that the file is invalid, which would be believed.
"""

import importlib.util
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ascend_migrate.pipeline.apart import how_it_ended
from ascend_migrate.pipeline.errors import CheckError, KernelMissingError, ToolchainError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits, in_gib, private_memory
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.validators.closing import Closing

_MODULE = "ascend_migrate.validators.mindspore_worker"
_MESSAGE_LIMIT = 400
"""Characters of MindSpore's message that are shown: its first paragraph is shorter, its C++ call
stacks are longer."""

_LOOK_EVERY = 0.05
"""Seconds: a process that fills memory as fast as it can takes some 200 MB in this time."""

_LOG_LIMIT = 64 << 20
"""Bytes of messages, 400,000 lines or so; a whole judgement prints a few KB."""

_LOG_END = 1 << 16
"""Bytes of the log that are searched for the reason of a crash."""


class MindSporeProcess(Closing):
    """One MindSpore process that holds any number of graphs.

    Args:
        limits: for one request; the process is killed where it exceeds them.
        verbosity: MindSpore's GLOG_v: 3 shows errors only, 2 also warnings.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, verbosity: int = 3) -> None:
        if importlib.util.find_spec("mindspore") is None:
            raise ToolchainError(
                "MindSpore is not installed; run: pip install 'ascend-migrate[mindspore]'"
            )
        self._limits, self._memory = limits, limits.bytes_allowed()
        self._folder = Path(tempfile.mkdtemp(prefix="ascend-migrate-mindspore-"))
        self._paths: dict[str, Path] = {}
        read, self._requests = os.pipe()
        self._answers, write = os.pipe()
        self._buffer = b""
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(read), str(write)],
                cwd=self._folder,
                env=_environment(limits.threads_allowed(), verbosity),
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
        """Loads a .mindir file and returns the key of the graph.

        Raises:
            CheckError: MindSpore refuses the file.
            ToolchainError: the process crashed, or exceeded a limit.
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
            CheckError: MindSpore refuses, for example for want of a CPU kernel.
            ToolchainError: the process crashed, or exceeded a limit.
        """
        subject = f"{self._paths[key]}: did not run"
        self._check_open(subject)
        given, made = self._folder / "feeds.npz", self._folder / "outputs.npz"
        try:
            np.savez(given, *feeds)
        except OSError as error:
            raise ToolchainError(
                f"MindSpore: {subject}: {given} cannot be written: {error.strerror}; make room"
            ) from error
        self._ask({"run": key, "feeds": str(given), "outputs": str(made)}, subject)
        with np.load(made, allow_pickle=False) as arrays:
            return [arrays[f"arr_{index}"] for index in range(len(arrays.files))]

    def log(self) -> str:
        """Returns what MindSpore has printed so far."""
        return (self._folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """Ends the process, its children and its working folder."""
        if self._requests >= 0:
            os.close(self._requests)
            os.close(self._answers)
            self._requests = self._answers = -1
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _kill(self) -> None:
        # Not there any more: it has ended by itself.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _check_open(self, subject: str) -> None:
        if self._requests < 0:
            raise ToolchainError(f"MindSpore: {subject}: the process was ended before")

    def _ask(self, request: Mapping[str, Any], subject: str) -> None:
        self._check_open(subject)
        try:
            os.write(self._requests, json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            self._crashed(subject)
        answer = json.loads(self._line(subject))
        if "error" in answer:
            raise _refusal(f"MindSpore: {subject}", answer["error"])

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
        raise ToolchainError(f"MindSpore: {reason}", transient=transient)

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


_NO_KERNEL = re.compile(
    r"Select CPU operator\[(\w+)\] fail.*?(?:but get input\[([^\]]*)\]|\n\n|\Z)"
    r"|Unsupported op \[(\w+)\] on CPU"
    r"|For '(\w+)',? it does not support this kernel data type",
    re.S,
)
"""How MindSpore 2.10 says that its CPU back end lacks a kernel, or lacks it for these types."""


def _refusal(subject: str, message: str) -> CheckError:
    found = _NO_KERNEL.search(message)
    if found is None:
        return CheckError(f"{subject}: {first_paragraph(message)}")
    chosen, types, unknown, rejected = found.groups()
    kernel = chosen or unknown or rejected
    if types:
        kernel += f"({', '.join(types.lower().split())})"
    said = f"{subject}: MindSpore's CPU back end has no kernel of {kernel}"
    return KernelMissingError(said, kernel)


def first_paragraph(message: str) -> str:
    """Returns the part of a MindSpore message that says what is wrong, as one line."""
    text = re.split(r"\n-{5,}\n- (?:C\+\+|The Function|Framework)", message, maxsplit=1)[0]
    # The headings of the other kinds are drawn with lines of dashes.
    text = " ".join(re.sub(r"-{5,}\s+(- )?", " ", text).split())
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + " ..."


def _environment(threads: int, verbosity: int) -> dict[str, str]:
    environment = dict(os.environ)
    environment["GLOG_v"] = str(verbosity)
    # On CPUs with AVX-512, oneDNN takes its reference code for convolutions wider than 1 (resnet50:
    # 4.4 s instead of 0.08 s); the AVX2 code is the same arithmetic, and fast.
    environment.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    environment["OMP_NUM_THREADS"] = str(threads)
    return environment
