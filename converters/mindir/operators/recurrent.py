"""LSTM, GRU and RNN, written with the primitives of a single step.

MindSpore has no recurrent primitive that has both a CPU and an Ascend kernel (its ``LSTM`` is GPU
and CPU only), so a model checked here would not be the model that runs there. A short sequence of
fixed length is written out step by step; otherwise the steps become a loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.loops import Loop, Result, repeat
from ascend_migrate.converters.mindir.operators.arithmetic import binary, tanh
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, static

_STEP_NODES = 12
"""ONNX operators that a step of an LSTM amounts to; decides how long a sequence is written out."""

_PEEPHOLE = 7
"""Input of LSTM's peephole weights; GRU and RNN have fewer inputs."""


@dataclass(frozen=True, slots=True)
class _Direction:
    """The weights and the initial state of one direction.

    Attributes:
        inputs: gates of all time steps that come from the input: [time, batch, gates * hidden].
        recurrent: [gates * hidden, hidden].
        bias: of the recurrent part, [gates * hidden], or None.
        states: the initial hidden state, [batch, hidden], and for an LSTM the initial cell.
    """

    inputs: Value
    recurrent: Value
    bias: Value | None
    states: tuple[Value, ...]


_Step = Callable[[Context, Value, _Direction, Sequence[Value]], tuple[Value, ...]]
"""From the gates of one time step and the states before it to the states after it."""


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


def _direction(
    context: Context, node: Node, index: int, gates: int, *, backwards: bool
) -> _Direction:
    x, hidden = node[0], int(static(node[2].sizes, "the recurrent weight")[-1])
    w, r = _part(context, node[1], index), _part(context, node[2], index)
    rows = context.reshape(x, (-1, context.dim(x, 2)))
    flat = context.emit("MatMul", rows, w, False, True, dtype=x.dtype, shape=(None, gates * hidden))
    bias = node.optional(3)
    recurrent_bias = None
    if bias is not None:
        both = _part(context, bias, index)
        flat = binary(context, "Add", flat, context.slice(both, 0, 0, gates * hidden))
        recurrent_bias = context.slice(both, 0, gates * hidden, 2 * gates * hidden)
    inputs = context.reshape(flat, (*context.dims(x)[:2], gates * hidden))
    given = [node.optional(5), node.optional(6)][: 2 if node.op_type == "LSTM" else 1]
    states = tuple(_state(context, value, index, x, hidden) for value in given)
    return _Direction(_reversed(context, inputs, backwards), r, recurrent_bias, states)


def _reversed(context: Context, value: Value, backwards: bool) -> Value:
    if not backwards:
        return value
    return context.emit("ReverseV2", value, (0,), dtype=value.dtype, shape=value.shape)


def _run(context: Context, node: Node, gates: int, step: _Step) -> list[Value]:
    """Returns the hidden states of all steps, the last hidden states and the last cells."""
    kind = node.attributes["direction"]
    columns, ends = [], []
    for index in range(2 if kind == "bidirectional" else 1):
        backwards = kind == "reverse" or index == 1
        direction = _direction(context, node, index, gates, backwards=backwards)
        column, last = _over_time(context, direction, step)
        columns.append(context.unsqueeze(_reversed(context, column, backwards), (1,)))
        ends.append([context.unsqueeze(state, (0,)) for state in last])
    joined = [context.concat(states, 0) for states in zip(*ends, strict=True)]
    return [context.concat(columns, 1), *joined]


def _over_time(
    context: Context, direction: _Direction, step: _Step
) -> tuple[Value, Sequence[Value]]:
    """Returns the hidden states along the time, and the last states."""
    inputs, hidden = direction.inputs, direction.states[0]

    def trip(inner: Context, index: Value, going: Value, given: Sequence[Value]) -> Result:
        shape = inputs.sizes[1:]
        taken = inner.emit("Gather", inputs, index, 0, 0, dtype=inputs.dtype, shape=shape)
        states = step(inner, taken, direction, given)
        return going, list(states), [states[0]]

    time = context.dim(inputs, 0)
    trips = Value("time", "int64", (), elements=(time,))
    if isinstance(time, int):
        trips = context.constant(time, "int64")
    always = context.constant(True, "bool")
    rows = ((hidden.dtype, hidden.shape),)
    loop = Loop(trip, _STEP_NODES, trips, always, direction.states, rows)
    last, (column,) = repeat(context, loop)
    return column, last


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
    return _run(context, node, 4, _lstm_step)


