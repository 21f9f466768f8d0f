"""The operators that Resize has taken the place of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.resize import resize
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Value, constant


@operator("Resize", since=10)
@operator("Upsample", since=(7, 9, 10))
def upsample(context: Context, node: Node) -> Value | Sequence[Value]:
    """https://onnx.ai/onnx/operators/onnx__Upsample.html: a Resize from the first element on."""
    scales = node.optional(1)
    if scales is None:
        scales = constant(node.name, np.array(node.attributes["scales"], np.float32))
    attributes = {
        "mode": node.attributes["mode"],
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
        "exclude_outside": 0,
    }
    return resize(context, replace(node, inputs=(node[0], None, scales), attributes=attributes))
