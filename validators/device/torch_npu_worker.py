"""The process that runs a model with torch_npu, started by torch_npu.py and by nothing else.

python -P -m ascend_migrate.validators.device.torch_npu_worker READ_FD WRITE_FD MODEL_AS_JSON

Sources: docs and csrc of Ascend/pytorch, and the wheel torch_npu 2.13.0.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.model import build_model, load_state
from ascend_migrate.validators import worker
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.original import Session
from ascend_migrate.validators.torch_original import TorchOriginal


def prepared() -> str:
    """Sets torch_npu up, and returns the device. Not verified on device, after its import.

    Raises:
        AbsentError: torch_npu or its device is not here.
    """
    try:
        import torch
        import torch_npu  # noqa: F401 - puts npu into torch
    except ImportError as error:
        raise worker.AbsentError(
            "torch_npu cannot be imported; install the one that goes with this torch and this "
            f"CANN, and run `source .../set_env.sh` ({error})"
        ) from error
    npu: Any = torch.npu  # type: ignore[attr-defined, unused-ignore]
    if not npu.is_available():
        raise worker.AbsentError("torch_npu reaches no device; see `npu-smi info`")
    # float32 is not to be rounded to HF32, nor kept in layouts of the chip's own.
    npu.conv.allow_hf32 = False
    npu.matmul.allow_hf32 = False
    npu.config.allow_internal_format = False
    return "npu:0"


class Graphs:
    """The models loaded so far, by key.

    Args:
        model: target, args, kwargs and search of the code, and the patterns of names that may be
            missing from it or unexpected.
        prepare: returns the device.
    """

    def __init__(self, model: dict[str, Any], prepare: Callable[[], str] = prepared) -> None:
        self._model, self._prepare = model, prepare
        self._loaded: dict[str, tuple[Session, list[str]]] = {}

    def load(self, key: str, path: str, inputs: list[dict[str, Any]]) -> None:
        """Builds the model, and fills it with a safetensors file."""
        device = self._prepare()
        said = self._model
        search = Path(said["search"]) if said["search"] else None
        checkpoint = open_checkpoint(Path(path))

        def build() -> Any:
            model = build_model(said["target"], said["args"], said["kwargs"], search)
            allowed = {name: said[name] for name in ("allow_missing", "allow_unexpected")}
            load_state(model, checkpoint, **allowed)
            return model

        session = TorchOriginal(build, checkpoint, device).session()
        self._loaded[key] = session, [str(item["name"]) for item in inputs]

    def run(self, key: str, feeds: str, outputs: str) -> None:
        """Runs a loaded model on the arrays of ``feeds``, named by position."""
        session, names = self._loaded[key]
        with np.load(feeds, allow_pickle=False) as arrays:
            given = {name: arrays[f"arr_{index}"] for index, name in enumerate(names)}
        found = session(given)
        np.savez(outputs, *map(_portable, found.values()), names=np.array(list(found), dtype=str))


def _portable(array: Array) -> Array:
    """Returns bfloat16, which is no type of NumPy, as float32, which holds each of its values."""
    return array.astype(np.float32) if array.dtype == numpy_dtype("bfloat16") else array


if __name__ == "__main__":
    raise SystemExit(worker.main(Graphs(json.loads(sys.argv[3])), (Exception,)))
