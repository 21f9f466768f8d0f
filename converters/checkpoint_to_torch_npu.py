"""Checkpoint -> the safetensors form once more, with a manifest of what torch_npu does otherwise.

The weights keep their bytes, whatever the chip lacks: an Ascend host loads them on its CPU, and
there they can be cast before they are moved. So a type that no chip can hold is a finding, with
its remedy, and no error: what would fail is the move, and that is in the model's code.
"""

from collections.abc import Mapping
from typing import Any

from ascend_migrate.converters.torch_npu.manifest import manifest
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.records import Artifact, FileEntry, Form
from ascend_migrate.pipeline.torch_npu.manifest import MANIFEST, write_manifest


def convert(weights: Artifact, code: Mapping[str, Any] | None) -> Artifact:
    """Writes the manifest beside the weights, whose files the result shares.

    Args:
        weights: the safetensors form, as it was just written.
        code: what `torch_npu.manifest.code_part` found in the model's code; None for no code.

    Raises:
        SourceError: the weights cannot be read.
        StoreError: the manifest cannot be written.
    """
    written = open_checkpoint(weights.path)
    write_manifest(weights.root, manifest(weights.entry, written.tensors, code))
    return Artifact(
        form=Form.TORCH_NPU,
        root=weights.root,
        entry=MANIFEST,
        files=tuple(
            sorted(
                (*weights.files, FileEntry.of(weights.root, MANIFEST)), key=lambda file: file.path
            )
        ),
        parent=weights.parent,
        notes=weights.notes,
    )
