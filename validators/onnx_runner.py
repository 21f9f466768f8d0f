"""Runs an ONNX artifact with onnxruntime, as it would be served, on the CPU."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.errors import (
    CheckError,
    KernelMissingError,
    MigrationError,
    ToolchainError,
)
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.onnx_signature import external_files
from ascend_migrate.pipeline.printable import first_line
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.feeds import check_names
from ascend_migrate.validators.watchdog import WATCHDOG

PROVIDER = "CPUExecutionProvider"
_EXTERNAL = "session.model_external_initializers_file_folder_path"
"""onnxruntime's option for the folder of external data, where a model comes as bytes."""


_LARGE = 256 << 20
"""Bytes of weights from which on a session leaves them in their file, mapped (2 GiB: 0.04 instead
of 1.13 times their size in memory of its own). A run then takes a quarter longer, because they are
not laid out anew, and loading a tenth of the time."""


class OnnxRunner(Closing):
    """One ONNX graph, loaded once and run as often as wanted.

    Args:
        artifact: an ONNX artifact, or the path of a .onnx file.
        limits: only the threads count: onnxruntime runs in this process, so that its results need
            no second copy, and cannot be interrupted there; its memory is this process's own.

    Raises:
        CheckError: onnxruntime refuses the graph, or would not run it on the CPU.
    """

    name = "onnxruntime-cpu"
    level = "cpu"
    twin = ""

    def __init__(self, artifact: Artifact | Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = artifact.path if isinstance(artifact, Artifact) else artifact
        self._session = session(
            str(self._path), str(self._path), limits.threads_allowed(), mapped=_is_large(self._path)
        )
        self._timeout = limits.timeout
        # Another provider taking part would make this a statement about another machine.
        if self._session.get_providers() != [PROVIDER]:
            raise CheckError(f"{self._path}: onnxruntime chose {self._session.get_providers()}")
        self.outputs: Sequence[str] = [item.name for item in self._session.get_outputs()]
        self._kinds = {item.name: item.type for item in self._session.get_inputs()}

    def close(self) -> None:
        """Frees the session."""
        self._session = None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the graph once.

        Args:
            feeds: one array for each input, by the graph's names.

        Raises:
            CheckError: the feeds do not fit the graph, or onnxruntime refuses to run it.
        """
        check_names(self._path, list(self._kinds), feeds)
        return run(self._session, feeds, str(self._path), self._timeout)


def session(
    model: str | bytes,
    subject: str,
    threads: int = 0,
    folder: Path | None = None,
    *,
    mapped: bool = False,
) -> Any:
    """Loads a model on the CPU.

    Args:
        model: path of the file, or its bytes.
        subject: what errors call it.
        threads: for one operator; 0 leaves their number to onnxruntime.
        folder: where the external data of bytes are.
        mapped: weights stay in their file: nothing is made of them in advance.

    Raises:
        KernelMissingError: onnxruntime has no CPU kernel for one of its nodes.
        CheckError: onnxruntime refuses it.
        ToolchainError: onnxruntime cannot be imported.
    """
    try:
        import onnxruntime
    except ImportError as error:  # onnxruntime-cann beside NumPy 2
        raise ToolchainError(
            f"onnxruntime cannot be imported ({first_line(error)}); onnxruntime-cann wants numpy<2"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    options.intra_op_num_threads = threads
    if folder is not None:
        options.add_session_config_entry(_EXTERNAL, str(folder))
    if mapped:
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(
            model,
            options,
            providers=[PROVIDER],
            disabled_optimizers=["ConstantFolding"] if mapped else None,
        )
    # onnxruntime's own classes derive from Exception directly, and from RuntimeError.
    except Exception as error:
        missing = re.search(r"Could not find an implementation for (\w+\(\d+\))", str(error))
        if missing:
            said = f"{subject}: onnxruntime has no CPU kernel of {missing[1]} for these types"
            raise KernelMissingError(said, missing[1]) from None
        raise CheckError(f"{subject}: onnxruntime does not load it: {first_line(error)}") from None


def _is_large(path: Path) -> bool:
    try:
        names = external_files(path)
        return sum((path.parent / name).stat().st_size for name in names) >= _LARGE
    except (OSError, MigrationError):  # onnxruntime says what is wrong with it
        return False


def run(
    loaded: Any, feeds: Mapping[str, Array], subject: str, timeout: float = DEFAULT_LIMITS.timeout
) -> dict[str, Array]:
    """Runs a session; outputs by name.

    Raises:
        CheckError: onnxruntime refuses, or is not done after ``timeout`` seconds: a loop in a
            graph may have no end.
    """
    import onnxruntime

    names = [item.name for item in loaded.get_outputs()]
    options = onnxruntime.RunOptions()
    try:
        given = {name: _value(array) for name, array in feeds.items()}
        with WATCHDOG.over(timeout, lambda: setattr(options, "terminate", True)):
            values = loaded.run_with_ort_values(names, given, options)
    except Exception as error:
        if options.terminate:
            raise CheckError(
                f"{subject}: no answer within {timeout:g} s, ended; give it more time "
                "(validation.timeout) or a smaller input"
            ) from None
        raise CheckError(f"{subject}: onnxruntime does not run it: {first_line(error)}") from None
    return {name: _array(value) for name, value in zip(names, values, strict=True)}


def _value(array: Array) -> Any:
    from onnxruntime import OrtValue

    if array.dtype == numpy_dtype("bfloat16"):
        code = BY_NAME["bfloat16"].onnx
        return OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), code)
    return OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))


def _array(value: Any) -> Array:
    found: Array = value.numpy()
    if value.element_type() == BY_NAME["bfloat16"].onnx and found.dtype == np.uint16:
        return found.view(numpy_dtype("bfloat16"))
    return found
