"""What a reader of a report wants to know beside the findings: names, inputs, notes, versions."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ascend_migrate.flows import torch_npu
from ascend_migrate.flows.sources import Source
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.pipeline.spec import MigrationSpec


def context_of(
    spec: MigrationSpec, source: Source, artifacts: Sequence[Artifact]
) -> dict[str, Any]:
    """Returns it as plain JSON data; no times, no machine paths."""
    return {
        "name": spec.name,
        "source": spec.source.name,
        "source_notes": list(source.notes),
        "model": spec.model.target if spec.model else "",
        "inputs": [str(item) for item in source.inputs],
        "precision": str(spec.precision) if spec.precision else "",
        "notes": {str(a.form): list(a.notes) for a in artifacts},
        **torch_npu.found_in(artifacts),
        "versions": {"ascend-migrate": version("ascend-migrate")}
        | versions("torch", "onnx", "onnxruntime", "mindspore", "numpy"),
    }


def versions(*libraries: str) -> dict[str, str]:
    """Returns the installed versions by name; a library that is absent is said to be."""
    found = {}
    for library in libraries:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found
