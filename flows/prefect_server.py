"""A Prefect server of our own, for `flow serve` where the user has none.

The temporary server that Prefect starts by itself has no scheduler: a schedule served on it never
fires, and nothing says so.
"""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ascend_migrate.pipeline.errors import ToolchainError

_START = 120.0
"""Seconds that a server may take to answer: its first start also makes its database."""

_STOP = 20.0
"""Seconds that it may take to end before it is killed."""


@contextmanager
def running_server() -> Iterator[str]:
    """Runs a server on this machine alone, and gives the address of its API.

    Raises:
        ToolchainError: it does not start.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-P", "-m", "prefect", "server", "start", "--analytics-off"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with tempfile.NamedTemporaryFile(prefix="ascend-migrate-prefect-", suffix=".log") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for us: the server must live until the runner has taken its leave.
            start_new_session=True,
        )
        # Without a handler, SIGTERM would end us at once and leave the server behind.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            _wait(process, url, Path(log.name))
            yield url
        finally:
            signal.signal(signal.SIGTERM, before)
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{url}/health", timeout=5):  # noqa: S310  our own http address
                return
        except (URLError, OSError):
            time.sleep(0.2)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raise ToolchainError(
        f"Prefect's server did not start ({lines[-1] if lines else 'it said nothing'}); start one "
        "with `prefect server start`, and set PREFECT_API_URL to its address"
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
