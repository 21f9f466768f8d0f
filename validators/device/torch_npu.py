"""Runs the weights for torch_npu in the model's own code: on an Ascend device, nowhere else.

The one runtime that needs the model's code and torch, since that is what the form is for.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.pipeline.spec import MigrationSpec
from ascend_migrate.pipeline.torch_npu.manifest import weights_of
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.worker_process import WorkerProcess

_NAME = "torch-npu"
_MODULE = "ascend_migrate.validators.device.torch_npu_worker"

ENVIRONMENT = {
    "TORCH_NPU_USE_COMPATIBLE_IMPL": "1",
    "TORCH_NPU_FALLBACK_CPU_DISABLE": "1",
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
}
"""Read when torch is imported: GELU, products and pooling as torch defines them; an operator that
the device lacks is an error and not run on the CPU; torch_npu is imported by us, where its failure
can be told. Not verified on device."""


class TorchNpuRunner(Closing):
    """The model on a device, loaded once and run as often as wanted.

    Args:
        artifact: of the form torch-npu.
        spec: names the code of the model; None where there is a golden file alone.
        limits: for loading, and for one run.

    Raises:
        SourceError: the manifest or the weights are damaged.
        CheckError: there is no code to run, or it fails.
        ToolchainError: torch_npu or its device is missing, crashed, or exceeded a limit.
    """

    name = _NAME
    level = "device"
    twin = ""

    def __init__(
        self, artifact: Artifact, spec: MigrationSpec | None, *, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        if spec is None or spec.model is None:
            raise CheckError(
                f"{artifact.path}: {_NAME} runs the code of the model, which a golden file does "
                "not hold; validate against the specification"
            )
        self._path = weights_of(artifact.path)
        self._inputs = [TensorInfo(item.name, item.dtype, ()) for item in spec.inputs]
        try:
            model = json.dumps(model_of(spec))
        except TypeError as error:
            raise CheckError(f"model: its arguments do not travel to {_NAME}: {error}") from error
        environment = {**os.environ, **ENVIRONMENT}
        self._process = WorkerProcess(_NAME, _MODULE, [model], limits, environment)
        with self.closed_on_error():
            self._key = self._process.load(self._path, self._inputs)

    def close(self) -> None:
        """Ends the process."""
        self._process.close()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once, on the device.

        Raises:
            CheckError: the model fails, or an operator of it does not run on the device.
            ToolchainError: it crashed, or exceeded a limit.
        """
        for name, array in feeds.items():
            if array.dtype == numpy_dtype("bfloat16"):  # no type of NumPy, in which arrays travel
                raise CheckError(f"{self._path}: input {name!r} is bfloat16, which does not travel")
        given = [np.asarray(feeds[info.name], order="C") for info in self._inputs]
        return self._process.run_named(self._key, given)


def model_of(spec: MigrationSpec) -> dict[str, object]:
    """Returns what the process is told of the model, as plain JSON data."""
    ref = spec.model
    if ref is None:
        raise TypeError("a specification without a model never asks for one")
    search: Path | None = ref.search
    return {
        "target": ref.target,
        "args": list(ref.args),
        "kwargs": dict(ref.kwargs),
        "search": str(search.resolve()) if search is not None else "",
        "allow_missing": list(spec.allow_missing),
        "allow_unexpected": list(spec.allow_unexpected),
    }
