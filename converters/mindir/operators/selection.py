"""Parts of a tensor that are chosen, reversed or replaced by what the model computes."""

import math

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Value
from ascend_migrate.pipeline.mindir_format import TYPE_IDS


@operator("Compress", since=(9, 11, 28))
def compress(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Compress.html: without axis, of all in a row."""
    x, condition = node[0], node[1]
    if node.attributes.get("axis") is None:
        x, axis = context.reshape(x, (-1,)), 0
    else:
        axis = node.axis(x.rank)
    chosen = context.emit("NonZero", condition, dtype="int64", shape=(None, 1))
    index = context.reshape(chosen, (-1,))
    shape = (*x.sizes[:axis], None, *x.sizes[axis + 1 :])
    return context.emit("Gather", x, index, axis, 0, dtype=x.dtype, shape=shape)


@operator("ReverseSequence", since=(10, 28))
def reverse_sequence(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ReverseSequence.html: the rest keeps its place."""
    x = node[0]
    return context.emit(
        "ReverseSequence",
        x,
        node[1],
        seq_dim=int(node.attributes["time_axis"]),
        batch_dim=int(node.attributes["batch_axis"]),
        dtype=x.dtype,
        shape=x.shape,
    )


@operator("TensorScatter", since=24)
def tensor_scatter(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__TensorScatter.html: rows written into a cache."""
    cache, update, begin = node[0], node[1], node.optional(2)
    axis = node.axis(cache.rank)
    length = context.dim(update, axis)
    place = context.emit("Range", 0, length, 1, dtype="int64", shape=(update.sizes[axis],))
    place = context.reshape(place, (-1, *(1,) * (cache.rank - 1 - axis)))
    if begin is not None:
        column = context.reshape(begin, (-1, *(1,) * (cache.rank - 1)))
        place = binary(context, "Add", column, place)
    if node.attributes["mode"] == "circular":
        size = context.dim(cache, axis)
        whole = Value("size", "int64", (), elements=(size,))
        place = binary(context, "FloorMod", place, whole)
    index = context.expand(place, context.dims(update))
    return context.emit(
        "TensorScatterElements",
        cache,
        index,
        update,
        axis,
        0,
        dtype=cache.dtype,
        shape=cache.shape,
    )


@operator("Unique", since=(11, 28))
def unique(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Unique.html: every slice is compared with every other.

    MindSpore's own Unique knows neither order nor axis, and tells no first occurrence.
    """
    x, axis = node[0], 0
    if node.attributes.get("axis") is None:
        x = context.reshape(x, (-1,))
    else:
        axis = node.axis(x.rank)
    order = [axis, *(other for other in range(x.rank) if other != axis)]
    rows = context.transpose(x, order)
    rest = rows.sizes[1:]
    width = math.prod(size for size in rest if isinstance(size, int)) if rest else 1
    rows = context.reshape(rows, (context.dim(x, axis), width if None not in rest else -1))
    count = rows.sizes[0]
    same, below = _compared(context, rows)
    first = context.emit(
        "Argmax",
        context.cast(same, "float32"),
        1,
        TYPE_IDS["int32"],
        dtype="int32",
        shape=(count,),
    )
    first = context.cast(first, "int64")
    numbers = context.emit("Range", 0, context.dim(rows, 0), 1, dtype="int64", shape=(count,))
    original = binary(context, "Equal", first, numbers, "bool")
    ahead = below if node.attributes["sorted"] else _earlier(context, first, numbers)
    ranked = binary(context, "LogicalAnd", ahead, context.unsqueeze(original, (0,)), "bool")
    place = context.cast(_count(context, ranked), "int64")
    found = context.emit("NonZero", original, dtype="int64", shape=(None, 1))
    found = context.reshape(found, (-1,))
    ranks = context.cast(_taken(context, place, found), "int32")
    results = [("int32", (None,)), ("int32", (None,))]
    sorting = context.emit_many("Sort", ranks, axis=-1, descending=False, results=results)[1]
    indices = _taken(context, found, context.cast(sorting, "int64"))
    shape = (*x.sizes[:axis], None, *x.sizes[axis + 1 :])
    values = context.emit("Gather", x, indices, axis, 0, dtype=x.dtype, shape=shape)
    repeats = _taken(context, context.cast(_count(context, same), "int64"), indices)
    return [values, indices, place, repeats]


def _compared(context: Context, rows: Value) -> tuple[Value, Value]:
    """Returns which rows [i, j] are equal, and whether row j is below row i."""
    column, line = context.unsqueeze(rows, (1,)), context.unsqueeze(rows, (0,))
    equal = binary(context, "Equal", column, line, "bool")
    count = rows.sizes[0]
    same = context.emit("ReduceAll", equal, (2,), False, dtype="bool", shape=(count, count))
    unlike = context.cast(
        context.emit("LogicalNot", equal, dtype="bool", shape=equal.shape), "float32"
    )
    # The first column in which they differ decides.
    where = context.emit(
        "Argmax", unlike, 2, TYPE_IDS["int32"], dtype="int32", shape=(count, count)
    )
    smaller = context.cast(binary(context, "Less", line, column, "bool"), "int32")
    where = context.unsqueeze(context.cast(where, "int64"), (2,))
    picked = context.emit("GatherD", smaller, 2, where, dtype="int32", shape=where.shape)
    return same, context.cast(context.squeeze(picked, (2,)), "bool")


def _earlier(context: Context, first: Value, numbers: Value) -> Value:
    """Returns whether row j lies before the first row that is equal to row i."""
    return binary(context, "Less", numbers, context.unsqueeze(first, (1,)), "bool")


def _count(context: Context, flags: Value) -> Value:
    wide = context.cast(flags, "int32")
    return context.emit("ReduceSum", wide, (1,), False, dtype="int32", shape=flags.sizes[:1])


def _taken(context: Context, line: Value, index: Value) -> Value:
    return context.emit("Gather", line, index, 0, 0, dtype=line.dtype, shape=index.shape)
