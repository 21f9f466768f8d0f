"""The process that runs MindSpore, started by mindspore_process.py and by nothing else.

    python -P -m ascend_migrate.validators.mindspore_worker READ_FD WRITE_FD

Requests and answers are lines of JSON on two pipes of their own, because MindSpore prints to
stdout and stderr as it pleases; arrays travel by position, as .npz files in the working directory.

    {"load": KEY, "path": PATH, "inputs": [{"dtype": ..., "shape": ...}, ...]}  -> {"ok": true}
    {"run": KEY, "feeds": FILE, "outputs": FILE}                                -> {"ok": true}
    anything that MindSpore refuses                                       -> {"error": TEXT}
"""

import json
import os
import sys
from typing import Any

import numpy as np

# What MindSpore raises from C++ and Python alike; anything else is a fault of this program.
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


class Graphs:
    """The graphs loaded so far, by key."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[Any, list[str]]] = {}

    def load(self, key: str, path: str, inputs: list[dict[str, Any]]) -> None:
        """Loads a .mindir file; ``inputs`` say the element type and the shape of each input."""
        import mindspore

        mindspore.set_device("CPU")
        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        graph = mindspore.nn.GraphCell(mindspore.load(path))
        if any(None in item["shape"] for item in inputs):
            # Compiled once for all sizes. For each set of sizes anew, MindSpore would take some
            # tenths of a second, and could not do so twice for a graph with branches or loops.
            graph.set_inputs(*(_placeholder(item) for item in inputs))
        self._loaded[key] = (graph, [item["dtype"] for item in inputs])

    def run(self, key: str, feeds: str, outputs: str) -> None:
        """Runs a loaded graph on the arrays of ``feeds``, named by position."""
        import mindspore

        graph, dtypes = self._loaded[key]
        with np.load(feeds, allow_pickle=False) as arrays:
            given = [arrays[f"arr_{index}"] for index in range(len(dtypes))]
        tensors = []
        for array, dtype in zip(given, dtypes, strict=True):
            tensor = mindspore.Tensor(array)
            # numpy 2 has no bfloat16 that MindSpore reads: it comes as float32.
            tensors.append(tensor.astype(mindspore.bfloat16) if dtype == "bfloat16" else tensor)
        result = graph(*tensors)
        results = result if isinstance(result, tuple | list) else (result,)
        np.savez(outputs, *map(_array, results))


def _placeholder(item: dict[str, Any]) -> Any:
    import mindspore

    name = "bool_" if item["dtype"] == "bool" else item["dtype"]
    return mindspore.Tensor(shape=item["shape"], dtype=getattr(mindspore, name))


def _array(item: Any) -> np.ndarray:
    import mindspore

    if not isinstance(item, mindspore.Tensor):
        return np.asarray(item)
    if item.dtype == mindspore.bfloat16:
        item = item.astype(mindspore.float32)
    return np.asarray(item.asnumpy())


def answer(graphs: Graphs, request: dict[str, Any]) -> dict[str, Any]:
    """Carries out one request."""
    try:
        if "load" in request:
            graphs.load(request["load"], request["path"], request["inputs"])
        else:
            graphs.run(request["run"], request["feeds"], request["outputs"])
    except _REFUSALS as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"ok": True}


def main() -> int:
    """Answers requests until the pipe is closed."""
    graphs = Graphs()
    with os.fdopen(int(sys.argv[1]), "rb") as requests, os.fdopen(int(sys.argv[2]), "wb") as out:
        for line in requests:
            out.write(json.dumps(answer(graphs, json.loads(line))).encode() + b"\n")
            out.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
