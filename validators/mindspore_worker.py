"""The process that runs MindSpore, started by mindspore_process.py and by nothing else.

python -P -m ascend_migrate.validators.mindspore_worker READ_FD WRITE_FD CPU|Ascend
"""

import sys
from typing import Any

import numpy as np

from ascend_migrate.validators import worker

_ASCEND = "Ascend"


class Graphs:
    """The graphs loaded so far, by key.

    Args:
        target: MindSpore's device_target.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._loaded: dict[str, tuple[Any, list[str]]] = {}

    def load(self, key: str, path: str, inputs: list[dict[str, Any]]) -> None:
        """Loads a .mindir file; ``inputs`` say the element type and the shape of each input."""
        import mindspore

        _choose(self._target)
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


def _choose(target: str) -> None:
    """Sets the device, and asserts it.

    Raises:
        AbsentError: MindSpore has no back end for it on this machine.
    """
    import mindspore

    try:
        mindspore.set_device(target)
    except RuntimeError as error:
        if target != _ASCEND:
            raise
        said = str(error).partition(". ")[0]
        raise worker.AbsentError(
            "it does not reach an Ascend device; install the CANN that this MindSpore wants, run "
            f"`source .../set_env.sh`, and see `npu-smi info` ({said})"
        ) from error
    chosen = mindspore.get_context("device_target")
    if chosen != target:
        raise worker.AbsentError(f"MindSpore chose the device {chosen}, not {target}")
    if target == _ASCEND:
        _keep_precision()


def _keep_precision() -> None:
    # Not verified on device. The types as the graph says (which MindSpore calls its default), and
    # no HF32: CANN lets convolutions round float32 to 19 bits unless told otherwise.
    from mindspore.device_context.ascend import op_precision

    op_precision.precision_mode("must_keep_origin_dtype")
    op_precision.conv_allow_hf32(False)
    op_precision.matmul_allow_hf32(False)


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


if __name__ == "__main__":
    raise SystemExit(worker.main(Graphs(sys.argv[3])))
