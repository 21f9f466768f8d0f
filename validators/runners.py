"""Which runtime judges which form; a new runtime is one class and one line here."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.cases import Array


class Runner(Protocol):
    """A loaded artifact.

    Attributes:
        name: of the runtime.
    """

    name: str

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs it once; raises `CheckError` where the runtime refuses."""


def open_runner(artifact: Artifact, *, timeout: float) -> AbstractContextManager[Runner]:
    """Loads an artifact into the runtime that judges its form.

    Raises:
        CheckError: the runtime refuses the file.
        ToolchainError: the runtime is missing, crashed or took too long.
    """
    if artifact.form is Form.ONNX:
        from ascend_migrate.validators.onnx_runner import OnnxRunner

        return OnnxRunner(artifact, timeout=timeout)
    from ascend_migrate.validators.mindspore_runner import MindSporeRunner

    return MindSporeRunner(artifact, timeout=timeout)
