"""How a model is called and what its outputs are called: one convention for graph and original.

The exported graph and the original model must agree on names, or nothing could be compared; so the
exporter and the validators both ask here.
"""

import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def called_by_name(model: "torch.nn.Module", names: Sequence[str]) -> bool:
    """Whether ``forward`` has arguments of all these names; otherwise inputs go by position."""
    parameters = inspect.signature(model.forward).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return all(name in parameters and parameters[name].kind in named for name in names)


def output_names(result: Any, kept: Sequence[bool], inputs: Collection[str]) -> list[str]:
    """Names the tensors of a model's result.

    Args:
        result: the result's structure, with the number of each leaf in its place.
        kept: for each leaf, whether it is a tensor.
        inputs: names of the inputs, which an output may not have.

    Returns:
        For each tensor the key of the mapping or named tuple that holds it, otherwise
        ``output_0``, ``output_1``, and so on.
    """
    keys = _keys(result)
    names: list[str] = []
    for leaf, keep in enumerate(kept):
        if not keep:
            continue
        name = re.sub(r"\W+", "_", keys.get(leaf, f"output_{len(names)}"))
        if name in inputs:
            name = f"{name}_out"
        while name in names:
            name += "_"
        names.append(name)
    return names


def named_outputs(result: Any, inputs: Collection[str]) -> dict[str, "torch.Tensor"]:
    """Returns the tensors of what a model returned, by name."""
    import torch
    from torch.utils import _pytree as pytree

    leaves, spec = pytree.tree_flatten(result)
    kept = [isinstance(leaf, torch.Tensor) for leaf in leaves]
    names = output_names(pytree.tree_unflatten(range(len(leaves)), spec), kept, inputs)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return dict(zip(names, tensors, strict=True))


def _keys(tree: Any) -> dict[int, str]:
    """Returns the key of each leaf of a result that is a mapping or a named tuple."""
    from torch.utils import _pytree as pytree

    fields = tree._asdict() if hasattr(tree, "_asdict") else tree
    found: dict[int, str] = {}
    for key, value in fields.items() if isinstance(fields, Mapping) else ():
        leaves = pytree.tree_leaves(value)
        single = len(leaves) == 1
        found |= {leaf: str(key) if single else f"{key}_{i}" for i, leaf in enumerate(leaves)}
    return found
