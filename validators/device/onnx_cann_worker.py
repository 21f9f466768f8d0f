"""The process that runs onnxruntime's CANN provider, started by onnx_cann.py and by nothing else.

python -P -m ascend_migrate.validators.device.onnx_cann_worker READ_FD WRITE_FD

A process of its own, because the provider keeps what it compiles in the working directory, and
takes it from there without asking for which CANN or precision it was made: that folder has to be
new. Sources: core/providers/cann of microsoft/onnxruntime, and the wheel onnxruntime-cann 1.24.4.

Without CANN that wheel calls the provider available, and a session that is asked for it alone runs
on the CPU, with a line on stdout and no error. So the provider is asserted three times: when the
session is made, after that, and by the profile of its first run.
"""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.validators import worker
from ascend_migrate.validators.device.placement import placed_elsewhere

PROVIDER = "CANNExecutionProvider"

LIBRARIES = ("libascendcl.so", "libacl_op_compiler.so", "libfmk_onnx_parser.so")
"""Of CANN, which the provider's own library is linked to."""

_OPTIONS = (
    {"precision_mode": "must_keep_origin_dtype", "op_select_impl_mode": "high_precision_for_all"},
    {"precision_mode_v2": "origin"},
)
"""Options by which the types of the graph are kept (CANN's own default is float16) and float32
convolutions are not rounded to HF32; the second where the first has been renamed. Not verified on
device."""

_SHOWN = 5
"""Nodes on another provider named in an error."""


class Graphs:
    """The sessions made so far, by key."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[Any, list[str]]] = {}
        self._faults: dict[str, str] = {}

    def load(self, key: str, path: str, inputs: list[dict[str, Any]]) -> None:
        """Loads a .onnx file; ``inputs`` name its inputs in the order of the arrays."""
        self._loaded[key] = (open_session(path, key), [str(item["name"]) for item in inputs])

    def run(self, key: str, feeds: str, outputs: str) -> None:
        """Runs a loaded graph on the arrays of ``feeds``, named by position."""
        session, names = self._loaded[key]
        with np.load(feeds, allow_pickle=False) as arrays:
            given = {name: arrays[f"arr_{index}"] for index, name in enumerate(names)}
        found = session.run(None, given)
        assert_provider(session)
        if key not in self._faults:  # which nodes a provider takes is settled with the session
            self._faults[key] = placement_fault(Path(session.end_profiling()))
        if self._faults[key]:
            raise RuntimeError(self._faults[key])
        np.savez(outputs, *found)


def open_session(path: str, name: str = "profile") -> Any:
    """Returns a session on the CANN provider alone, which writes a profile until it is ended.

    Raises:
        AbsentError: this onnxruntime has no such provider, or CANN is not here.
        RuntimeError: the provider refuses the graph, or takes only a part of it.
    """
    try:
        import onnxruntime
    except ImportError as error:  # as where it was built for NumPy 1, and there is NumPy 2
        raise worker.AbsentError(
            f"onnxruntime cannot be imported ({error}); onnxruntime-cann wants numpy<2"
        ) from error
    if PROVIDER not in onnxruntime.get_available_providers():
        raise worker.AbsentError(
            f"this onnxruntime {onnxruntime.__version__} has no {PROVIDER}; in an environment of "
            "its own run: pip install onnxruntime-cann 'numpy<2'"
        )
    missing = [library for library in LIBRARIES if not _is_found(library)]
    if missing:
        raise worker.AbsentError(
            f"{PROVIDER} needs {', '.join(missing)} of CANN, not found; install CANN and run "
            "`source .../set_env.sh`"
        )
    return _opened(onnxruntime, path, name)


def _opened(onnxruntime: Any, path: str, name: str) -> Any:
    # Not verified on device, from here to the end of the function.
    refused = ""
    for chosen in _OPTIONS:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised as well
        options.enable_profiling = True
        options.profile_file_prefix = name
        # The graph is refused as a whole if a node of it would run on the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            session = onnxruntime.InferenceSession(
                path, options, providers=[(PROVIDER, chosen)], enable_fallback=0
            )
        except Exception as error:  # onnxruntime's own classes derive from it directly
            refused = str(error)
            if "provider option" not in refused:
                break
            continue
        session.disable_fallback()  # of single runs
        assert_provider(session)
        return session
    raise RuntimeError(f"{PROVIDER} refuses it: {refused}")


def assert_provider(session: Any) -> None:
    """Proves that a session is on the CANN provider.

    Raises:
        AbsentError: onnxruntime fell back to another one.
    """
    found = session.get_providers()
    if found[:1] != [PROVIDER]:
        raise worker.AbsentError(
            f"onnxruntime fell back to {', '.join(found)} without an error: {PROVIDER} could not "
            "be made; see that CANN and its driver work (`npu-smi info`)"
        )


def placement_fault(profile: Path) -> str:
    """Returns what the profile of a session says against the CANN provider having run every node.

    "" if it did. The file is removed.
    """
    try:
        elsewhere = placed_elsewhere(profile, PROVIDER)
    except ValueError as error:
        return str(error)
    finally:
        profile.unlink(missing_ok=True)
    if not elsewhere:
        return ""
    more = f" and {len(elsewhere) - _SHOWN} more" if len(elsewhere) > _SHOWN else ""
    return f"not all of it ran on {PROVIDER}: {', '.join(elsewhere[:_SHOWN])}{more}"


def _is_found(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(worker.main(Graphs(), (Exception,)))
