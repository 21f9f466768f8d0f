"""The reference, recorded in a process of its own.

What built the export is not what is believed about the original: there the model is built anew,
from the specification and the checkpoint, with strict keys, and without what the exporter patches.
"""

from pathlib import Path

from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline import apart
from ascend_migrate.pipeline.spec import MigrationSpec

_READY = ("ascend_migrate.flows.capturing", "ascend_migrate.validators.golden", "safetensors.numpy")
READY_FOR_CODE = (
    *("torch", "torch.utils._pytree", "torch.utils._python_dispatch"),
    "ascend_migrate.validators.torch_original",
)
_READY_FOR_GRAPHS = ("onnxruntime", "onnx", "ascend_migrate.validators.onnx_original")


def capture(spec: MigrationSpec, golden: Path, *, intermediates: bool = False) -> list[str]:
    """Runs the original of ``spec``, writes ``golden``, and returns the names of its cases.

    Args:
        spec: names the original.
        golden: file to write.
        intermediates: records those of one case as well, for where the original is not at hand.

    Raises:
        ToolchainError: the process of the original crashed, or exceeded a limit.
        MigrationError: what opening the source and capturing raise.
    """
    needed = _READY_FOR_GRAPHS if spec.is_onnx else READY_FOR_CODE
    subject = f"original of {spec.source.name}"
    if spec.model is not None:
        subject = f"model {spec.model.target}"
    return apart.call(
        _captured, subject, spec.limits, (*_READY, *needed), spec, golden, intermediates
    )


def _captured(
    doing: apart.Doing, spec: MigrationSpec, golden: Path, intermediates: bool
) -> list[str]:
    doing("opening the source")
    return open_source(spec).capture(golden, doing, intermediates=intermediates)
