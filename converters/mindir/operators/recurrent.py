"""LSTM, GRU and RNN, written out step by step over a time dimension of fixed size.

MindSpore has no recurrent primitive that has both a CPU and an Ascend kernel (its ``LSTM`` is GPU
and CPU only), so a model checked here would not be the model that runs there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, tanh
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, static


@dataclass(frozen=True, slots=True)
class _Direction:
    """The weights and the initial state of one direction.

    Attributes:
        inputs: gates of all time steps that come from the input: [time, batch, gates * hidden].
        recurrent: [gates * hidden, hidden].
        bias: of the recurrent part, [gates * hidden], or None.
        hidden: initial hidden state, [batch, hidden].
        cell: initial cell state, or None.
    """

    inputs: Value
    recurrent: Value
    bias: Value | None
    hidden: Value
    cell: Value | None


_State = tuple[Value, Value | None]
_Step = Callable[[Value, _Direction, _State], _State]


_PEEPHOLE = 7
"""Input of LSTM's peephole weights; GRU and RNN have fewer inputs."""


def _check(node: Node, *activations: str) -> None:
    found = node.attributes
    wanted = list(found.get("activations", ()))
    directions = 2 if found["direction"] == "bidirectional" else 1
    # The schema's default names one activation for each direction, even where there is only one.
    if wanted and wanted[: len(activations) * directions] != list(activations) * directions:
        raise UnsupportedError(f"activations {wanted}; only {list(activations)}")
    for name in ("clip", "input_forget", "layout"):
        if found.get(name):
            raise UnsupportedError(f"{name}={found[name]}")
    lengths = node.optional(4)
    if lengths is not None:
        steps = static(node[0].sizes[:1], "the sequence")[0]
        if lengths.constant is None or (lengths.constant != steps).any():
            raise UnsupportedError("sequence_lens; only sequences of full length")
    if node.optional(_PEEPHOLE) is not None:
        raise UnsupportedError("peephole weights")


def _part(context: Context, value: Value, index: int) -> Value:
    """Takes one entry of the leading dimension."""
    if value.sizes[0] == 1:
        return context.reshape(value, (*static(value.sizes[1:], "a weight"),))
    taken = context.slice(value, 0, index, index + 1)
    return context.squeeze(taken, (0,))


def _state(context: Context, value: Value | None, index: int, x: Value, hidden: int) -> Value:
    if value is None:
        zeros = context.constant(np.zeros((1, hidden)), x.dtype)
        return context.expand(zeros, (context.dim(x, 1), hidden))
    return context.squeeze(context.slice(value, 0, index, index + 1), (0,))


def _direction(context: Context, node: Node, index: int, gates: int) -> _Direction:
    x, hidden = node[0], int(static(node[2].sizes, "the recurrent weight")[-1])
    w, r = _part(context, node[1], index), _part(context, node[2], index)
    time, width = static(x.sizes[:1], "the sequence")[0], context.dim(x, 2)
    rows = context.reshape(x, (-1, width))
    flat = context.emit("MatMul", rows, w, False, True, dtype=x.dtype, shape=(None, gates * hidden))
    bias = node.optional(3)
    recurrent_bias = None
    if bias is not None:
        both = _part(context, bias, index)
        flat = binary(context, "Add", flat, context.slice(both, 0, 0, gates * hidden))
        recurrent_bias = context.slice(both, 0, gates * hidden, 2 * gates * hidden)
    inputs = context.reshape(flat, (time, context.dim(x, 1), gates * hidden))
    start = _state(context, node.optional(5), index, x, hidden)
    cell = _state(context, node.optional(6), index, x, hidden) if node.op_type == "LSTM" else None
    return _Direction(inputs, r, recurrent_bias, start, cell)


def _unroll(context: Context, node: Node, gates: int, step: _Step) -> list[Value]:
    x = node[0]
    time = static(x.sizes[:1], "the sequence")[0]
    kind = str(node.attributes["direction"])
    count = 2 if kind == "bidirectional" else 1
    columns: list[list[Value]] = [[] for _ in range(time)]
    last: list[_State] = []
    for index in range(count):
        direction = _direction(context, node, index, gates)
        state: _State = (direction.hidden, direction.cell)
        backwards = kind == "reverse" or index == 1
        for t in reversed(range(time)) if backwards else range(time):
            taken = context.squeeze(context.slice(direction.inputs, 0, t, t + 1), (0,))
            state = step(taken, direction, state)
            columns[t].append(state[0])
        last.append(state)
    results = [_sequence(context, columns)] if node.wants(0) else [x]
    results.append(_stack(context, [hidden for hidden, _ in last]))
    results.append(_stack(context, [cell for _, cell in last if cell is not None] or [last[0][0]]))
    return results


def _sequence(context: Context, columns: list[list[Value]]) -> Value:
    """Joins the hidden states to [time, directions, batch, hidden]."""
    flat = [context.unsqueeze(item, (0,)) for column in columns for item in column]
    joined = context.concat(flat, 0)
    first = columns[0][0]
    sizes = (len(columns), len(columns[0]), *context.dims(first))
    return context.reshape(joined, sizes)


def _stack(context: Context, values: list[Value]) -> Value:
    return context.concat([context.unsqueeze(value, (0,)) for value in values], 0)


def _affine(context: Context, x: Value, weight: Value, bias: Value | None) -> Value:
    shape = (x.sizes[0], weight.sizes[0])
    product = context.emit("MatMul", x, weight, False, True, dtype=x.dtype, shape=shape)
    return product if bias is None else binary(context, "Add", product, bias)


def _apply(context: Context, name: str, x: Value) -> Value:
    return context.emit(name, x, dtype=x.dtype, shape=x.shape)


def _gates(context: Context, x: Value, count: int) -> tuple[Value, ...]:
    width = static(x.sizes[1:], "the gates")[0] // count
    results = [(x.dtype, (x.sizes[0], width))] * count
    return context.emit_many("Split", x, 1, count, results=results)


@operator("LSTM", since=(7, 14, 22))
def lstm(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__LSTM.html: gates in the order i, o, f, c."""
    _check(node, "Sigmoid", "Tanh", "Tanh")

    def step(taken: Value, direction: _Direction, state: _State) -> _State:
        hidden, cell = state
        assert cell is not None  # noqa: S101 - narrows the type
        mixed = _affine(context, hidden, direction.recurrent, direction.bias)
        i, o, f, c = _gates(context, binary(context, "Add", taken, mixed), 4)
        i, o, f = (_apply(context, "Sigmoid", gate) for gate in (i, o, f))
        fresh = binary(context, "Mul", i, tanh(context, c))
        cell = binary(context, "Add", binary(context, "Mul", f, cell), fresh)
        return binary(context, "Mul", o, tanh(context, cell)), cell

    return _unroll(context, node, 4, step)


@operator("GRU", since=(7, 14, 22))
def gru(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__GRU.html: gates in the order z, r, h."""
    _check(node, "Sigmoid", "Tanh")
    reset_after = bool(node.attributes["linear_before_reset"])

    def step(taken: Value, direction: _Direction, state: _State) -> _State:
        hidden = state[0]
        xz, xr, xh = _gates(context, taken, 3)
        size = static(hidden.sizes[1:], "the hidden state")[0]
        if reset_after:
            hz, hr, hh = _gates(
                context, _affine(context, hidden, direction.recurrent, direction.bias), 3
            )
            r = _apply(context, "Sigmoid", binary(context, "Add", xr, hr))
            inner = binary(context, "Mul", r, hh)
        else:
            upper = context.slice(direction.recurrent, 0, 0, 2 * size)
            lower = context.slice(direction.recurrent, 0, 2 * size, 3 * size)
            bias = direction.bias
            first = None if bias is None else context.slice(bias, 0, 0, 2 * size)
            rest = None if bias is None else context.slice(bias, 0, 2 * size, 3 * size)
            hz, hr = _gates(context, _affine(context, hidden, upper, first), 2)
            r = _apply(context, "Sigmoid", binary(context, "Add", xr, hr))
            inner = _affine(context, binary(context, "Mul", r, hidden), lower, rest)
        z = _apply(context, "Sigmoid", binary(context, "Add", xz, hz))
        h = tanh(context, binary(context, "Add", xh, inner))
        kept = binary(context, "Mul", z, hidden)
        share = binary(context, "Sub", context.like(1, z), z)
        return binary(context, "Add", binary(context, "Mul", share, h), kept), None

    return _unroll(context, node, 3, step)[:2]


@operator("RNN", since=(7, 14, 22))
def rnn(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__RNN.html: tanh or relu."""
    kind = str((node.attributes.get("activations") or ["Tanh"])[0])
    if kind not in {"Tanh", "Relu"}:
        raise UnsupportedError(f"activation {kind}")
    _check(node, kind)

    def step(taken: Value, direction: _Direction, state: _State) -> _State:
        mixed = _affine(context, state[0], direction.recurrent, direction.bias)
        total = binary(context, "Add", taken, mixed)
        return tanh(context, total) if kind == "Tanh" else _apply(context, "ReLU", total), None

    return _unroll(context, node, 1, step)[:2]
