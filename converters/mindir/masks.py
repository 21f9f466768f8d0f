"""Which tensors may be -inf along a whole row, as where a mask leaves nothing to look at."""

from collections.abc import Sequence

import numpy as np

from ascend_migrate.converters.mindir.values import Value

_CARRIERS = {"Add", "Cast", "CastLike", "Concat", "Expand", "Gather", "Identity", "Max", "Min"}
_CARRIERS |= {"Pad", "Reshape", "Slice", "Squeeze", "Sub", "Tile", "Transpose", "Trilu"}
_CARRIERS |= {"Unsqueeze", "Where"}
"""Operators whose result may have such a row if one of their inputs does."""


def carries(op_type: str, inputs: Sequence[Value | None]) -> bool:
    """Whether the results of a node may have rows of nothing but -inf."""
    return op_type in _CARRIERS and any(value and _hides(value) for value in inputs)


def _hides(value: Value) -> bool:
    if value.constant is None or not value.floating:
        return value.masked
    hidden = value.constant == -np.inf
    return bool(hidden.all(axis=-1).any() if hidden.ndim else hidden)
