"""The float64 twin of a PyTorch model, also where its code names a narrower type."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def widened(model: "torch.nn.Module") -> "torch.nn.Module":
    """Casts parameters, buffers, and tensors that are mere attributes, in place.

    ``Module.double`` alone leaves the last ones narrow without a word, and the reference would be
    no better than what it judges.
    """
    model.double()
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if name not in ("_parameters", "_buffers", "_modules"):
                wide = _widened_tree(value)
                if wide is not value:
                    setattr(module, name, wide)
    return model


@contextmanager
def widening() -> Iterator[None]:
    """While open, every operator computes in float64: inputs and stated types are widened."""
    import torch
    from torch.utils import _pytree as pytree
    from torch.utils._python_dispatch import TorchDispatchMode

    class Widening(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is untyped here
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            args, kwargs = pytree.tree_map(_wide, (args, kwargs or {}))
            return func(*args, **kwargs)

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Widening():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.set_default_dtype(default)


def _widened_tree(value: Any) -> Any:
    """Widens tensors in an attribute and in plain lists, tuples and dicts of tensors."""
    import torch

    if isinstance(value, torch.nn.Parameter):
        return value  # a reference to a parameter, which was cast as such
    if isinstance(value, torch.Tensor):
        return _wide(value)
    if type(value) in (list, tuple) and any(isinstance(v, torch.Tensor) for v in value):
        return type(value)(_widened_tree(v) for v in value)
    if type(value) is dict and any(isinstance(v, torch.Tensor) for v in value.values()):
        return {key: _widened_tree(v) for key, v in value.items()}
    return value


def _wide(leaf: Any) -> Any:
    import torch

    wider = {
        torch.float32: torch.float64,
        torch.float16: torch.float64,
        torch.bfloat16: torch.float64,
        torch.complex64: torch.complex128,
    }
    if isinstance(leaf, torch.Tensor):
        return leaf.to(wider[leaf.dtype]) if leaf.dtype in wider else leaf
    return wider.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf
