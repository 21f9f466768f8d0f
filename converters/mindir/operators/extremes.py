"""Where the largest and smallest elements are."""

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.registry import Lowering, Node, operator
from ascend_migrate.converters.mindir.values import Value
from ascend_migrate.pipeline.mindir_format import TYPE_IDS


def first_extreme(context: Context, primitive: str, x: Value, axis: int) -> Value:
    """Returns the int64 index of the first extreme along ``axis``, which is removed."""
    shape = (*x.sizes[:axis], *x.sizes[axis + 1 :])
    # MindSpore yields int32, which ONNX widens.
    found = context.emit(primitive, x, axis, TYPE_IDS["int32"], dtype="int32", shape=shape)
    return context.cast(found, "int64")


def _argument(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """https://onnx.ai/onnx/operators/onnx__ArgMax.html: the first or the last of equals."""
        x, axis = node[0], node.axis(node[0].rank)
        last = bool(node.attributes.get("select_last_index"))
        if last:
            x = context.emit("ReverseV2", x, (axis,), dtype=x.dtype, shape=x.shape)
        found = first_extreme(context, primitive, x, axis)
        if last:
            end = context.arithmetic("Sub", context.dim(x, axis), 1)
            found = binary(context, "Sub", Value(node.name, "int64", (), elements=(end,)), found)
        return context.unsqueeze(found, (axis,)) if node.attributes["keepdims"] else found

    return lower


operator("ArgMax", since=(1, 11, 12, 13))(_argument("Argmax"))
operator("ArgMin", since=(1, 11, 12, 13))(_argument("Argmin"))


@operator("Hardmax", since=13)
def hardmax(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Hardmax.html: one at the first maximum, zeros beside."""
    x, axis = node[0], node.axis(node[0].rank)
    found = context.unsqueeze(first_extreme(context, "Argmax", x, axis), (axis,))
    size = context.dim(x, axis)
    numbers = context.emit("Range", 0, size, 1, dtype="int64", shape=(x.sizes[axis],))
    numbers = context.reshape(numbers, (-1, *(1,) * (x.rank - 1 - axis)))
    hit = binary(context, "Equal", found, numbers, "bool")
    return select(context, hit, context.like(1, x), context.like(0, x))
