"""LSTM, GRU and RNN, written with the primitives of a single step.

MindSpore has no recurrent primitive that has both a CPU and an Ascend kernel (its ``LSTM`` is GPU
and CPU only), so a model checked here would not be the model that runs there. A short sequence of
fixed length is written out step by step; otherwise the steps become a loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.loops import Loop, Result, repeat
from ascend_migrate.converters.mindir.operators.activations import Activation, activations
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Value, static

_STEP_NODES = 12
"""ONNX operators that a step of an LSTM amounts to; decides how long a sequence is written out."""

_BATCHED = (0, 5, 6)
"""Inputs that layout=1 has with the batch in front: the sequence and the initial states."""


@dataclass(frozen=True, slots=True)
class _Direction:
    """The weights and the initial state of one direction.

    Attributes:
        inputs: gates of all time steps that come from the input: [time, batch, gates * hidden].
        recurrent: [gates * hidden, hidden].
        bias: of the recurrent part, [gates * hidden], or None.
        states: the initial hidden state, [batch, hidden], and for an LSTM the initial cell.
        functions: what is applied to the gates and the states.
        peepholes: what an LSTM's gates see of the cell, [3 * hidden], or None.
        lengths: of each sequence, [batch, 1], or None where all are as long as the input.
    """

    inputs: Value
    recurrent: Value
    bias: Value | None
    states: tuple[Value, ...]
    functions: tuple[Activation, ...]
    peepholes: Value | None
    lengths: Value | None


_Step = Callable[[Context, Value, _Direction, Sequence[Value]], tuple[Value, ...]]
"""From the gates of one time step and the states before it to the states after it."""


def _lengths(context: Context, node: Node) -> Value | None:
    """Returns the lengths of the sequences; None where all are known to be full."""
    lengths = node.optional(4)
    steps = node[0].sizes[0]
    if lengths is None or (lengths.constant is not None and (lengths.constant == steps).all()):
        return None
    return context.unsqueeze(context.cast(lengths, "int64"), (1,))


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
    context: Context,
    node: Node,
    index: int,
    functions: tuple[Activation, ...],
    lengths: Value | None,
) -> _Direction:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[node.op_type]
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
    peepholes = node.optional(7)  # GRU and RNN have fewer inputs
    peepholes = None if peepholes is None else _part(context, peepholes, index)
    return _Direction(inputs, r, recurrent_bias, states, functions, peepholes, lengths)


def _reversed(context: Context, value: Value, lengths: Value | None) -> Value:
    """Turns round the time of each sequence, which ends where its length says."""
    if lengths is None:
        return context.emit("ReverseV2", value, (0,), dtype=value.dtype, shape=value.shape)
    until = context.reshape(lengths, (-1,))
    return context.emit(
        "ReverseSequence",
        value,
        until,
        seq_dim=0,
        batch_dim=1,
        dtype=value.dtype,
        shape=value.shape,
    )


def _run(context: Context, node: Node, step: _Step, *functions: str) -> list[Value]:
    """Returns the hidden states of all steps, the last hidden states and the last cells."""
    kind, batch_first = node.attributes["direction"], bool(node.attributes.get("layout"))
    if batch_first:
        inputs = [
            context.transpose(value, (1, 0, 2)) if value is not None and i in _BATCHED else value
            for i, value in enumerate(node.inputs)
        ]
        node = replace(node, inputs=tuple(inputs))
    lengths = _lengths(context, node)
    columns, ends = [], []
    for index, chosen in enumerate(activations(node, *functions)):
        backwards = kind == "reverse" or index == 1
        direction = _direction(context, node, index, chosen, lengths)
        if backwards:
            turned = _reversed(context, direction.inputs, lengths)
            direction = replace(direction, inputs=turned)
        column, last = _over_time(context, direction, step)
        column = _reversed(context, column, lengths) if backwards else column
        columns.append(context.unsqueeze(column, (1,)))
        ends.append([context.unsqueeze(state, (0,)) for state in last])
    joined = [context.concat(states, 0) for states in zip(*ends, strict=True)]
    whole = context.concat(columns, 1)
    if not batch_first:
        return [whole, *joined]
    joined = [context.transpose(state, (1, 0, 2)) for state in joined]
    return [context.transpose(whole, (2, 0, 1, 3)), *joined]


def _over_time(
    context: Context, direction: _Direction, step: _Step
) -> tuple[Value, Sequence[Value]]:
    """Returns the hidden states along the time, and the last states."""
    inputs, hidden = direction.inputs, direction.states[0]

    def trip(inner: Context, index: Value, going: Value, given: Sequence[Value]) -> Result:
        shape = inputs.sizes[1:]
        taken = inner.emit("Gather", inputs, index, 0, 0, dtype=inputs.dtype, shape=shape)
        states = step(inner, taken, direction, given)
        if direction.lengths is None:
            return going, list(states), [states[0]]
        inside = binary(inner, "Less", index, direction.lengths, "bool")
        kept = [select(inner, inside, *pair) for pair in zip(states, given, strict=True)]
        # What lies behind the end of a sequence is zero.
        return going, kept, [select(inner, inside, states[0], inner.like(0, states[0]))]

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


def _gates(context: Context, x: Value, count: int) -> tuple[Value, ...]:
    width = static(x.sizes[1:], "the gates")[0] // count
    results = [(x.dtype, (x.sizes[0], width))] * count
    return context.emit_many("Split", x, 1, count, results=results)


def _add(context: Context, a: Value, b: Value) -> Value:
    return binary(context, "Add", a, b)


def _mul(context: Context, a: Value, b: Value) -> Value:
    return binary(context, "Mul", a, b)


@operator("LSTM", since=(7, 14, 22))
def lstm(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__LSTM.html: gates in the order i, o, f, c."""
    coupled = bool(node.attributes["input_forget"])

    def step(
        inner: Context, taken: Value, direction: _Direction, states: Sequence[Value]
    ) -> tuple[Value, ...]:
        return _lstm_step(inner, taken, direction, states, coupled=coupled)

    return _run(context, node, step, "Sigmoid", "Tanh", "Tanh")


