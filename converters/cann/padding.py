"""Pad with a value: CANN is documented for zeros only."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    constant_of,
    given,
    rank_of,
    replace,
    size_of,
)


@surgery("pad-value", "Pad")
def pad_value(node: ir.Node) -> bool:
    """Zeros, and then the value chosen where they are; left alone where sizes are not fixed."""
    if node.attributes.get_string("mode", "constant") != "constant" or given(node, 2) is None:
        return False
    try:
        value, pads = constant_of(node, 2), constant_of(node, 1)
        if value is None or not value.any() or pads is None:
            return False
        rank, source = rank_of(node.inputs[0]), node.inputs[0]
        around = pads.reshape(2, rank).tolist()
        axes = [axis for axis in range(rank) if around[0][axis] > 0 or around[1][axis] > 0]
        sizes = {axis: size_of(source, axis) for axis in axes}
    except NoExactRuleError:
        return False  # the preflight tells of it: only the vendor's page asks for zeros
    added = np.zeros([1] * rank, dtype=bool)
    for axis in axes:
        before, after = around[0][axis], around[1][axis]
        index = np.arange(-before, sizes[axis] + after)
        line = (index < 0) | (index >= sizes[axis])
        added = added | line.reshape([-1 if i == axis else 1 for i in range(rank)])
    make = Builder(node)
    zeros = make("Pad", source, node.inputs[1], mode="constant")
    filling = make.constant(np.array(value.reshape(-1)[0]))
    replace(node, make("Where", make.constant(added), filling, zeros) if axes else zeros)
    return True
