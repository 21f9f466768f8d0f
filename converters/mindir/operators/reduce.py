"""Reductions along axes."""

import ml_dtypes

from ascend_migrate.converters.mindir.context import TYPE_IDS, Context
from ascend_migrate.converters.mindir.registry import Lowering, Node, operator
from ascend_migrate.converters.mindir.values import Shape, UnsupportedError, Value

_PLAIN = {
    "ReduceMax": ("ReduceMax", (1, 11, 12, 13, 18, 20)),
    "ReduceMean": ("ReduceMean", (1, 11, 13, 18)),
    "ReduceMin": ("ReduceMin", (1, 11, 12, 13, 18, 20)),
    "ReduceProd": ("ReduceProd", (1, 11, 13, 18)),
    "ReduceSum": ("ReduceSum", (1, 11, 13)),
}


def reduce_axes(
    context: Context, primitive: str, x: Value, axes: tuple[int, ...], *, keep: bool
) -> Value:
    """Emits a reduction over ``axes`` (counted from the front)."""
    arguments = {"axis": axes, "keep_dims": keep}
    if x.dtype == "bool":
        # A truth value is reduced as the number 0 or 1.
        wide = context.cast(x, "int32")
        return context.cast(reduce_axes(context, primitive, wide, axes, keep=keep), "bool")
    return context.emit(
        primitive, x, dtype=x.dtype, shape=_reduced(x.shape, axes, keep=keep), **arguments
    )


def _reduced(shape: Shape | None, axes: tuple[int, ...], *, keep: bool) -> Shape | None:
    if shape is None:
        return None
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _axes(node: Node) -> tuple[tuple[int, ...], bool] | None:
    """Returns the axes and whether they are kept; None where nothing is reduced."""
    x = node[0]
    axes = node.integers(1, "axes")
    if not axes:
        if node.attributes.get("noop_with_empty_axes"):
            return None
        axes = tuple(range(x.rank))
    keep = bool(node.attributes["keepdims"])
    return tuple(sorted(axis % x.rank for axis in axes)), keep


def _plain(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """One reduction, one primitive: https://onnx.ai/onnx/operators/ (table above)."""
        found = _axes(node)
        if found is None or not found[0]:
            return node[0]
        return reduce_axes(context, primitive, node[0], found[0], keep=found[1])

    return lower


for _name, (_primitive, _versions) in _PLAIN.items():
    operator(_name, since=_versions)(_plain(_primitive))


def _composed(before: str, after: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """A sum of elementwise results, with a function applied to it."""
        x = node[0]
        if before:
            x = context.emit(before, x, dtype=x.dtype, shape=x.shape)
        found = _axes(node)
        if found is not None and found[0]:
            x = reduce_axes(context, "ReduceSum", x, found[0], keep=found[1])
        return context.emit(after, x, dtype=x.dtype, shape=x.shape) if after else x

    return lower


_COMPOSED_VERSIONS = (1, 11, 13, 18)
operator("ReduceL1", since=_COMPOSED_VERSIONS)(_composed("Abs", ""))
operator("ReduceL2", since=_COMPOSED_VERSIONS)(_composed("Square", "Sqrt"))
operator("ReduceSumSquare", since=_COMPOSED_VERSIONS)(_composed("Square", ""))
operator("ReduceLogSum", since=_COMPOSED_VERSIONS)(_composed("", "Log"))


@operator("ReduceLogSumExp", since=_COMPOSED_VERSIONS)
def log_sum_exp(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ReduceLogSumExp.html, with the maximum taken out.

    The maximum is kept finite: of nothing but -inf, the difference would be NaN.
    """
    x, found = node[0], _axes(node)
    if found is None or not found[0]:
        return x
    axes, keep = found
    top = reduce_axes(context, "ReduceMax", x, axes, keep=True)
    largest = float(ml_dtypes.finfo(x.dtype).max)  # type: ignore[no-untyped-call]
    for bound, limit in (("Maximum", -largest), ("Minimum", largest)):
        top = context.emit(bound, top, context.like(limit, x), dtype=x.dtype, shape=top.shape)
    shifted = context.emit("Sub", x, top, dtype=x.dtype, shape=x.shape)
    total = context.emit("Exp", shifted, dtype=x.dtype, shape=x.shape)
    total = reduce_axes(context, "ReduceSum", total, axes, keep=True)
    total = context.emit("Log", total, dtype=x.dtype, shape=total.shape)
    total = context.emit("Add", total, top, dtype=x.dtype, shape=total.shape)
    return total if keep else context.squeeze(total, axes)


def _argument(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """Index of the first extreme: https://onnx.ai/onnx/operators/onnx__ArgMax.html."""
        x = node[0]
        if node.attributes.get("select_last_index"):
            raise UnsupportedError("select_last_index=1")
        axis = node.axis(x.rank)
        shape = _reduced(x.shape, (axis,), keep=False)
        # MindSpore's kernel yields int32, which ONNX widens.
        int32 = TYPE_IDS["int32"]
        found = context.emit(primitive, x, axis, int32, dtype="int32", shape=shape)
        wide = context.cast(found, "int64")
        return context.unsqueeze(wide, (axis,)) if node.attributes["keepdims"] else wide

    return lower


operator("ArgMax", since=(1, 11, 12, 13))(_argument("Argmax"))
operator("ArgMin", since=(1, 11, 12, 13))(_argument("Argmin"))