def _lstm_step(
    context: Context, taken: Value, direction: _Direction, states: Sequence[Value], *, coupled: bool
) -> tuple[Value, ...]:
    hidden, cell = states
    f_, g_, h_ = direction.functions
    mixed = _affine(context, hidden, direction.recurrent, direction.bias)
    i, o, f, c = _gates(context, _add(context, taken, mixed), 4)
    seen: list[Value] = []
    if direction.peepholes is not None:
        size = static(hidden.sizes[1:], "the hidden state")[0]
        peepholes = direction.peepholes
        seen = [context.slice(peepholes, 0, k * size, (k + 1) * size) for k in range(3)]
        i = _add(context, i, _mul(context, seen[0], cell))
        f = _add(context, f, _mul(context, seen[2], cell))
    i = f_(context, i)
    f = binary(context, "Sub", context.like(1, i), i) if coupled else f_(context, f)
    cell = _add(context, _mul(context, f, cell), _mul(context, i, g_(context, c)))
    if seen:
        o = _add(context, o, _mul(context, seen[1], cell))
    return _mul(context, f_(context, o), h_(context, cell)), cell


@operator("GRU", since=(7, 14, 22))
def gru(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__GRU.html: gates in the order z, r, h."""
    mix = _reset_after if node.attributes["linear_before_reset"] else _reset_before

    def step(
        inner: Context, taken: Value, direction: _Direction, states: Sequence[Value]
    ) -> tuple[Value, ...]:
        hidden = states[0]
        z, h = mix(inner, _gates(inner, taken, 3), direction, hidden)
        kept = _mul(inner, z, hidden)
        share = binary(inner, "Sub", inner.like(1, z), z)
        return (_add(inner, _mul(inner, share, direction.functions[1](inner, h)), kept),)

    return _run(context, node, step, "Sigmoid", "Tanh")


def _reset_after(
    context: Context, taken: Sequence[Value], direction: _Direction, hidden: Value
) -> tuple[Value, Value]:
    """Resets what the recurrent weights made of the hidden state (PyTorch)."""
    xz, xr, xh = taken
    mixed = _affine(context, hidden, direction.recurrent, direction.bias)
    hz, hr, hh = _gates(context, mixed, 3)
    z = direction.functions[0](context, _add(context, xz, hz))
    r = direction.functions[0](context, _add(context, xr, hr))
    return z, _add(context, xh, _mul(context, r, hh))


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
    z = direction.functions[0](context, _add(context, xz, hz))
    r = direction.functions[0](context, _add(context, xr, hr))
    reset = _mul(context, r, hidden)
    return z, _add(context, xh, _affine(context, reset, of(weights, 2, 3), rest))


@operator("RNN", since=(7, 14, 22))
def rnn(context: Context, node: Node) -> list[Value]:
    """https://onnx.ai/onnx/operators/onnx__RNN.html."""

    def step(
        inner: Context, taken: Value, direction: _Direction, states: Sequence[Value]
    ) -> tuple[Value, ...]:
        mixed = _affine(inner, states[0], direction.recurrent, direction.bias)
        return (direction.functions[0](inner, _add(inner, taken, mixed)),)

    return _run(context, node, step, "Tanh")
