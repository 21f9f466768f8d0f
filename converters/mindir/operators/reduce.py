"""Reductions along axes."""

import ml_dtypes
import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.registry import Lowering, Node, operator
from ascend_migrate.converters.mindir.values import Element, Shape, Value, static

_PLAIN = {
    "ReduceMax": ("ReduceMax", (1, 11, 12, 13, 18, 20)),
    "ReduceMean": ("ReduceMean", (1, 11, 13, 18)),
    "ReduceMin": ("ReduceMin", (1, 11, 12, 13, 18, 20)),
    "ReduceProd": ("ReduceProd", (1, 11, 13, 18)),
    "ReduceSum": ("ReduceSum", (1, 11, 13)),
}


def reduce_axes(
    context: Context, primitive: str, x: Value, axes: tuple[Element, ...], *, keep: bool
) -> Value:
    """Emits a reduction over ``axes`` (counted from the front, if they are known)."""
    if 0 in (x.shape or ()):
        return _of_nothing(context, primitive, x, axes, keep=keep)
    arguments = {"axis": axes, "keep_dims": keep}
    if x.dtype == "bool":
        # A truth value is reduced as the number 0 or 1.
        wide = context.cast(x, "int32")
        return context.cast(reduce_axes(context, primitive, wide, axes, keep=keep), "bool")
    return context.emit(
        primitive, x, dtype=x.dtype, shape=_reduced(x.shape, axes, keep=keep), **arguments
    )


def _of_nothing(
    context: Context, primitive: str, x: Value, axes: tuple[Element, ...], *, keep: bool
) -> Value:
    """Reduces a tensor without elements along axes that the model computes.

    MindSpore's kernels take none: each empty dimension is filled with one neutral element, and is
    emptied again where it is not one of the axes.
    """
    shape = static(x.sizes, f"the input of {primitive}")
    filled = np.full([max(size, 1) for size in shape], _neutral(primitive, x.dtype))
    found = reduce_axes(context, primitive, context.constant(filled, x.dtype), axes, keep=True)
    given = Value(x.name, "int64", (len(axes),), elements=axes)
    rank = context.constant(x.rank, "int64")
    places = context.emit("FloorMod", given, rank, dtype="int64", shape=given.shape)
    for axis, size in enumerate(shape):
        if size == 0:
            number = context.constant(axis, "int64")
            hit = context.emit("Equal", places, number, dtype="bool", shape=given.shape)
            flag = reduce_axes(context, "ReduceMax", context.cast(hit, "int64"), (0,), keep=False)
            found = context.slice(found, axis, 0, context.elements(flag)[0])
    if keep:
        return found
    gone = (None,) * (x.rank - len(axes))
    return context.emit("Squeeze", found, axes, dtype=x.dtype, shape=gone)


def _neutral(primitive: str, dtype: str) -> float:
    """Returns what ONNX gives for a reduction of nothing."""
    if primitive in {"ReduceMax", "ReduceMin"}:
        largest = primitive == "ReduceMin"
        if dtype == "bool":
            return largest
        if "float" in dtype:
            return np.inf if largest else -np.inf
        bounds = np.iinfo(dtype)
        return int(bounds.max if largest else bounds.min)
    return {"ReduceSum": 0.0, "ReduceProd": 1.0}.get(primitive, np.nan)


def _reduced(shape: Shape | None, axes: tuple[Element, ...], *, keep: bool) -> Shape | None:
    if shape is None:
        return None
    if not all(isinstance(axis, int) for axis in axes):
        return (None,) * (len(shape) if keep else len(shape) - len(axes))
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _axes(context: Context, node: Node) -> tuple[tuple[Element, ...], bool] | None:
    """Returns the axes and whether they are kept; None where nothing is reduced."""
    rank, given = node[0].rank, node.optional(1)
    axes: tuple[Element, ...] = tuple(node.attributes.get("axes") or ())
    if given is not None:
        axes = context.elements(given)
    if not axes:
        if node.attributes.get("noop_with_empty_axes"):
            return None
        axes = tuple(range(rank))
    keep = bool(node.attributes["keepdims"])
    numbers = [axis % rank for axis in axes if isinstance(axis, int)]
    return (tuple(sorted(numbers)) if len(numbers) == len(axes) else axes), keep


def _plain(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """One reduction, one primitive: https://onnx.ai/onnx/operators/ (table above)."""
        found = _axes(context, node)
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
        found = _axes(context, node)
        if found is not None and found[0]:
            x = reduce_axes(context, "ReduceSum", x, found[0], keep=found[1])
        return context.emit(after, x, dtype=x.dtype, shape=x.shape) if after else x

    return lower


_COMPOSED_VERSIONS = (1, 11, 13, 18)
operator("ReduceL1", since=_COMPOSED_VERSIONS)(_composed("Abs", ""))
operator("ReduceL2", since=_COMPOSED_VERSIONS)(_composed("Square", "Sqrt"))
operator("ReduceSumSquare", since=_COMPOSED_VERSIONS)(_composed("Square", ""))
operator("ReduceLogSum", since=(*_COMPOSED_VERSIONS, 28))(_composed("", "Log"))


@operator("ReduceLogSumExp", since=(*_COMPOSED_VERSIONS, 28))
def log_sum_exp(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ReduceLogSumExp.html, with the maximum taken out.

    The maximum is kept finite: of nothing but -inf, the difference would be NaN.
    """
    x, found = node[0], _axes(context, node)
    if found is None or not found[0]:
        return x
    axes, keep = found
    top = reduce_axes(context, "ReduceMax", x, axes, keep=True)
    largest = float(ml_dtypes.finfo(x.dtype).max)  # type: ignore[no-untyped-call]
    for bound, limit in (("Maximum", -largest), ("Minimum", largest)):
        top = context.emit(bound, top, context.like(limit, x), dtype=x.dtype, shape=top.shape)
    shifted = context.emit("Sub", x, top, dtype=x.dtype, shape=x.shape)
    total = context.emit("Exp", shifted, dtype=x.dtype, shape=x.shape)
    total = reduce_axes(context, "ReduceSum", total, axes, keep=keep)
    total = context.emit("Log", total, dtype=x.dtype, shape=total.shape)
    # The largest of what is left in each dimension is what is left.
    top = top if keep else reduce_axes(context, "ReduceMax", top, axes, keep=False)
    return context.emit("Add", total, top, dtype=x.dtype, shape=total.shape)
