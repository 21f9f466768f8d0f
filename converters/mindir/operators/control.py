"""If, Loop and Scan."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.loops import Loop, Result, repeat
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.registry import Node, Subgraph, operator
from ascend_migrate.converters.mindir.values import (
    Shape,
    UnsupportedError,
    Value,
    constant,
    static,
)

_TRUE = constant("true", np.array(True))


@operator("If", since=(1, 11, 13, 16, 19, 21, 23, 24, 25))
def if_(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__If.html: a known condition leaves one branch."""
    condition = node[0]
    branches: list[Subgraph] = [node.attributes["then_branch"], node.attributes["else_branch"]]
    if condition.constant is not None:
        return branches[0 if condition.constant.all() else 1].lower(context, ())
    functions = [context.function(), context.function()]
    results: list[list[Value]] = []
    faults: list[str] = []
    for branch, function in zip(branches, functions, strict=True):
        try:
            results.append(branch.lower(function, ()))
        except UnsupportedError as error:
            # The other branch may have faults too.
            faults += error.nodes or ()
    if len(results) < len(branches):
        raise UnsupportedError("", nodes=faults)
    pairs = [
        pair
        for name, a, b in zip(node.outputs, *results, strict=True)
        for pair in _tensors(name, a, b)
    ]
    kinds = [_either(*pair) for pair in pairs]
    for index, function in enumerate(functions, start=1):
        function.writer.finish([function.reference(pair[index]) for pair in pairs])
    chosen = context.writer.choose(
        context.reference(context.reshape(condition, ())),
        [(function.writer, list(function.writer.captured())) for function in functions],
        context.scope,
    )
    found = iter(context.unpack(chosen, kinds))
    return [
        next(found) if a.items is None else replace(a, items=tuple(islice(found, len(a.items))))
        for a in results[0]
    ]


def _tensors(name: str, a: Value, b: Value) -> list[tuple[str, Value, Value]]:
    """Pairs what the branches yield: two tensors, or those of two sequences."""
    if a.items is None and b.items is None:
        return [(name, a, b)]
    sizes = [None if v.items is None or v.stack is not None else len(v.items) for v in (a, b)]
    if None in sizes or sizes[0] != sizes[1]:
        raise UnsupportedError(f"the length of the sequence {name!r} depends on the branch")
    return [(name, x, y) for x, y in zip(a.items or (), b.items or (), strict=True)]


def _either(name: str, a: Value, b: Value) -> tuple[str, Shape | None]:
    if a.dtype != b.dtype:
        raise UnsupportedError(f"{name!r} is {a.dtype} or {b.dtype}, depending on the branch")
    if a.shape is None or b.shape is None:
        return a.dtype, None
    if a.rank != b.rank:
        raise UnsupportedError(
            f"{name!r} has {a.rank} or {b.rank} dimensions, depending on the branch; MindIR needs "
            "the same number"
        )
    shape = tuple(x if x == y else None for x, y in zip(a.shape, b.shape, strict=True))
    return a.dtype, shape


