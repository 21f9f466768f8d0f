"""Branches whose condition is known, and loops whose trips are, written out."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    constant_of,
    replace,
    size_of,
)

_MOST_NODES = 12_000
"""Nodes that a loop may become, as for a recurrent layer."""


@surgery("control-flow", "If")
def branch(node: ir.Node) -> bool:
    """The branch that a known condition takes; CANN has an adapter for the others."""
    if ir.convenience.get_const_tensor(node.inputs[0]) is None:  # type: ignore[arg-type]
        return False
    condition = constant_of(node, 0)
    name = "then_branch" if condition is not None and condition.any() else "else_branch"
    replace(node, *_spliced(node, node.attributes[name].as_graph(), []))
    return True


@surgery("control-flow", "Loop")
def loop(node: ir.Node) -> bool:
    """Written out, one trip after the other (https://onnx.ai/onnx/operators/onnx__Loop.html)."""
    body, count = node.attributes["body"].as_graph(), constant_of(node, 0)
    condition = constant_of(node, 1)
    if count is None or not _goes_on(body):
        raise NoExactRuleError("a loop whose number of trips is computed at run time")
    trips = int(count.reshape(-1)[0]) if condition is None or condition.any() else 0
    _check_length(body, trips)
    make, states = Builder(node), list(node.inputs[2:])
    rows: list[list[ir.Value | None]] = []
    going = make.constant(np.array(True))
    for trip in range(trips):
        number = make.constant(np.array(trip, dtype=np.int64))
        found = _spliced(node, body, [number, going, *states], label=f"trip{trip}")
        states = found[1 : 1 + len(states)]
        rows.append(found[1 + len(states) :])
    columns = list(zip(*rows, strict=True))
    if len(columns) + len(states) < len(node.outputs):
        raise NoExactRuleError("a loop of no trips that collects results")
    replace(node, *states, *(_stacked(make, list(column), 0) for column in columns))
    return True


def _goes_on(body: ir.Graph) -> bool:
    """Whether a body never ends its loop: its condition is true, or the one that it was given."""
    value: ir.Value | None = body.outputs[0]
    while value is not None and value is not body.inputs[1]:
        known, made = ir.convenience.get_const_tensor(value), value.producer()
        if known is not None:
            return bool(known.numpy().any())
        if made is None or made.op_type != "Identity":
            return False
        value = made.inputs[0]
    return value is not None


@surgery("control-flow", "Scan")
def scan(node: ir.Node) -> bool:
    """Written out, one step after the other (https://onnx.ai/onnx/operators/onnx__Scan.html)."""
    body, count = node.attributes["body"].as_graph(), node.attributes.get_int("num_scan_inputs")
    sequences, states = node.inputs[-count:], list(node.inputs[:-count])
    collected = len(node.outputs) - len(states)
    axes, ways = _ints(node, "scan_input_axes", count), _ints(node, "scan_input_directions", count)
    trips = size_of(sequences[0], axes[0])
    _check_length(body, trips)
    make, rows = Builder(node), []
    for trip in range(trips):
        items = []
        for value, axis, way in zip(sequences, axes, ways, strict=True):
            place = np.array(trips - 1 - trip if way else trip, dtype=np.int64)
            items.append(make("Gather", value, make.constant(place), axis=axis))
        found = _spliced(node, body, [*states, *items], label=f"step{trip}")
        states = found[: len(states)]
        rows.append(found[len(states) :])
    axes = _ints(node, "scan_output_axes", collected)
    ways = _ints(node, "scan_output_directions", collected)
    columns = [list(column) for column in zip(*rows, strict=True)]
    results = [
        _stacked(make, column[::-1] if way else column, axis)
        for column, axis, way in zip(columns, axes, ways, strict=True)
    ]
    replace(node, *states, *results)
    return True


def _ints(node: ir.Node, name: str, count: int) -> list[int]:
    attribute = node.attributes.get(name)
    return [0] * count if attribute is None else list(attribute.as_ints())


def _check_length(body: ir.Graph, trips: int) -> None:
    nodes = trips * max(sum(1 for _ in body.all_nodes()), 1)
    if nodes > _MOST_NODES:
        raise NoExactRuleError(f"a loop that becomes {nodes} nodes; at most {_MOST_NODES}")


def _stacked(make: Builder, values: Sequence[ir.Value | None], axis: int) -> ir.Value:
    rows = [make("Unsqueeze", value, make.ints(axis)) for value in values]
    return rows[0] if len(rows) == 1 else make("Concat", *rows, axis=axis)


def _spliced(
    node: ir.Node, body: ir.Graph, arguments: Sequence[ir.Value | None], label: str = "taken"
) -> list[ir.Value | None]:
    """Copies a body in front of its node, fed with ``arguments``; returns its results."""
    make, inner = Builder(node), body.clone(allow_outer_scope_values=True)
    stem = next((v.name for v in node.outputs if v.name), node.name)
    for value in inner.initializers.values():
        if value.const_value is None:
            raise NoExactRuleError("a body whose constants are missing")
        constant = make.constant(value.const_value.numpy())
        ir.convenience.replace_all_uses_with(value, constant, replace_graph_outputs=True)
    for value, argument in zip(inner.inputs, arguments, strict=True):
        if argument is None:
            raise NoExactRuleError("a state without a first value")
        ir.convenience.replace_all_uses_with(value, argument, replace_graph_outputs=True)
    results, made = list(inner.outputs), list(inner)
    inner.outputs.clear()
    inner.remove(made)
    for item in made:
        item.name = f"{stem}/{label}/{item.name}"
        for value in item.outputs:
            if value.name:
                value.name = f"{stem}/{label}/{value.name}"
    if node.graph is None:
        raise TypeError("a node in a model belongs to a graph")
    node.graph.insert_before(node, made)
    return [*results]
