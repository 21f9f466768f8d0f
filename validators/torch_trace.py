"""Every intermediate of a model in PyTorch, named by its module and operator, as it is computed.

The model itself runs, as users run it: nothing is traced or exported, so that no fault of an
exporter can be shared. Operators that graphs spell out, such as GELU, are taken apart as well.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Show = Callable[[str, str, "torch.Tensor"], None]
"""Is given name, module and tensor of each intermediate."""

_SAME_ELEMENTS = frozenset(
    {"_reshape_alias", "_unsafe_view", "alias", "clone", "detach", "expand", "reshape"}
    | {"squeeze", "unsqueeze", "view"}
)
"""Operators whose result has the elements of their input in the same order."""


@contextmanager
def shown(model: "torch.nn.Module", show: Show) -> Iterator[None]:
    """While open, ``show`` is given what each operator of ``model`` makes.

    Left out is what depends on no input, and what has the elements of its input unchanged.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils._python_dispatch import TorchDispatchMode

    place = _Place(model)
    seen: Counter[str] = Counter()
    parts = _parts()
    stored = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}

    class Showing(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is untyped here
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if func in parts:
                with self:
                    taken_apart = parts[func](*args, **kwargs)
                if taken_apart is not NotImplemented:
                    return taken_apart
            result = func(*args, **kwargs)
            self._show(func, result, args)
            return result

        def _show(self, func: Any, result: Any, args: Any) -> None:
            operator = func._schema.name.rpartition("::")[2].rstrip("_")
            name = f"{place.module or 'model'}/{operator}"
            leaves = result if isinstance(result, tuple | list) else [result]
            for leaf in leaves:
                if not isinstance(leaf, torch.Tensor):
                    continue
                seen[name] += 1
                if leaf.untyped_storage().data_ptr() in stored:
                    continue  # a view of a weight
                if operator in _SAME_ELEMENTS and args and leaf.numel() == args[0].numel():
                    continue
                show(f"{name}:{seen[name]}", place.module, leaf)

    try:
        with sdpa_kernel(SDPBackend.MATH), Showing():  # type: ignore[no-untyped-call]
            yield
    finally:
        place.forget()


class _Place:
    """Knows which module of a model is running."""

    def __init__(self, model: "torch.nn.Module") -> None:
        import torch

        self._stack: list[str] = []
        self._hooks: list[Any] = []
        for name, module in model.named_modules():
            self._hooks += [
                module.register_forward_pre_hook(self._entering(name)),
                module.register_forward_hook(self._leaving, always_call=True),
            ]
            if isinstance(module, torch.nn.RNNBase):
                self._hooks += _without_mkldnn(module)

    @property
    def module(self) -> str:
        """Its qualified name; "" outside of all and in the model itself."""
        return self._stack[-1] if self._stack else ""

    def forget(self) -> None:
        """Takes the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def _entering(self, name: str) -> Callable[..., None]:
        return lambda *_: self._stack.append(name)

    def _leaving(self, *_: Any) -> None:
        self._stack.pop()


def _without_mkldnn(layer: "torch.nn.RNNBase") -> list[Any]:
    """Makes a recurrent layer take the same steps in float32 as in float64, which oneDNN lacks."""
    import torch

    before: list[bool] = []

    def enter(*_: Any) -> None:
        before.append(torch._C._get_mkldnn_enabled())
        torch._C._set_mkldnn_enabled(False)

    def leave(*_: Any) -> None:
        torch._C._set_mkldnn_enabled(before.pop())

    return [
        layer.register_forward_pre_hook(enter),
        layer.register_forward_hook(leave, always_call=True),
    ]


def _parts() -> dict[Any, Callable[..., Any]]:
    """Returns operators that graphs hold in several nodes, computed in the same several steps.

    A function that returns NotImplemented leaves the operator whole.
    """
    import math

    import torch

    aten = torch.ops.aten

    def addmm(bias: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Any:
        return aten.mm(x, y) + bias if beta == alpha == 1 else NotImplemented

    def baddbmm(bias: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Any:
        return aten.bmm(x, y) + bias if beta == alpha == 1 else NotImplemented

    def gelu(x: Any, approximate: str = "none") -> Any:
        if approximate == "tanh":
            inner = (x + 0.044715 * (x * x * x)) * math.sqrt(2 / math.pi)
            return x * ((torch.tanh(inner) + 1) * 0.5)
        return x * ((torch.erf(x / math.sqrt(2)) + 1) * 0.5)

    def silu(x: Any) -> Any:
        return x * torch.sigmoid(x)

    def rsqrt(x: Any) -> Any:
        return torch.reciprocal(torch.sqrt(x))

    def group_norm(x: Any, weight: Any, bias: Any, *rest: Any) -> Any:
        # Its other results are for gradients, which nobody asks for here.
        if weight is None or bias is None:
            return NotImplemented
        normal, mean, deviation = aten.native_group_norm(x, None, None, *rest)
        sizes = [1, -1] + [1] * (x.dim() - 2)
        return normal * weight.view(sizes) + bias.view(sizes), mean, deviation

    return {
        aten.addmm.default: addmm,
        aten.baddbmm.default: baddbmm,
        aten.gelu.default: gelu,
        aten.silu.default: silu,
        aten.rsqrt.default: rsqrt,
        aten.native_group_norm.default: group_norm,
    }
