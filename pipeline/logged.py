"""Running another program: what it says is kept, its time limited, its whole group ended."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def run_logged(
    command: Sequence[str],
    log: Path,
    *,
    folder: Path,
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> int | None:
    """Runs a program without input.

    Args:
        command: the program and its arguments.
        log: file for what it prints; replaced.
        folder: that it runs in.
        timeout: seconds.
        environment: of the program; None for this one's.

    Returns:
        Its exit code; None where it was not done in time, and was ended.

    Raises:
        OSError: it cannot be run.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # It may have processes of its own, as ATC has to compile operators.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
