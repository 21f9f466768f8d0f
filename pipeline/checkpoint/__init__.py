"""Checkpoints read without torch, lazily, and without executing anything in them.

formats: torch_zip, torch_legacy, torch_tar, torchscript, torch_export, safetensors_file, npz_file,
         gguf_file, onnx_file, and the folders hugging_face, distributed, deepspeed, megatron
   -> contents           (the file's tree, and where its bytes are)
   -> state_dict         (which dict, which names; side_state: what training left beside it)
   -> checkpoint         (tensors on demand)
"""

from ascend_migrate.pipeline.checkpoint.checkpoint import (
    Checkpoint,
    TensorEntry,
    open_checkpoint,
)
from ascend_migrate.pipeline.checkpoint.describing import describe

__all__ = ["Checkpoint", "TensorEntry", "describe", "open_checkpoint"]
