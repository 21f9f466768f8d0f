"""Running ATC: with a time limit, its whole group of processes ended, its log kept."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ascend_migrate.converters.atc.messages import SUCCESS, failure
from ascend_migrate.pipeline.cann.om_file import WEIGHTS
from ascend_migrate.pipeline.cann.toolkit import Toolkit
from ascend_migrate.pipeline.errors import ToolchainError
from ascend_migrate.pipeline.logged import run_logged

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
    with, and a file that is there and not empty. After a failure there is none.

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
    try:
        code = _run(command, log, output.parent, toolkit.environment(os.environ), timeout)
        said = log.read_text(encoding="utf-8", errors="replace")
        if code != 0 or SUCCESS not in said:
            raise failure(output.name, said, str(log))
        for found in _written(output):
            if found.is_file() and found.stat().st_size:
                return found
        raise ToolchainError(f"{output}.om: atc reports success and wrote no file; see {log}")
    except BaseException:
        for path in _written(output):
            path.unlink(missing_ok=True)
        shutil.rmtree(output.parent / WEIGHTS, ignore_errors=True)
        raise


def _written(output: Path) -> list[Path]:
    """ATC adds the host to the name where it is not this one: NAME_linux_aarch64.om."""
    others = sorted(output.parent.glob(f"{output.name}_linux_*.om"))
    return [output.with_name(f"{output.name}.om"), *others]


def _run(
    command: Sequence[str], log: Path, folder: Path, environment: dict[str, str], timeout: float
) -> int:
    try:
        code = run_logged(command, log, folder=folder, timeout=timeout, environment=environment)
    except OSError as error:
        raise ToolchainError(f"{command[0]}: cannot be run: {error.strerror}") from error
    if code is None:
        raise ToolchainError(
            f"{command[0]}: not done after {timeout:g} s, ended; ask for fewer sizes, or give "
            f"it more time; see {log}",
            transient=True,
        )
    return code
