"""Pad with a value: CANN is documented for zeros only."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Array,
    Builder,
    NoExactRuleError,
    constant_of,
    dtype_of,
    given,
    rank_of,
    replace,
    size_of,
)


@surgery("pad-count", "Pad")
def pad_count(node: ir.Node) -> bool:
    """Refused: one number before and one after each dimension has to be given."""
    pads = _known(node, 1)
    if pads is not None and pads.size % 2:
        raise NoExactRuleError(f"its pads are {pads.size} numbers; give two for each dimension")
    return False


@surgery("pad-value", "Pad")
def pad_value(node: ir.Node) -> bool:
    """Zeros, and then the value chosen where they are."""
    value = _known(node, 2)
    if node.attributes.get_string("mode", "constant") != "constant":
        return False
    if value is None or not value.any():
        return False  # of a value that is not known the preflight cannot tell either
    make, source = Builder(node), node.inputs[0]
    zeros = make("Pad", source, node.inputs[1], mode="constant")
    try:
        added = make.constant(_added(node))
    except NoExactRuleError:
        ones = make("Expand", make.constant(np.ones(1, np.float32)), make("Shape", source))
        kept = make("Pad", ones, node.inputs[1], mode="constant")
        added = make("Equal", kept, make.constant(np.zeros(1, np.float32)))
    filling = make.constant(np.array(value.reshape(-1)[0], dtype=dtype_of(source).numpy()))
    replace(node, make("Where", added, filling, zeros))
    return True


def _known(node: ir.Node, place: int) -> Array | None:
    value = given(node, place)
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def _added(node: ir.Node) -> Array:
    """Returns where the result holds no element of the source; dimensions of 1 are broadcast.

    Raises:
        NoExactRuleError: pads or a size are not known.
    """
    source, pads = node.inputs[0], constant_of(node, 1)
    rank = rank_of(source)
    if pads is None or pads.size != 2 * rank:
        raise NoExactRuleError(f"{rank} dimensions need two numbers each")
    added = np.zeros([1] * rank, dtype=bool)
    for axis, (before, after) in enumerate(zip(*pads.reshape(2, rank).tolist(), strict=True)):
        if before > 0 or after > 0:
            index = np.arange(-before, size_of(source, axis) + after)
            line = (index < 0) | (index >= size_of(source, axis))
            added = added | line.reshape([-1 if i == axis else 1 for i in range(rank)])
    return added
