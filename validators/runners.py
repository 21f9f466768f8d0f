"""Which runtime judges which form; a new runtime is one class and one line here."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.records import ONNX_FORMS, Artifact
from ascend_migrate.validators.cases import Array


class Runner(Protocol):
    """A loaded artifact.

    Attributes:
        name: of the runtime.
        twin: what ran in place of the artifact itself, and why; "" if that itself ran.
    """

    name: str
    twin: str

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs it once; raises `CheckError` where the runtime refuses."""


def open_runner(artifact: Artifact, limits: Limits) -> AbstractContextManager[Runner]:
    """Loads an artifact into the runtime that judges its form.

    Raises:
        CheckError: the runtime refuses the file.
        ToolchainError: the runtime is missing, crashed, or exceeded a limit.
    """
    if artifact.form in ONNX_FORMS:
        from ascend_migrate.validators.onnx_runner import OnnxRunner

        return OnnxRunner(artifact, limits=limits)
    from ascend_migrate.pipeline.mindir_buckets import is_index

    if is_index(artifact.path):
        from ascend_migrate.validators.buckets import BucketRunner

        return BucketRunner(artifact, limits=limits)
    from ascend_migrate.validators.mindspore_runner import MindSporeRunner

    return MindSporeRunner(artifact, limits=limits)
