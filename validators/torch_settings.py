"""What makes PyTorch compute in less than the types of its tensors say, and whether it did."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_KINDS = {
    "cpu": ("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"),
    "cuda": ("cuda.matmul", "cudnn.conv", "cudnn.rnn"),
}
"""The libraries that a device leaves its float32 arithmetic to, each with a setting of its own."""

_FULL = ("none", "ieee")
"""Settings under which float32 is computed in float32."""


@contextmanager
def autocasts() -> Iterator[set[str]]:
    """Notes each device and type for which autocast is on in any call of PyTorch meanwhile."""
    import torch
    from torch.overrides import TorchFunctionMode

    noted: set[str] = set()

    # Above the operators: within autocast's own, it says of itself that it is off.
    class Watching(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            noted.update(
                f"{device} {_short(torch.get_autocast_dtype(device))}"
                for device in _KINDS
                if torch.is_autocast_enabled(device)
            )
            return func(*args, **(kwargs or {}))

    with Watching():
        yield noted


def strict() -> None:
    """Turns off what is on by default: TF32 in cuDNN."""
    import torch

    torch.backends.cudnn.allow_tf32 = False


def settings(device: "torch.device", autocast: set[str]) -> dict[str, str]:
    """Returns what decides the numbers, as it is now.

    Args:
        device: where the model runs.
        autocast: what `autocasts` has noted.
    """
    import torch

    name = str(device)
    if device.type == "cuda":
        name += f" {torch.cuda.get_device_name(device)}"
    flags = {
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
    }
    on = [flag for flag, is_on in flags.items() if is_on]
    return {
        "runtime": f"torch {torch.__version__}",
        "device": name,
        "float32": ", ".join(f"{k} {v}" for kinds in _KINDS.values() for k, v in _read(kinds)),
        "autocast": ", ".join(sorted(autocast)) or "off",
        "deterministic": ", ".join(on) or "as torch chooses",
    }


def reduced(device: "torch.device", autocast: set[str]) -> str:
    """Says what makes a model on ``device`` compute in less than float32; "" if nothing does."""
    kinds = _KINDS.get(device.type, ())
    found = [f"autocast ({item})" for item in sorted(autocast) if item.startswith(device.type)]
    found += [
        f"torch.backends.{kind}.fp32_precision = {value!r}"
        for kind, value in _read(kinds)
        if value not in _FULL
    ]
    return ", ".join(found)


def _read(kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    import torch

    # The settings by kind know of the older ones, such as set_float32_matmul_precision and
    # allow_tf32; those raise an error where both have been used.
    for kind in kinds:
        library, _, operation = kind.partition(".")
        backend: Any = getattr(torch.backends, library)
        yield kind, str(getattr(backend, operation).fp32_precision)


def _short(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")


def types_of(state: Mapping[str, "torch.Tensor"]) -> str:
    """Names the floating types of a model's tensors."""
    kinds = {_short(tensor.dtype) for tensor in state.values() if tensor.is_floating_point()}
    return ", ".join(sorted(kinds)) or "none"
