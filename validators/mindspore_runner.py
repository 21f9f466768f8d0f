"""Runs a MindIR artifact with MindSpore, in a process of its own."""

import re
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import CheckError, KernelMissingError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.mindir_format import TensorInfo, read_signature
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators import mindir_twin
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.feeds import check_names, has_sizes
from ascend_migrate.validators.mindspore_process import CPU, MindSporeProcess, level_of
from ascend_migrate.validators.worker_process import first_paragraph

_VAGUE = "Load MindIR failed|null AbstractBasePtr|The MindIR file is invalid|Error:$"
"""Messages that name no cause; the cause is in MindSpore's log at GLOG_v=2."""


class MindSporeRunner(Closing):
    """One MindIR graph, loaded once and run as often as wanted.

    Args:
        artifact: a MindIR artifact, or the path of a .mindir file.
        limits: for loading, and for one run.
        process: a process to share with other runners, which ends it; None to start one.
        target: MindSpore's device; that of ``process``, if one is given.

    Raises:
        SourceError: the file was not written by ascend-migrate.
        CheckError: MindSpore refuses the graph.
        ToolchainError: MindSpore or its device is missing, crashed, or exceeded a limit.

    Attributes:
        name: of the runtime, with its device.
        level: ``device`` on Ascend, which the process asserts when it loads the graph.
        twin: what was run in place of the graph itself, and why; "" while the graph itself runs.
    """

    def __init__(
        self,
        artifact: Artifact | Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        process: MindSporeProcess | None = None,
        target: str = CPU,
    ) -> None:
        self._path = artifact.path if isinstance(artifact, Artifact) else artifact
        self.twin = ""
        self._links = ExitStack()
        self.signature = read_signature(self._path)
        self._limits, self._shared, self._target = limits, process is not None, target
        self.name, self.level = f"mindspore-{target.lower()}", level_of(target)
        self._process = process or MindSporeProcess(limits, target=target)
        try:
            self._key = self._process.load(self._path, self.signature.inputs)
        except CheckError as error:
            self.close()
            raise self._explained(error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the process, unless it is shared."""
        self._links.close()
        if not self._shared:
            self._process.close()

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the graph once.

        Args:
            feeds: one array for each input, by the ONNX graph's names.

        Returns:
            One array for each output, by the ONNX graph's names and in its order; bfloat16
            outputs as float32, which holds each of their values exactly.

        Raises:
            KernelMissingError: MindSpore's CPU back end lacks a kernel.
            CheckError: the feeds do not fit the graph, or MindSpore refuses to run it.
            ToolchainError: MindSpore crashed, or exceeded a limit.
        """
        given = self._checked(feeds)
        try:
            arrays = self._run(given)
        except CheckError as error:
            raise self._explained(error, given) from error
        outputs = self.signature.outputs
        if len(arrays) != len(outputs):
            raise CheckError(
                f"{self._path}: MindSpore returned {len(arrays)} outputs, "
                f"the graph has {len(outputs)}; convert the model again"
            )
        for array, info in zip(arrays, outputs, strict=True):
            wanted = "float32" if info.dtype == "bfloat16" else info.dtype
            if array.dtype.name != wanted:
                raise CheckError(
                    f"{self._path}: output {info.name!r} came as {array.dtype.name}, "
                    f"the graph says {info.dtype}; convert the model again"
                )
        return {info.name: array for info, array in zip(outputs, arrays, strict=True)}

    def _run(self, given: list[np.ndarray]) -> list[np.ndarray]:
        """Runs the graph or, where a kernel is missing only for its types, its float32 twin."""
        try:
            return self._process.run(self._key, given)
        except KernelMissingError as error:
            if self.twin or self._target != CPU:  # only the CPU's kernels are known to be missing
                raise
            folder = self._links.enter_context(tempfile.TemporaryDirectory(prefix="twin-"))
            twin = mindir_twin.write_twin(self._path, Path(folder))
            if twin is None:
                raise
            self._key = self._process.load(twin, self.signature.inputs)
            self.twin = (
                f"judged by a float32 twin, because MindSpore's CPU back end has no kernel of "
                f"{error.kernel}: {mindir_twin.RULE}"
            )
        return self._process.run(self._key, given)

    def _checked(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        check_names(self._path, [info.name for info in self.signature.inputs], feeds)
        return [self._fitting(info, np.asarray(feeds[info.name])) for info in self.signature.inputs]

    def _fitting(self, info: TensorInfo, array: np.ndarray) -> np.ndarray:
        # MindSpore would run on a wrong type or size without a word.
        if array.dtype != numpy_dtype(info.dtype) or not has_sizes(info, array):
            sizes = ",".join("?" if size is None else str(size) for size in info.shape)
            raise CheckError(
                f"{self._path}: input {info.name!r} must be {info.dtype}[{sizes}], "
                f"got {array.dtype.name}{list(array.shape)}"
            )
        return array.astype(np.float32) if info.dtype == "bfloat16" else array

    def _explained(self, error: CheckError, feeds: list[np.ndarray] | None = None) -> CheckError:
        """Tries once more with warnings shown, where the message alone names no cause."""
        if not re.search(_VAGUE, str(error)):
            return error
        with MindSporeProcess(self._limits, verbosity=2, target=self._target) as process:
            try:
                key = process.load(self._path, self.signature.inputs)
                if feeds is not None:
                    process.run(key, feeds)
            except CheckError:
                causes = re.findall(
                    r"^\[(?:ERROR|WARNING)\][^\n]*\] ([^\n]+)$", process.log(), re.M
                )
                if causes:
                    return CheckError(f"{error} ({first_paragraph(causes[-1])})")
        return error