def _lstm_step(
    context: Context, taken: Value, direction: _Direction, states: Sequence[Value]
) -> tuple[Value, ...]:
    hidden, cell = states
    mixed = _affine(context, hidden, direction.recurrent, direction.bias)
    i, o, f, c = _gates(context, binary(context, "Add", taken, mixed), 4)
    i, o, f = (_apply(context, "Sigmoid", gate) for gate in (i, o, f))
    fresh = binary(context, "Mul", i, tanh(context, c))
    cell = binary(context, "Add", binary(context, "Mul", f, cell), fresh)
    return binary(context, "Mul", o, tanh(context, cell)), cell


@operator("GRU", since=(7, 14, 22))
def gru(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__GRU.html: gates in the order z, r, h."""
    _check(node, "Sigmoid", "Tanh")
    mix = _reset_after if node.attributes["linear_before_reset"] else _reset_before

    def step(
        inner: Context, taken: Value, direction: _Direction, states: Sequence[Value]
    ) -> tuple[Value, ...]:
        hidden = states[0]
        z, h = mix(inner, _gates(inner, taken, 3), direction, hidden)
        kept = binary(inner, "Mul", z, hidden)
        share = binary(inner, "Sub", inner.like(1, z), z)
        return (binary(inner, "Add", binary(inner, "Mul", share, tanh(inner, h)), kept),)

    return _run(context, node, 3, step)


def _reset_after(
    context: Context, taken: Sequence[Value], direction: _Direction, hidden: Value
) -> tuple[Value, Value]:
    """Resets what the recurrent weights made of the hidden state (PyTorch)."""
    xz, xr, xh = taken
    mixed = _affine(context, hidden, direction.recurrent, direction.bias)
    hz, hr, hh = _gates(context, mixed, 3)
    z = _apply(context, "Sigmoid", binary(context, "Add", xz, hz))
    r = _apply(context, "Sigmoid", binary(context, "Add", xr, hr))
    return z, binary(context, "Add", xh, binary(context, "Mul", r, hh))


def _reset_before(
    context: Context, taken: Sequence[Value], direction: _Direction, hidden: Value
) -> tuple[Value, Value]:
    """Resets the hidden state before the recurrent weights see it (Keras)."""
    xz, xr, xh = taken
    size = static(hidden.sizes[1:], "the hidden state")[0]
    weights, bias = direction.recurrent, direction.bias

    def of(value: Value, start: int, stop: int) -> Value:
        return context.slice(value, 0, start * size, stop * size)

    first, rest = (None, None) if bias is None else (of(bias, 0, 2), of(bias, 2, 3))
    hz, hr = _gates(context, _affine(context, hidden, of(weights, 0, 2), first), 2)
    z = _apply(context, "Sigmoid", binary(context, "Add", xz, hz))
    r = _apply(context, "Sigmoid", binary(context, "Add", xr, hr))
    reset = binary(context, "Mul", r, hidden)
    return z, binary(context, "Add", xh, _affine(context, reset, of(weights, 2, 3), rest))


@operator("RNN", since=(7, 14, 22))
def rnn(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__RNN.html: tanh or relu."""
    kind = str((node.attributes.get("activations") or ["Tanh"])[0])
    if kind not in {"Tanh", "Relu"}:
        raise UnsupportedError(f"activation {kind}")
    _check(node, kind)

    def step(
        inner: Context, taken: Value, direction: _Direction, states: Sequence[Value]
    ) -> tuple[Value, ...]:
        mixed = _affine(inner, states[0], direction.recurrent, direction.bias)
        total = binary(inner, "Add", taken, mixed)
        return (tanh(inner, total) if kind == "Tanh" else _apply(inner, "ReLU", total),)

    return _run(context, node, 1, step)
