"""The float64 twin of a PyTorch model, also where its code names a narrower type."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from ascend_migrate.validators.torch_operators import intercepting

if TYPE_CHECKING:
    import torch


_LARGE = 256 << 20
"""Bytes of parameters that are widened for good. Beyond, what is saved by not casting them in each
call (0.4 s for each GiB) is small beside the call, and holding them wide costs twice their memory
beside the mapped file."""


_BLOCK = 64 << 20
"""Bytes of a weight that are wide at a time where a product with it is taken in blocks: some times
what a processor caches, so that the product takes no longer, and little beside a large model."""


def widened(model: "torch.nn.Module", large: int = _LARGE) -> "torch.nn.Module":
    """Widens parameters, buffers, and tensors that are mere attributes, in place.

    ``Module.double`` alone leaves the last ones narrow without a word, and the reference would be
    no better than what it judges.

    Args:
        model: the model.
        large: bytes of parameters from which on each is wide only while its module runs. Used
            elsewhere it is narrow, and widened by the operator that reads it.
    """
    import torch

    if sum(parameter.nbytes for parameter in model.parameters()) < large or any(
        isinstance(module, torch.jit.ScriptModule) for module in model.modules()
    ):
        model.double()
    else:
        _widen_while_running(model)
    for module in model.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = _wide(buffer)
        for name, value in list(vars(module).items()):
            if name not in ("_parameters", "_buffers", "_modules"):
                wide = _widened_tree(value)
                if wide is not value:
                    setattr(module, name, wide)
    return model


def _widen_while_running(model: "torch.nn.Module") -> None:
    """Lets each module widen the parameters of its own when it is entered."""
    # Taken here: where `widening` is in force, what is taken of a parameter is wide.
    narrow = {parameter: parameter.data for parameter in model.parameters()}
    # For each module that runs, innermost last: what it has widened, and its version then.
    running: list[list[tuple[Any, int]]] = []

    def enter(module: "torch.nn.Module", _args: Any) -> None:
        changed = []
        for parameter in module._parameters.values():
            # One that was made since is not known.
            known = None if parameter is None else narrow.get(parameter)
            if parameter is not None and known is not None and parameter.dtype is known.dtype:
                parameter.data = _wide(known)
                changed.append((parameter, parameter._version))
        running.append(changed)

    def leave(*_: Any) -> None:
        for parameter, version in running.pop():
            if parameter._version == version:  # else the module has written to it
                parameter.data = narrow[parameter]

    for module in model.modules():
        if _is_left_to_its_operator(module):
            continue
        module.register_forward_pre_hook(enter, prepend=True)
        module.register_forward_hook(leave, always_call=True)


def _is_left_to_its_operator(module: "torch.nn.Module") -> bool:
    """Whether the one operator that a module is widens no more of its weight than it must."""
    import torch

    kind = type(module)
    return kind is torch.nn.Linear or (kind is torch.nn.Embedding and module.max_norm is None)


@contextmanager
def widening() -> Iterator[None]:
    """While open, every operator computes in float64: inputs and stated types are widened."""
    import torch
    from torch.utils import _pytree as pytree

    aten = torch.ops.aten
    cast = aten._to_copy.default

    def handle(func: Any, args: Any, kwargs: Any) -> Any:
        kwargs = pytree.tree_map(_wide, kwargs)
        if func is aten.embedding.default:
            return _wide(func(*args, **kwargs))  # of a table, the rows that are asked for
        if func is aten.t.default:
            return func(*args)  # a view of a weight, which the product below widens
        if func in (aten.mm.default, aten.addmm.default) and _is_large(args[-1]):
            return _in_blocks(func, *pytree.tree_map(_wide, args[:-1]), weight=args[-1], **kwargs)
        # A cast to a wide type widens by itself; done before as well, it would take twice the room.
        if func is not cast or kwargs.get("dtype") not in (torch.float64, torch.complex128):
            args = pytree.tree_map(_wide, args)
        return func(*args, **kwargs)

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with intercepting(handle):
            yield
    finally:
        torch.set_default_dtype(default)


def _is_large(tensor: "torch.Tensor") -> bool:
    wide = _wider().get(tensor.dtype)
    return wide is not None and tensor.numel() * wide.itemsize > _BLOCK


def _in_blocks(func: Any, *args: "torch.Tensor", weight: "torch.Tensor", **kwargs: Any) -> Any:
    """Returns a product whose second factor is widened some columns at a time."""
    import torch

    *added, left = args
    rows, columns = left.shape[0], weight.shape[1]
    size = max(1, _BLOCK // (8 * weight.shape[0]))
    found = []
    for start in range(0, columns, size):
        block = slice(start, start + size)
        terms = [term.expand(rows, columns)[:, block] for term in added]
        found.append(func(*terms, left, _wide(weight[:, block]), **kwargs))
    return torch.cat(found, 1)


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

    wider = _wider()
    if isinstance(leaf, torch.Tensor):
        return leaf.to(wider[leaf.dtype]) if leaf.dtype in wider else leaf
    return wider.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf


@cache
def _wider() -> "dict[torch.dtype, torch.dtype]":
    import torch

    return {
        torch.float32: torch.float64,
        torch.float16: torch.float64,
        torch.bfloat16: torch.float64,
        torch.complex64: torch.complex128,
    }
