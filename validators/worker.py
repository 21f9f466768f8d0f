"""What runs inside a worker process: requests are answered until the pipe is closed.

Requests and answers are lines of JSON on two pipes of their own, because a runtime prints to
stdout and stderr as it pleases; arrays travel by position, as .npz files in the working directory.

    {"load": KEY, "path": PATH, "inputs": [{"dtype": ..., "shape": ...}, ...]}  -> {"ok": true}
    {"run": KEY, "feeds": FILE, "outputs": FILE}                                -> {"ok": true}
    anything that the runtime refuses                                     -> {"error": TEXT}
    a device, driver or library is missing                                -> {"absent": TEXT}
"""

import json
import os
import sys
from typing import Any, Protocol

# What runtimes raise from C++ and Python alike; anything else is a fault of this program.
_REFUSALS = (
    RuntimeError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    MemoryError,
)


NAMES = "names"
"""The array beside the outputs in their file that names them, in their order; not all write it."""


class AbsentError(Exception):
    """What the runtime needs of this machine is not here; the message says what to do."""


class Graphs(Protocol):
    """The graphs loaded so far, by key."""

    def load(self, key: str, path: str, inputs: list[dict[str, Any]]) -> None:
        """Loads a file; ``inputs`` say the element type and the shape of each input."""

    def run(self, key: str, feeds: str, outputs: str) -> None:
        """Runs a loaded graph on the arrays of the file ``feeds``, and writes ``outputs``."""


def main(graphs: Graphs, refusals: tuple[type[Exception], ...] = _REFUSALS) -> int:
    """Answers requests on the pipes that the command line names, until they are closed."""
    with os.fdopen(int(sys.argv[1]), "rb") as requests, os.fdopen(int(sys.argv[2]), "wb") as out:
        for line in requests:
            out.write(json.dumps(_answer(graphs, json.loads(line), refusals)).encode() + b"\n")
            out.flush()
    return 0


def _answer(
    graphs: Graphs, request: dict[str, Any], refusals: tuple[type[Exception], ...]
) -> dict[str, Any]:
    try:
        if "load" in request:
            graphs.load(request["load"], request["path"], request["inputs"])
        else:
            graphs.run(request["run"], request["feeds"], request["outputs"])
    except AbsentError as error:
        return {"absent": str(error)}
    except refusals as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"ok": True}
