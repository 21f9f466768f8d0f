"""The process in which MindSpore runs, and what its messages mean.

MindSpore may crash, hang, compiles in one thread only, and never gives memory back.
"""

import importlib.util
import os
import re

from ascend_migrate.pipeline.errors import CheckError, KernelMissingError, ToolchainError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.validators.worker_process import WorkerProcess, first_paragraph

CPU, ASCEND = "CPU", "Ascend"
"""Values of MindSpore's device_target."""

_MODULE = "ascend_migrate.validators.mindspore_worker"


def level_of(target: str) -> str:
    """Returns the level of a verdict that rests on what MindSpore computed on this target."""
    return "device" if target == ASCEND else "cpu"


class MindSporeProcess(WorkerProcess):
    """One MindSpore process that holds any number of graphs.

    Args:
        limits: for one request; the process is killed where it exceeds them.
        verbosity: MindSpore's GLOG_v: 3 shows errors only, 2 also warnings.
        target: `CPU` or `ASCEND`.

    Raises:
        ToolchainError: MindSpore is not installed.
    """

    def __init__(
        self, limits: Limits = DEFAULT_LIMITS, *, verbosity: int = 3, target: str = CPU
    ) -> None:
        if importlib.util.find_spec("mindspore") is None:
            raise ToolchainError(
                "MindSpore is not installed; run: pip install 'ascend-migrate[mindspore]'"
            )
        environment = _environment(limits.threads_allowed(), verbosity)
        super().__init__("MindSpore", _MODULE, [target], limits, environment)

    def refusal(self, subject: str, message: str) -> CheckError:
        """Returns the error for a message of MindSpore's; tells missing kernels from the rest."""
        found = _NO_KERNEL.search(message)
        if found is None:
            return CheckError(f"{subject}: {first_paragraph(message)}")
        chosen, types, unknown, rejected = found.groups()
        kernel = chosen or unknown or rejected
        if types:
            kernel += f"({', '.join(types.lower().split())})"
        said = f"{subject}: MindSpore's CPU back end has no kernel of {kernel}"
        return KernelMissingError(said, kernel)


_NO_KERNEL = re.compile(
    r"Select CPU operator\[(\w+)\] fail.*?(?:but get input\[([^\]]*)\]|\n\n|\Z)"
    r"|Unsupported op \[(\w+)\] on CPU"
    r"|For '(\w+)',? it does not support this kernel data type",
    re.S,
)
"""How MindSpore 2.10 says that its CPU back end lacks a kernel, or lacks it for these types."""


def _environment(threads: int, verbosity: int) -> dict[str, str]:
    environment = dict(os.environ)
    environment["GLOG_v"] = str(verbosity)
    # On CPUs with AVX-512, oneDNN takes its reference code for convolutions wider than 1 (resnet50:
    # 4.4 s instead of 0.08 s); the AVX2 code is the same arithmetic, and fast.
    environment.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    environment["OMP_NUM_THREADS"] = str(threads)
    return environment
