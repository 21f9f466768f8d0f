"""What a migration needs from this machine, and what of it is here."""

import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that may be missing.

    Attributes:
        name: what it is.
        found: its version or place; empty when it is missing.
        needed_for: the forms or commands that need it.
        remedy: how to get it.
        required: whether nothing works without it.
    """

    name: str
    found: str
    needed_for: str
    remedy: str
    required: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns the check as plain JSON data."""
        return asdict(self)


def examine() -> tuple[Check, ...]:
    """Looks for every library, tool and device; imports none of them."""
    ours = "pip install --force-reinstall ascend-migrate"
    return (
        _library("torch", "checkpoints with a model, capture", ours, required=True),
        _library("onnx", "the onnx and mindir forms", ours, required=True),
        _library("onnxscript", "the export of torch models", ours, required=True),
        Check(
            "onnxruntime",
            # The one with the CANN provider takes the place of the other.
            _version("onnxruntime") or _version("onnxruntime-cann"),
            "judging the onnx form",
            ours,
            required=True,
        ),
        _library("safetensors", "the safetensors form", ours, required=True),
        _library("prefect", "flow run, flow serve", ours, required=True),
        _library(
            "mindspore",
            "judging the mindir form (making it needs nothing more), with CANN also on a device",
            "pip install 'ascend-migrate[mindspore]' (800 MB; Python 3.11 or 3.12)",
        ),
        Check(
            "CANN toolkit (atc)",
            _atc(),
            "making the om form",
            "install CANN for the target chip, then source its set_env.sh",
        ),
        Check(
            "Ascend device",
            _device(),
            "proofs at level `device`; without one every proof here is at level `cpu`",
            "run on a host with an Ascend driver (/dev/davinci0)",
        ),
        _library(
            "onnxruntime-cann",
            "judging the onnx forms on a device (validate --runtime onnxruntime-cann)",
            "pip install onnxruntime-cann 'numpy<2', in an environment of its own: docs/device.md",
        ),
        _library(
            "ais_bench",
            "judging the om form on a device (validate --runtime ais_bench)",
            "install its wheels ais_bench and aclruntime from msit: docs/device.md",
        ),
        _library(
            "torch_npu",
            "judging the torch-npu form on a device (validate --runtime torch-npu)",
            "install the version that goes with torch and with CANN: docs/device.md",
        ),
    )


def _library(name: str, needed_for: str, remedy: str, *, required: bool = False) -> Check:
    return Check(name, _version(name), needed_for, remedy, required)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _atc() -> str:
    for variable in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        home = os.environ.get(variable)
        found = shutil.which("atc", path=os.path.join(home, "bin")) if home else None  # noqa: PTH118  shutil wants text
        if found:
            return found
    return shutil.which("atc") or ""


def _device() -> str:
    return "/dev/davinci0" if os.path.exists("/dev/davinci0") else ""  # noqa: PTH110  a device, not a file of ours
