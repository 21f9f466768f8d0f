"""Checkpoints read without torch, lazily, and without executing anything in them.

formats -> torch_zip, torch_legacy, safetensors_file, onnx_file -> contents   (the file's tree)
        -> state_dict        (which dict, which names)
        -> checkpoint         (tensors on demand)
"""

from ascend_migrate.pipeline.checkpoint.checkpoint import (
    Checkpoint,
    TensorEntry,
    open_checkpoint,
)
from ascend_migrate.pipeline.checkpoint.describing import describe

__all__ = ["Checkpoint", "TensorEntry", "describe", "open_checkpoint"]
