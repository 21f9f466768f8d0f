"""Forms that operators had before opset 13 and that mean something else than the newer ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.extremes import hardmax
from ascend_migrate.converters.mindir.operators.normalization import log_softmax, softmax
from ascend_migrate.converters.mindir.registry import Lowering, Node, operator, registry
from ascend_migrate.converters.mindir.values import Element, Value, constant

_BROADCAST_SINCE_7 = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), (1, 6)),
    **dict.fromkeys(("Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"), (1,)),
}


def lined_up(context: Context, node: Node) -> Value | Sequence[Value]:
    """https://onnx.ai/onnx/operators/onnx__Add.html: up to opset 6, the second from axis on.

    Without axis, the second input lies along the last dimensions of the first.
    """
    a, b, axis = node[0], node[1], node.attributes.get("axis")
    if node.attributes["broadcast"] and axis is not None:
        behind = a.rank - axis % a.rank - b.rank
        b = context.unsqueeze(b, tuple(range(b.rank, b.rank + behind)))
    newer: Lowering = registry()[node.op_type, 7]
    return newer(context, replace(node, inputs=(a, b)))


for _name, _versions in _BROADCAST_SINCE_7.items():
    operator(_name, since=_versions)(lined_up)


@operator("PRelu", since=(1, 6))
def prelu(context: Context, node: Node) -> Value | Sequence[Value]:
    """https://onnx.ai/onnx/operators/onnx__PRelu.html: the slope is one, or one per channel."""
    x, slope = node[0], node[1]
    if slope.shape != (1,):
        slope = context.unsqueeze(slope, tuple(range(1, x.rank - 1)))
    return registry()["PRelu", 7](context, replace(node, inputs=(x, slope)))


def _as_rows(newer: Lowering) -> Lowering:
    def lower(context: Context, node: Node) -> Value | Sequence[Value]:
        """https://onnx.ai/onnx/operators/onnx__Softmax.html: opset 11, over all from axis on."""
        x = node[0]
        axis = node.axis(x.rank)
        if axis == x.rank - 1:
            return newer(context, node)
        sizes = context.dims(x)
        before: Element = 1
        for size in sizes[:axis]:
            before = context.arithmetic("Mul", before, size)
        rows = context.reshape(x, (before, -1))
        flat = replace(node, inputs=(rows,), attributes={"axis": 1})
        found = newer(context, flat)
        assert isinstance(found, Value)  # noqa: S101 - narrows the type
        return context.reshape(found, sizes)

    return lower


operator("Softmax", since=(1, 11))(_as_rows(softmax))
operator("LogSoftmax", since=(1, 11))(_as_rows(log_softmax))
operator("Hardmax", since=(1, 11))(_as_rows(hardmax))


def _as_input(name: str, attribute: str, since: int) -> None:
    """Registers version 1 of an operator whose second input was an attribute then."""

    @operator(name, since=1)
    def lower(context: Context, node: Node) -> Value | Sequence[Value]:
        """https://onnx.ai/onnx/operators/onnx__TopK.html: in opset 1, an input was an attribute."""
        given = node.attributes[attribute]
        value = constant(node.name, np.array(given, np.int64))
        return registry()[name, since](context, replace(node, inputs=(node[0], value)))


_as_input("Reshape", "shape", 5)
_as_input("TopK", "k", 10)
_as_input("Pad", "paddings", 11)
