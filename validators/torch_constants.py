"""The constants of a PyTorch model's code, by digest: what an artifact may hold beside its weights.

Buffers that no checkpoint stores, tensors that are mere attributes, and what a call computes of
neither input nor weight, which a converter may compute in advance.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.ledger.weight_bytes import content_digest
from ascend_migrate.validators.ledger.weights import ACCOUNTED_FROM

if TYPE_CHECKING:
    import torch

_LARGEST = 1 << 24
"""Elements of a constant that is looked at: a mask of 4096 x 4096 is as large."""


class Constants:
    """Notes the digests of large floats.

    Args:
        digests: filled.
        precision: notes as well what the policy's cast makes of each.
    """

    def __init__(self, digests: set[str], precision: Precision | None) -> None:
        self._digests, self._precision = digests, precision

    def held_by(self, model: "torch.nn.Module") -> None:
        """Notes what the modules hold beside parameters and stored buffers."""
        known = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
        for module in model.modules():
            for tensor in (*module.buffers(recurse=False), *_tensors(vars(module))):
                if id(tensor) not in known:
                    self.add(tensor)

    def add(self, tensor: "torch.Tensor") -> None:
        """Notes one tensor, if it is one that has to be accounted for."""
        from ascend_migrate.validators.torch_original import to_numpy

        if not ACCOUNTED_FROM <= tensor.numel() <= _LARGEST or not tensor.is_floating_point():
            return
        array = to_numpy(tensor)
        self._digests.add(content_digest(array))
        if self._precision is not None:
            lowered = array.astype(numpy_dtype(self._precision.dtype))
            self._digests.add(content_digest(lowered))


def _tensors(value: Any) -> Iterator["torch.Tensor"]:
    """Yields the tensors among attributes, and in plain lists, tuples and tables of them."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif type(value) in (list, tuple):
        yield from (item for item in value if isinstance(item, torch.Tensor))
    elif type(value) is dict:
        for name, item in value.items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from _tensors(item)
