"""What a lower precision costs a PyTorch model, foreseen without the artifact.

The model runs in float32, and whatever an operator reads or makes is rounded to the lower type,
unless the policy keeps that operator in float32. So the noise of the policy is known before any
artifact exists, and a fault in an artifact cannot hide behind it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.dtypes import torch_dtype
from ascend_migrate.pipeline.precision import MOVES, SPREADING, Precision
from ascend_migrate.validators.torch_operators import intercepting

if TYPE_CHECKING:
    import torch

_NORMS = ("InstanceNormalization", "GroupNormalization")

_ONNX_TYPES: Mapping[str, tuple[str, ...]] = {
    "_log_softmax": ("LogSoftmax",),
    "_safe_softmax": ("Softmax",),
    "_softmax": ("Softmax",),
    "_to_copy": ("Identity",),
    "addmm": ("MatMul", "Gemm"),
    "avg_pool2d": ("AveragePool",),
    "baddbmm": ("MatMul",),
    "bmm": ("MatMul",),
    "cat": ("Concat",),
    "clone": ("Identity",),
    "constant_pad_nd": ("Pad",),
    "convolution": ("Conv", "ConvTranspose"),
    "copy": ("Identity",),
    "cumsum": ("CumSum",),
    "embedding": ("Gather",),
    "gather": ("GatherElements",),
    "index": ("GatherND",),
    "index_select": ("Gather",),
    "linalg_vector_norm": ("ReduceL2",),
    "linear": ("MatMul", "Gemm"),
    "logsumexp": ("ReduceLogSumExp",),
    "masked_fill": ("Where",),
    "mean": ("ReduceMean",),
    "mm": ("MatMul", "Gemm"),
    "native_batch_norm": ("BatchNormalization",),
    "native_group_norm": _NORMS,
    "native_layer_norm": ("LayerNormalization",),
    "norm": ("ReduceL2",),
    "prod": ("ReduceProd",),
    "repeat": ("Tile",),
    "rsqrt": ("Sqrt", "Reciprocal"),
    "stack": ("Concat",),
    "sum": ("ReduceSum",),
    "rsub": ("Sub",),
    "tril": ("Trilu",),
    "triu": ("Trilu",),
    "var": ("ReduceMean",),
    "var_mean": ("ReduceMean",),
}
"""ONNX types of torch's operators, where they are not the same word in another spelling."""


_MAKING = frozenset({"Full", "FullLike", "Fill", "ScalarTensor", "NewFull", "LiftFresh"})
"""Operators that make a tensor of one number, in the same spelling."""

_CARRYING = MOVES | SPREADING | _MAKING

_WIDE = "_ascend_migrate_wide"
"""Attribute of a tensor that carries a constant which the lower type cannot hold."""


