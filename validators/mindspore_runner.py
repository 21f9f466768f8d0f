"""Runs a MindIR artifact with MindSpore on the CPU, in a process of its own."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.mindir_format import TensorInfo, read_signature
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.mindspore_process import MindSporeProcess, first_paragraph

_VAGUE = "Load MindIR failed|null AbstractBasePtr|The MindIR file is invalid|Error:$"
"""Messages that name no cause; the cause is in MindSpore's log at GLOG_v=2."""


class MindSporeRunner(Closing):
    """One MindIR graph, loaded once and run as often as wanted.

    Args:
        artifact: a MindIR artifact, or the path of a .mindir file.
        timeout: seconds that loading, or one run, may take.
        threads: OpenMP threads; None for MindSpore's own choice.
        process: a process to share with other runners, which ends it; None to start one.

    Raises:
        SourceError: the file was not written by ascend-migrate.
        CheckError: MindSpore refuses the graph.
        ToolchainError: MindSpore is missing, crashed, or took too long.
    """

    name = "mindspore-cpu"

    def __init__(
        self,
        artifact: Artifact | Path,
        *,
        timeout: float = 600.0,
        threads: int | None = None,
        process: MindSporeProcess | None = None,
    ) -> None:
        self._path = artifact.path if isinstance(artifact, Artifact) else artifact
        self.signature = read_signature(self._path)
        self._shared = process is not None
        self._process = process or MindSporeProcess(timeout=timeout, threads=threads)
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
            CheckError: the feeds do not fit the graph, or MindSpore refuses to run it.
            ToolchainError: MindSpore crashed or took too long.
        """
        given = self._checked(feeds)
        try:
            arrays = self._process.run(self._key, given)
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

    def _checked(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        names = [info.name for info in self.signature.inputs]
        missing = [name for name in names if name not in feeds]
        extra = [name for name in feeds if name not in names]
        if missing or extra:
            raise CheckError(
                f"{self._path}: inputs missing: {missing}, not in the graph: {extra}; "
                f"the graph has {names}"
            )
        return [self._fitting(info, np.asarray(feeds[info.name])) for info in self.signature.inputs]

    def _fitting(self, info: TensorInfo, array: np.ndarray) -> np.ndarray:
        # MindSpore would run on a wrong type or size without a word.
        fits = len(array.shape) == len(info.shape) and all(
            want in (None, have) for want, have in zip(info.shape, array.shape, strict=True)
        )
        if array.dtype != numpy_dtype(info.dtype) or not fits:
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
        with MindSporeProcess(verbosity=2) as process:
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