@operator("Loop", since=(1, 11, 13, 16, 19, 21, 23, 24, 25))
def loop(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Loop.html: states, then what each trip adds."""
    body: Subgraph = node.attributes["body"]
    states = tuple(node[index] for index in range(2, len(node.inputs)))

    def step(inner: Context, trip: Value, going: Value, given: Sequence[Value]) -> Result:
        going, *rest = body.lower(inner, (trip, going, *given))
        return going, rest[: len(states)], rest[len(states) :]

    stacks = body.outputs[1 + len(states) :]
    condition = node.optional(1) or _TRUE
    last, made = repeat(context, Loop(step, body.size, node.optional(0), condition, states, stacks))
    return [*last, *made]


@operator("Scan", since=8)
def scan_batch(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Scan.html: each example of a batch by itself."""
    if node.optional(0) is not None:
        raise UnsupportedError("sequence_lens; export with opset 9 or later, which has none")
    inputs = [node[index] for index in range(1, len(node.inputs))]
    count = static(inputs[0].sizes[:1], "the batch of a Scan of opset 8")[0]
    places = [constant("example", np.array(index)) for index in range(count)]
    examples = [
        _scan(context, node, [_part(context, x, 0, place) for x in inputs]) for place in places
    ]
    return [
        context.concat([context.unsqueeze(value, (0,)) for value in column], 0)
        for column in zip(*examples, strict=True)
    ]


@operator("Scan", since=(9, 11, 16, 19, 21, 23, 24, 25))
def scan(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__Scan.html: along any axis, in both directions."""
    return _scan(context, node, [node[index] for index in range(len(node.inputs))])


def _scan(context: Context, node: Node, inputs: Sequence[Value]) -> list[Value]:
    body: Subgraph = node.attributes["body"]
    count = int(node.attributes["num_scan_inputs"])
    states, scanned = inputs[:-count], inputs[-count:]
    attributes = node.attributes
    axes = _each(attributes.get("scan_input_axes"), count)
    axes = [axis % x.rank for axis, x in zip(axes, scanned, strict=True)]
    # Called "directions" in opset 8.
    backwards = attributes.get("scan_input_directions", attributes.get("directions"))
    backwards = _each(backwards, count)
    sizes = [x.sizes[axis] for axis, x in zip(axes, scanned, strict=True)]
    fixed = next((size for size in sizes if isinstance(size, int)), None)
    trips = Value("trips", "int64", (), elements=(context.dim(scanned[0], axes[0]),))
    if fixed is not None:
        trips = constant("trips", np.array(fixed, np.int64))

    def step(inner: Context, trip: Value, going: Value, given: Sequence[Value]) -> Result:
        places = [_place(inner, trip, trips, back) for back in backwards]
        taken = [_part(inner, *item) for item in zip(scanned, axes, places, strict=True)]
        results = body.lower(inner, (*given, *taken))
        return going, results[: len(states)], results[len(states) :]

    declared = body.outputs[len(states) :]
    last, stacks = repeat(
        context, Loop(step, body.size + count, trips, _TRUE, tuple(states), declared)
    )
    orders = _each(attributes.get("scan_output_directions"), len(stacks))
    targets = _each(attributes.get("scan_output_axes"), len(stacks))
    return [*last, *(_laid(context, *item) for item in zip(stacks, targets, orders, strict=True))]


def _each(given: Sequence[int] | None, count: int) -> list[int]:
    return [0] * count if given is None else [int(item) for item in given]


def _place(context: Context, trip: Value, trips: Value, backwards: int) -> Value:
    """Returns the position that a trip takes its part from."""
    if not backwards:
        return trip
    if trip.constant is not None and trips.constant is not None:
        return constant("place", trips.constant - 1 - trip.constant)
    last = binary(context, "Sub", trips, context.constant(1, "int64"))
    return binary(context, "Sub", last, trip)


def _part(context: Context, x: Value, axis: int, place: Value) -> Value:
    """Takes one entry of a dimension, which goes."""
    if place.constant is None:
        shape = (*x.sizes[:axis], *x.sizes[axis + 1 :])
        whole = context.cast(x, "int32") if x.dtype == "bool" else x
        taken = context.emit("Gather", whole, place, axis, 0, dtype=whole.dtype, shape=shape)
        return context.cast(taken, x.dtype)
    index = int(place.constant)
    if x.elements is not None and x.rank == 1:
        return Value(x.name, "int64", (), elements=(x.elements[index],))
    if x.constant is not None:
        return constant(x.name, np.take(x.constant, index, axis))
    return context.squeeze(context.slice(x, axis, index, index + 1), (axis,))


def _laid(context: Context, stack: Value, axis: int, backwards: int) -> Value:
    """Turns a stack of rows round, and moves its first dimension to where it belongs."""
    if backwards:
        stack = context.emit("ReverseV2", stack, (0,), dtype=stack.dtype, shape=stack.shape)
    order = list(range(1, stack.rank))
    order.insert(axis % stack.rank, 0)
    return context.transpose(stack, order)