class Lowering:
    """The rounding of one model under one policy.

    Args:
        model: in float32; it runs as it is, only what its operators see is rounded.
        precision: the policy.
        overflows: filled with the operations whose result left the lower type's range, each with
            the largest number, in the order in which they were seen.
    """

    def __init__(
        self, model: "torch.nn.Module", precision: Precision, overflows: dict[str, float]
    ) -> None:
        import torch

        self._precision = precision
        self._dtype = torch_dtype(precision.dtype)
        self._modules: list[str] = []
        self._wide = {
            tensor.untyped_storage().data_ptr()
            for tensor in (*model.parameters(), *model.buffers())
            if self._holds_beyond(tensor)
        }
        self._overflows = overflows
        # torch takes a recurrent layer apart; the graph holds it as one operator: LSTM, GRU or RNN.
        self._recurrent = {
            name: module.mode.partition("_")[0]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.RNNBase)
        }
        for name, module in model.named_modules():
            if name:
                module.register_forward_pre_hook(self._entering(name))
                module.register_forward_hook(self._leaving, always_call=True)

    @contextmanager
    def rounding(self) -> Iterator[None]:
        """While open, operators that the policy lowers read and make rounded numbers only."""
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        fast = torch.backends.mha.get_fastpath_enabled()
        with ExitStack() as stack:
            # Fused kernels would show no operator inside them, and so nothing to round.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            (whole, *_) = torch.backends.mkldnn.set_flags(  # type: ignore[no-untyped-call]
                _enabled=False, _fp32_precision=None
            )
            stack.callback(torch.backends.mkldnn.set_flags, whole, _fp32_precision=None)
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
            torch.backends.mha.set_fastpath_enabled(False)
            stack.enter_context(intercepting(self._run))
            self._modules.clear()
            yield

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        from torch.utils import _pytree as pytree

        name = func._schema.name.partition("::")[2]
        types = _onnx_types(name)
        if any(self._is_beyond(leaf) for leaf in pytree.tree_leaves((args, kwargs))):
            result = func(*args, **kwargs)
            spreads = _is_view(func._schema) or _CARRYING.issuperset(types)
            return pytree.tree_map(_marked, result) if spreads else result
        if _is_view(func._schema) or not self._lowers(types):
            return func(*args, **kwargs)
        where = f"{self._modules[-1] if self._modules else 'the model'} ({name.strip('_')})"
        written = _written(func, args, kwargs)
        args, kwargs = pytree.tree_map(
            lambda leaf: leaf if id(leaf) in written else self._rounded(leaf, where),
            (args, kwargs),
        )
        result = func(*args, **kwargs)
        for tensor in written.values():
            tensor.copy_(self._rounded(tensor, where))
        if written:
            return result
        return pytree.tree_map(lambda leaf: self._rounded(leaf, where), result)

    def _holds_beyond(self, tensor: "torch.Tensor") -> bool:
        if not tensor.is_floating_point() or not tensor.numel():
            return False
        tensor = tensor.detach()
        finite = tensor[tensor.isfinite()]
        return bool(finite.numel()) and float(finite.abs().max()) > self._precision.largest

    def _is_beyond(self, leaf: Any) -> bool:
        """Whether an argument is, or carries on, a constant that the lower type cannot hold."""
        import torch

        if isinstance(leaf, torch.Tensor):
            if getattr(leaf, _WIDE, False) or leaf.untyped_storage().data_ptr() in self._wide:
                return True
            leaf = leaf.item() if leaf.ndim == 0 and leaf.dtype == torch.float32 else 0.0
        if not isinstance(leaf, float):
            return False
        return math.isfinite(leaf) and abs(leaf) > self._precision.largest

    def _lowers(self, types: Sequence[str]) -> bool:
        if all(item in MOVES for item in types):
            return False
        module = self._modules[-1] if self._modules else ""
        if module in self._recurrent:
            types = (self._recurrent[module],)
        return not any(self._precision.keeps(item, module) for item in types)

    def _rounded(self, leaf: Any, where: str) -> Any:
        import torch

        if not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.float32:
            return leaf
        rounded = leaf.to(self._dtype).to(torch.float32)
        lost = rounded.isinf() & leaf.isfinite()
        if bool(lost.any()):
            largest = float(leaf[lost].abs().max())
            self._overflows[where] = max(largest, self._overflows.get(where, 0.0))
        return rounded

    def _entering(self, name: str) -> Any:
        def hook(_module: Any, _args: Any) -> None:
            self._modules.append(name)

        return hook

    def _leaving(self, _module: Any, _args: Any, _result: Any) -> None:
        if self._modules:
            self._modules.pop()


def _written(func: Any, args: Any, kwargs: Any) -> dict[int, Any]:
    """Returns the float tensors that an operator writes into."""
    import torch

    found = {}
    for place, item in enumerate(func._schema.arguments):
        if item.alias_info is None or not item.alias_info.is_write:
            continue
        given = args[place] if place < len(args) else kwargs.get(item.name)
        if isinstance(given, torch.Tensor) and given.dtype == torch.float32:
            found[id(given)] = given
    return found


def _is_view(schema: Any) -> bool:
    """Whether an operator computes nothing, and shows its input in another way."""
    aliases = [item.alias_info for item in schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _marked(leaf: Any) -> Any:
    """Marks a tensor as one that goes on in float32."""
    import torch

    if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float32:
        setattr(leaf, _WIDE, True)
    return leaf


def _onnx_types(name: str) -> tuple[str, ...]:
    """Returns the ONNX types of a torch operator: ``leaky_relu_`` is ``LeakyRelu``."""
    words = name.rstrip("_")
    return _ONNX_TYPES.get(words) or ("".join(part.capitalize() for part in words.split("_")),)
