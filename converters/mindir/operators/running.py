"""Sums and products of everything up to each element."""

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.registry import Lowering, Node, operator
from ascend_migrate.converters.mindir.values import Element, Value


def _running(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """https://onnx.ai/onnx/operators/onnx__CumSum.html: the axis may be computed."""
        x = node[0]
        axis: Element = context.elements(node[1])[0]
        # The kernel counts a negative axis from the back, if it is one of the graph's numbers.
        axis = axis % x.rank if isinstance(axis, int) else axis
        exclusive, reverse = bool(node.attributes["exclusive"]), bool(node.attributes["reverse"])
        return context.emit(primitive, x, axis, exclusive, reverse, dtype=x.dtype, shape=x.shape)

    return lower


operator("CumSum", since=(11, 14))(_running("CumSum"))
operator("CumProd", since=26)(_running("CumProd"))
