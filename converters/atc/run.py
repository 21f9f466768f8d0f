"""Running ATC: with a time limit, its whole group of processes ended, its log kept."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ascend_migrate.converters.atc.messages import SUCCESS, failure
from ascend_migrate.pipeline.cann.toolkit import Toolkit
from ascend_migrate.pipeline.errors import ToolchainError

LOG = "atc.log"
"""What ATC printed, beside its result."""

TIMEOUT = 7200.0
"""Seconds: large models with many profiles take hours to compile; one that hangs takes for ever."""


def run_atc(
    toolkit: Toolkit,
    arguments: Sequence[str],
    output: Path,
    *,
    log: Path | None = None,
    timeout: float = TIMEOUT,
) -> Path:
    """Compiles, and returns the .om file.

    Success is asked three ways, as none of them is enough: the exit code, the line that ATC ends
    with, and a file that is there and not empty.

    Args:
        toolkit: where ATC is.
        arguments: of ATC; they name ``output``.
        output: path of the result without its suffix, in an existing folder.
        log: file for what ATC says; by default `LOG` beside the result.
        timeout: seconds.

    Raises:
        SpecError: ATC does not take the request.
        ConversionError: ATC does not take the graph.
        ToolchainError: it cannot be started, takes too long, or fails in itself.
    """
    log = log or output.parent / LOG
    command = [str(toolkit.atc), *arguments]
    code = _run(command, log, output.parent, toolkit.environment(os.environ), timeout)
    said = log.read_text(encoding="utf-8", errors="replace")
    if code != 0 or SUCCESS not in said:
        raise failure(output.name, said, str(log))
    for found in (output.with_name(f"{output.name}.om"), *_of_other_hosts(output)):
        if found.is_file() and found.stat().st_size:
            return found
    raise ToolchainError(f"{output}.om: atc reports success and wrote no file; see {log}")


def _of_other_hosts(output: Path) -> list[Path]:
    """ATC adds the host to the name where it is not this one: NAME_linux_aarch64.om."""
    return sorted(output.parent.glob(f"{output.name}_linux_*.om"))


def _run(
    command: Sequence[str], log: Path, folder: Path, environment: dict[str, str], timeout: float
) -> int:
    with log.open("wb") as said:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolchainError(f"{command[0]}: cannot be run: {error.strerror}") from error
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ToolchainError(
                f"{command[0]}: not done after {timeout:g} s, ended; ask for fewer sizes, or give "
                f"it more time; see {log}",
                transient=True,
            ) from None
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends what is left of ATC: it compiles operators in processes of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
