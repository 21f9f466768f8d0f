"""Runs an ONNX artifact with onnxruntime's CANN provider, on an Ascend device and nowhere else."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ascend_migrate.pipeline.dtypes import BY_ONNX
from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.pipeline.onnx_signature import load_graph
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.device.padding import padded_outputs, unpadded
from ascend_migrate.validators.feeds import check_names
from ascend_migrate.validators.worker_process import WorkerProcess

_NAME = "onnxruntime-cann"
_MODULE = "ascend_migrate.validators.device.onnx_cann_worker"


class OnnxCannRunner(Closing):
    """One ONNX graph on a device, loaded once and run as often as wanted.

    Args:
        artifact: an ONNX artifact.
        limits: for loading, and for one run; the first run of each set of sizes compiles it.

    Raises:
        SourceError: the file is no ONNX model.
        CheckError: the provider refuses the graph or a part of it, or its types do not travel.
        ToolchainError: onnxruntime-cann or CANN is missing, crashed, or exceeded a limit.
    """

    name = _NAME
    level = "device"
    twin = ""

    def __init__(self, artifact: Artifact, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = artifact.path
        model = load_graph(artifact.path)
        held = {tensor.name for tensor in model.graph.initializer}
        held |= {tensor.values.name for tensor in model.graph.sparse_initializer}
        self._inputs = [_described(v) for v in model.graph.input if v.name not in held]
        self._outputs = [_described(value) for value in model.graph.output]
        self._padded = padded_outputs(model)
        for info in (*self._inputs, *self._outputs):
            if info.dtype == "bfloat16":  # no type of NumPy, in which arrays go to the worker
                raise CheckError(f"{self._path}: {info.name!r} is bfloat16, which {_NAME} lacks")
        if importlib.util.find_spec("onnxruntime") is None:
            raise ToolchainError(f"{_NAME} is not installed; run: pip install {_NAME} 'numpy<2'")
        self._process = WorkerProcess(_NAME, _MODULE, [], limits, os.environ)
        with self.closed_on_error():
            self._key = self._process.load(self._path, self._inputs)

    def close(self) -> None:
        """Ends the process, and what it compiled."""
        self._process.close()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the graph once, on the device; padding of NonMaxSuppression is taken off.

        Raises:
            CheckError: the feeds do not fit the graph, the provider refuses to run it, or a node
                ran elsewhere.
            ToolchainError: it crashed, or exceeded a limit.
        """
        check_names(self._path, [info.name for info in self._inputs], feeds)
        given = [np.asarray(feeds[info.name], order="C") for info in self._inputs]
        arrays = self._process.run(self._key, given)
        found = dict(zip((info.name for info in self._outputs), arrays, strict=True))
        return unpadded(found, self._padded)


def _described(value: Any) -> TensorInfo:
    tensor = value.type.tensor_type
    dtype = BY_ONNX.get(tensor.elem_type)
    sizes = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return TensorInfo(value.name, dtype.name if dtype is not None else "", sizes)
