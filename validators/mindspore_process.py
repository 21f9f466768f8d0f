"""Starts, asks and ends the process in which MindSpore runs.

A process of its own, because MindSpore may crash, hang, compile in one thread only, never gives
memory back, and reads its environment when it is imported.
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
from typing import Any

import numpy as np

from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.validators.closing import Closing

_MODULE = "ascend_migrate.validators.mindspore_worker"
_MESSAGE_LIMIT = 400
"""Characters of MindSpore's message that are shown: its first paragraph is shorter, its C++ call
stacks are longer."""


class MindSporeProcess(Closing):
    """One MindSpore process that holds any number of graphs.

    Args:
        timeout: seconds that one request may take before the process is killed.
        threads: OpenMP threads; None for MindSpore's own choice.
        verbosity: MindSpore's GLOG_v: 3 shows errors only, 2 also warnings.
    """

    def __init__(
        self, *, timeout: float = 600.0, threads: int | None = None, verbosity: int = 3
    ) -> None:
        if importlib.util.find_spec("mindspore") is None:
            raise ToolchainError(
                "MindSpore is not installed; run: pip install 'ascend-migrate[mindspore]'"
            )
        self._timeout = timeout
        self._folder = Path(tempfile.mkdtemp(prefix="ascend-migrate-mindspore-"))
        self._paths: dict[str, Path] = {}
        read, self._requests = os.pipe()
        self._answers, write = os.pipe()
        self._buffer = b""
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(read), str(write)],
                cwd=self._folder,
                env=_environment(threads, verbosity),
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
            ToolchainError: the process crashed or took too long.
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
            ToolchainError: the process crashed or took too long.
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
            raise CheckError(f"MindSpore: {subject}: {first_paragraph(answer['error'])}")

    def _line(self, subject: str) -> bytes:
        deadline = time.monotonic() + self._timeout
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                self.close()
                raise ToolchainError(
                    f"MindSpore: {subject}: no answer within {self._timeout:g} s, ended; "
                    "give it more time or a smaller input",
                    transient=True,
                )
            block = os.read(self._answers, 1 << 16)
            if not block:
                self._crashed(subject)
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _crashed(self, subject: str) -> None:
        code = self._process.wait()
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        lines = [line.strip() for line in self.log().splitlines() if line.strip()]
        telling = [line for line in lines if "Error" in line] or lines
        last = f": {telling[-1][:_MESSAGE_LIMIT]}" if telling else ""
        self.close()
        raise ToolchainError(f"MindSpore: {subject}: the process ended with {reason}{last}")


def first_paragraph(message: str) -> str:
    """Returns the part of a MindSpore message that says what is wrong, as one line."""
    text = re.split(r"\n-{5,}\n- (?:C\+\+|The Function|Framework)", message, maxsplit=1)[0]
    # The headings of the other kinds are drawn with lines of dashes.
    text = " ".join(re.sub(r"-{5,}\s+(- )?", " ", text).split())
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + " ..."


def _environment(threads: int | None, verbosity: int) -> dict[str, str]:
    environment = dict(os.environ)
    environment["GLOG_v"] = str(verbosity)
    # On CPUs with AVX-512, oneDNN takes its reference code for convolutions wider than 1 (resnet50:
    # 4.4 s instead of 0.08 s); the AVX2 code is the same arithmetic, and fast.
    environment.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return environment
