"""Which runtime judges which form; a new runtime is one class and one line here."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.records import ONNX_FORMS, Artifact, Form

if TYPE_CHECKING:
    from ascend_migrate.pipeline.spec import MigrationSpec
    from ascend_migrate.validators.cases import Array

CPU, DEVICE = "cpu", "device"
"""How far the answers of a runtime prove anything: levels of a verdict."""


class Runner(Protocol):
    """A loaded artifact.

    Attributes:
        name: of the runtime.
        level: `CPU`, or `DEVICE` for one that has asserted that a device computes.
        twin: what ran in place of the artifact itself, and why; "" if that itself ran.
    """

    name: str
    level: str
    twin: str

    def run(self, feeds: "Mapping[str, Array]") -> "dict[str, Array]":
        """Runs it once; raises `CheckError` where the runtime refuses."""


Opened = AbstractContextManager[Runner]


@dataclass(frozen=True, slots=True)
class Runtime:
    """Something that runs artifacts.

    Attributes:
        forms: that it runs.
        open: loads an artifact.
    """

    forms: frozenset[Form]
    open: "Callable[[Artifact, Limits, AtHand], Opened]"


@dataclass(frozen=True, slots=True)
class AtHand:
    """What a runtime may need beside the artifact; None where it is not at hand.

    Attributes:
        golden: the file with what will be asked.
        spec: the specification, which names the code of the original.
    """

    golden: Path | None = None
    spec: "MigrationSpec | None" = None


def open_runner(
    artifact: Artifact,
    limits: Limits,
    runtime: str = "",
    golden: Path | None = None,
    spec: "MigrationSpec | None" = None,
) -> Opened:
    """Loads an artifact into a runtime.

    Args:
        artifact: of a form that computes.
        limits: for one request.
        runtime: one of `RUNTIMES`; "" for the one that judges the form where there is no device.
        golden: the file with what will be asked.
        spec: names the code of the original, for a runtime that runs it.

    Raises:
        SpecError: the runtime does not run this form.
        CheckError: the runtime refuses the file.
        ToolchainError: the runtime is missing, crashed, or exceeded a limit.
    """
    name = runtime or runtimes_of(artifact.form)[0]
    check_runtime(artifact, name)
    return RUNTIMES[name].open(artifact, limits, AtHand(golden, spec))


def runtimes_of(form: Form) -> list[str]:
    """Returns the names of the runtimes that run a form, the default first."""
    return [name for name, runtime in RUNTIMES.items() if form in runtime.forms]


def check_runtime(artifact: Artifact, name: str) -> None:
    """Proves that a runtime runs the form of an artifact.

    Raises:
        SpecError: it does not; names those that do.
    """
    if artifact.form not in RUNTIMES[name].forms:
        known = ", ".join(runtimes_of(artifact.form)) or "none; it is judged by its bytes"
        said = f"{name} does not run {artifact.form}; what does: {known}"
        raise SpecError(artifact.entry, [said])


def _onnxruntime(artifact: Artifact, limits: Limits, _: AtHand) -> Opened:
    from ascend_migrate.validators.onnx_runner import OnnxRunner

    return OnnxRunner(artifact, limits=limits)


def _mindspore_cpu(artifact: Artifact, limits: Limits, _: AtHand) -> Opened:
    from ascend_migrate.validators.mindspore_process import CPU as TARGET

    return _mindspore(artifact, limits, TARGET)


def _mindspore_ascend(artifact: Artifact, limits: Limits, _: AtHand) -> Opened:
    from ascend_migrate.validators.mindspore_process import ASCEND as TARGET

    return _mindspore(artifact, limits, TARGET)


def _mindspore(artifact: Artifact, limits: Limits, target: str) -> Opened:
    from ascend_migrate.pipeline.mindir_buckets import is_index

    if is_index(artifact.path):
        from ascend_migrate.validators.buckets import BucketRunner

        return BucketRunner(artifact, limits=limits, target=target)
    from ascend_migrate.validators.mindspore_runner import MindSporeRunner

    return MindSporeRunner(artifact, limits=limits, target=target)


def _brought(artifact: Artifact, _limits: Limits, _: AtHand) -> Opened:
    from ascend_migrate.validators.brought import BroughtRunner

    return BroughtRunner(artifact)


def _onnxruntime_cann(artifact: Artifact, limits: Limits, _: AtHand) -> Opened:
    from ascend_migrate.validators.device.onnx_cann import OnnxCannRunner

    return OnnxCannRunner(artifact, limits=limits)


def _ais_bench(artifact: Artifact, limits: Limits, at_hand: AtHand) -> Opened:
    from ascend_migrate.validators.device.ais_bench import AisBenchRunner

    return AisBenchRunner(artifact, at_hand.golden, limits=limits)


def _torch_npu(artifact: Artifact, limits: Limits, at_hand: AtHand) -> Opened:
    from ascend_migrate.validators.device.torch_npu import TorchNpuRunner

    return TorchNpuRunner(artifact, at_hand.spec, limits=limits)


_MINDIR, _OM = frozenset({Form.MINDIR}), frozenset({Form.OM})

RUNTIMES: Mapping[str, Runtime] = MappingProxyType(
    {
        "onnxruntime-cpu": Runtime(ONNX_FORMS, _onnxruntime),
        "mindspore-cpu": Runtime(_MINDIR, _mindspore_cpu),
        "answers": Runtime(_OM, _brought),
        # Not verified on device.
        "onnxruntime-cann": Runtime(ONNX_FORMS, _onnxruntime_cann),
        "mindspore-ascend": Runtime(_MINDIR, _mindspore_ascend),
        "ais_bench": Runtime(_OM, _ais_bench),
        "torch-npu": Runtime(frozenset({Form.TORCH_NPU}), _torch_npu),
    }
)
"""Every runtime by its name; the first that takes a form judges it unless another is named."""
