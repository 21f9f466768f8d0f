"""Sequences and optionals, as far as they can be followed at conversion: MindIR has neither."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from onnx import TensorProto

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.indexing import from_front
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import (
    Element,
    UnsupportedError,
    Value,
    constant,
    static,
)
from ascend_migrate.pipeline.dtypes import BY_ONNX


def _sequence(node: Node, items: tuple[Value, ...], dtype: str = "") -> Value:
    return Value(node.name, items[0].dtype if items else dtype, None, items=items)


def _items(value: Value) -> tuple[Value, ...]:
    if value.items is None or value.stack is not None:
        raise UnsupportedError(f"the length of the sequence {value.name!r} is not known")
    return value.items


def _position(context: Context, node: Node, index: int, *, count: int) -> int:
    """Returns a position in a sequence counted from its front; ``count`` if none is given."""
    value = node.optional(index)
    if value is None:
        return count
    (place,) = context.elements(value)
    if not isinstance(place, int):
        raise UnsupportedError(f"the position {value.name!r} is computed when the model runs")
    return place + count if place < 0 else place


@operator("SequenceEmpty", since=11)
def sequence_empty(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SequenceEmpty.html."""
    return _sequence(node, (), BY_ONNX[node.attributes.get("dtype", TensorProto.FLOAT)].name)


@operator("SequenceConstruct", since=11)
def sequence_construct(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SequenceConstruct.html."""
    return _sequence(node, tuple(node[index] for index in range(len(node.inputs))))


@operator("SequenceInsert", since=11)
def sequence_insert(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SequenceInsert.html: at the end by default."""
    if node.optional(2) is None and node[0].items is not None:
        return replace(node[0], dtype=node[1].dtype, items=(*node[0].items, node[1]))
    items = _items(node[0])
    place = _position(context, node, 2, count=len(items))
    return _sequence(node, (*items[:place], node[1], *items[place:]))


@operator("SequenceErase", since=11)
def sequence_erase(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SequenceErase.html: the last by default."""
    items = _items(node[0])
    place = len(items) - 1
    if node.optional(1) is not None:
        place = _position(context, node, 1, count=len(items))
    return _sequence(node, items[:place] + items[place + 1 :], node[0].dtype)


@operator("SequenceAt", since=11)
def sequence_at(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SequenceAt.html."""
    stack = node[0].stack
    if stack is not None and not node[0].items:
        place_of = from_front(context, node[1], context.dim(stack, 0))
        shape = stack.sizes[1:]
        return context.emit("Gather", stack, place_of, 0, 0, dtype=stack.dtype, shape=shape)
    items = _items(node[0])
    place = _position(context, node, 1, count=len(items))
    if not 0 <= place < len(items):
        raise UnsupportedError(f"position {place} of a sequence of {len(items)}")
    return items[place]


@operator("SequenceLength", since=11)
def sequence_length(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SequenceLength.html."""
    x = node[0]
    if x.stack is None:
        return constant(node.name, np.array(len(_items(x)), np.int64))
    length = context.arithmetic("Add", context.dim(x.stack, 0), len(x.items or ()))
    return Value(node.name, "int64", (), elements=(length,))


@operator("ConcatFromSequence", since=11)
def concat_from_sequence(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ConcatFromSequence.html."""
    items, axis = list(node[0].items or ()), int(node.attributes["axis"])
    if not items and node[0].stack is None:
        raise UnsupportedError("an empty sequence has nothing to join")
    if node.attributes["new_axis"]:
        items = [context.unsqueeze(item, (axis,)) for item in items]
    if node[0].stack is not None:
        items.insert(0, _joined(context, node[0].stack, axis, apart=node.attributes["new_axis"]))
    return context.concat(items, axis)


def _joined(context: Context, stack: Value, axis: int, *, apart: bool) -> Value:
    """Joins the entries of the first dimension along ``axis`` of the result."""
    axis %= stack.rank if apart else stack.rank - 1
    order = list(range(1, stack.rank))
    order.insert(axis, 0)
    moved = context.transpose(stack, order)
    if apart:
        return moved
    sizes = context.dims(moved)
    joined = context.arithmetic("Mul", sizes[axis], sizes[axis + 1])
    return context.reshape(moved, (*sizes[:axis], joined, *sizes[axis + 2 :]))


@operator("SplitToSequence", since=(11, 24))
def split_to_sequence(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SplitToSequence.html: the last may be smaller."""
    x, axis, split = node[0], node.axis(node[0].rank), node.optional(1)
    edges: list[Element] = [0]
    if split is not None and split.rank == 1:
        for size in context.elements(split):
            edges.append(context.arithmetic("Add", edges[-1], size))
    else:
        step = _position(context, node, 1, count=1)
        whole = static(x.sizes[axis : axis + 1], "what becomes a sequence")[0]
        edges = [*range(0, whole, step), whole]
    parts = [context.slice(x, axis, start, stop) for start, stop in pairwise(edges)]
    if split is None and not node.attributes["keepdims"]:
        parts = [context.squeeze(part, (axis,)) for part in parts]
    return _sequence(node, tuple(parts), x.dtype)


@operator("Optional", since=(15, 28))
def optional(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Optional.html: of something, never of nothing."""
    if node.optional(0) is None:
        raise UnsupportedError("an optional without an element; only with one")
    return node[0]


@operator("OptionalGetElement", since=(15, 18, 28))
def optional_get_element(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__OptionalGetElement.html."""
    return node[0]


@operator("OptionalHasElement", since=(15, 18, 28))
def optional_has_element(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__OptionalHasElement.html: what is there, is something."""
    return constant(node.name, np.array(node.optional(0) is not None))
