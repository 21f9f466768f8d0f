"""Recurrent layers, written out step by step where CANN would compute another function.

CANN's GRU and LSTM have one form each and never read the attributes that ask for another one; RNN
has no parser at all. A step is a dozen nodes, so that the sequence must have a known length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.activations import Activation, activations
from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    dtype_of,
    given,
    replace,
    size_of,
)

_MOST_STEPS = 1024
"""Steps of a layer that are written out: 12 000 nodes, which ATC still compiles in minutes to an
hour; beyond that the graph is no longer a sensible one."""

_BATCHED = (0, 5, 6)
"""Inputs that layout=1 has with the batch in front: the sequence and the initial states."""

_DEFAULTS = {"GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "RNN": ("Tanh",)}
_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


@dataclass(frozen=True, slots=True)
class _Direction:
    """What one direction computes with.

    Attributes:
        make: where its nodes go.
        inputs: the gates' share of the input, [time, batch, gates * hidden].
        recurrent: [hidden, gates * hidden].
        bias: of the recurrent part, [gates * hidden], or None.
        peepholes: what an LSTM's gates see of the cell, [3 * hidden], or None.
        functions: of the gates, and of the states.
        hidden: the size of the state.
        one: the number, of the element type.
    """

    make: Builder
    inputs: ir.Value
    recurrent: ir.Value
    bias: ir.Value | None
    peepholes: ir.Value | None
    functions: tuple[Activation, ...]
    hidden: int
    one: ir.Value

    def affine(self, state: ir.Value) -> ir.Value:
        """The recurrent weights on a state [1, batch, hidden]."""
        product = self.make("MatMul", state, self.recurrent)
        return product if self.bias is None else self.make("Add", product, self.bias)

    def gates(self, value: ir.Value, start: int, stop: int) -> ir.Value:
        """Takes some gates of the last dimension."""
        return self.make.part(value, -1, start * self.hidden, stop * self.hidden)


_Step = Callable[[_Direction, ir.Value, Sequence[ir.Value]], tuple[ir.Value, ...]]
"""From the input's share [1, batch, gates * hidden] and the states before to those after."""


@surgery("gru-linear-before-reset", "GRU")
@surgery("gru-clip", "GRU")
def gru(node: ir.Node) -> bool:
    """Written out step by step, gates in the order z, r, h.

    https://onnx.ai/onnx/operators/onnx__GRU.html
    """
    after = node.attributes.get_int("linear_before_reset", 0)
    if not (after or "clip" in node.attributes or _has_functions(node)):
        return False
    _write_out(node, _gru_after if after else _gru_before)
    return True


@surgery("lstm-clip", "LSTM")
@surgery("lstm-input-forget", "LSTM")
def lstm(node: ir.Node) -> bool:
    """Written out step by step, gates in the order i, o, f, c.

    https://onnx.ai/onnx/operators/onnx__LSTM.html
    """
    coupled = bool(node.attributes.get_int("input_forget", 0))
    if not (coupled or "clip" in node.attributes or _has_functions(node)):
        return False

    def step(
        direction: _Direction, taken: ir.Value, states: Sequence[ir.Value]
    ) -> tuple[ir.Value, ...]:
        return _lstm(direction, taken, states, coupled=coupled)

    _write_out(node, step)
    return True


@surgery("unregistered", "RNN")
def rnn(node: ir.Node) -> bool:
    """Written out step by step (https://onnx.ai/onnx/operators/onnx__RNN.html)."""
    _write_out(node, _rnn)
    return True


@surgery("gru-activations", "GRU")
@surgery("lstm-activations", "LSTM")
def default_functions(node: ir.Node) -> bool:
    """Left out where they say no more than the default; others are written out step by step."""
    stated = [
        n for n in ("activations", "activation_alpha", "activation_beta") if n in node.attributes
    ]
    if _has_functions(node) or not stated:
        return False  # rewritten with its steps
    for name in stated:
        del node.attributes[name]
    return True


@surgery("gru-layout", "GRU")
@surgery("lstm-layout", "LSTM")
def layout(node: ir.Node) -> bool:
    """Transposes what has the batch in front."""
    if not node.attributes.get_int("layout", 0):
        return False
    make = Builder(node)
    inputs = [
        make("Transpose", value, perm=[1, 0, 2])
        if value is not None and place in _BATCHED
        else value
        for place, value in enumerate(node.inputs)
    ]
    kept = [a for name, a in node.attributes.items() if name != "layout"]
    found = make.several(
        node.op_type, *inputs, outputs=len(node.outputs), **{a.name: a for a in kept}
    )
    orders = [[2, 0, 1, 3], [1, 0, 2], [1, 0, 2]]
    used = [bool(value.name) for value in node.outputs]
    turned = [
        make("Transpose", value, perm=order) if there else None
        for value, order, there in zip(found, orders, used, strict=False)
    ]
    for value, there in zip(found, used, strict=True):
        value.name = value.name if there else ""
    replace(node, *turned)
    return True


def _has_functions(node: ir.Node) -> bool:
    """Whether a node names other functions than its operator's own."""
    names = node.attributes.get("activations")
    if names is None:
        return False
    found = [name.lower() for name in names.as_strings()]
    own = [name.lower() for name in _DEFAULTS[node.op_type]]
    return found not in (own, own * 2)


def _write_out(node: ir.Node, step: _Step) -> None:
    """Puts the steps of every direction in the place of a recurrent layer."""
    if node.attributes.get_int("layout", 0):
        layout(node)  # its steps are written in the next round
        return
    steps = size_of(node.inputs[0], 0)
    kind = node.attributes.get_string("direction", "forward")
    chosen = activations(node, _DEFAULTS[node.op_type])
    if not 0 < steps * len(chosen) <= _MOST_STEPS:
        raise NoExactRuleError(
            f"a sequence of {steps} steps; up to {_MOST_STEPS // len(chosen)} are written out"
        )
    make = Builder(node)
    inside = _inside(make, node, steps)
    columns, ends = [], []
    for index, functions in enumerate(chosen):
        direction = _direction(make, node, index, functions)
        order = range(steps)[:: -1 if kind == "reverse" or index else 1]
        outputs, states = _over_time(
            direction, step, order, _initial(direction, node, index), inside
        )
        columns.append(make("Unsqueeze", make("Concat", *outputs, axis=0), make.ints(1)))
        ends.append(states)
    results = [_joined(make, columns, 1)]
    results += [_joined(make, list(states), 0) for states in zip(*ends, strict=True)]
    replace(node, *(v if old.name else None for v, old in zip(results, node.outputs, strict=False)))


def _joined(make: Builder, values: Sequence[ir.Value], axis: int) -> ir.Value:
    return values[0] if len(values) == 1 else make("Concat", *values, axis=axis)


def _inside(make: Builder, node: ir.Node, steps: int) -> list[ir.Value] | None:
    """Returns for each step which sequences have not ended, [1, batch, 1]; None if none ends."""
    lengths = given(node, 4)
    if lengths is None:
        return None
    known = ir.convenience.get_const_tensor(lengths)
    if known is not None and bool((known.numpy() == steps).all()):
        return None
    column = make("Unsqueeze", lengths, make.ints(0, 2))
    numbers = [make.constant(np.array(step, dtype=np.int32)) for step in range(steps)]
    return [make("Less", number, column) for number in numbers]


def _initial(direction: _Direction, node: ir.Node, index: int) -> list[ir.Value]:
    """Returns the states before the first step, [1, batch or 1, hidden]."""
    make, places = direction.make, (5, 6) if node.op_type == "LSTM" else (5,)
    zeros = np.zeros((1, 1, direction.hidden), dtype=dtype_of(node.inputs[0]).numpy())
    found = []
    for place in places:
        value = given(node, place)
        found.append(
            make.constant(zeros) if value is None else make.part(value, 0, index, index + 1)
        )
    return found


def _direction(
    make: Builder, node: ir.Node, index: int, functions: tuple[Activation, ...]
) -> _Direction:
    x, hidden = node.inputs[0], size_of(node.inputs[2], -1)
    width = _GATES[node.op_type] * hidden

    def own(place: int) -> ir.Value | None:
        value = given(node, place)
        number = make.constant(np.array(index, dtype=np.int64))
        return None if value is None else make("Gather", value, number, axis=0)

    w, r, bias = (own(place) for place in (1, 2, 3))
    inputs = make("MatMul", x, make("Transpose", w, perm=[1, 0]))
    if bias is not None:
        inputs = make("Add", inputs, make.part(bias, 0, 0, width))
    return _Direction(
        make=make,
        inputs=inputs,
        recurrent=make("Transpose", r, perm=[1, 0]),
        bias=None if bias is None else make.part(bias, 0, width, 2 * width),
        peepholes=own(7),
        functions=functions,
        hidden=hidden,
        one=make.like(1, x),
    )


def _over_time(
    direction: _Direction,
    step: _Step,
    order: Sequence[int],
    states: Sequence[ir.Value],
    inside: Sequence[ir.Value] | None,
) -> tuple[list[ir.Value], Sequence[ir.Value]]:
    """Returns the hidden states by time, and the last states."""
    make = direction.make
    outputs: dict[int, ir.Value] = {}
    for time in order:
        found = step(direction, make.part(direction.inputs, 0, time, time + 1), states)
        outputs[time] = found[0]
        if inside is not None:  # what lies behind the end of a sequence is zero
            zero = make.like(0, direction.one)
            outputs[time] = make("Where", inside[time], found[0], zero)
            pairs = zip(found, states, strict=True)
            found = tuple(make("Where", inside[time], new, old) for new, old in pairs)
        states = found
    return [outputs[time] for time in sorted(outputs)], states


def _mixed(direction: _Direction, z: ir.Value, h: ir.Value, state: ir.Value) -> ir.Value:
    make = direction.make
    share = make("Mul", make("Sub", direction.one, z), direction.functions[1](make, h))
    return make("Add", share, make("Mul", z, state))


def _gru_after(
    direction: _Direction, taken: ir.Value, states: Sequence[ir.Value]
) -> tuple[ir.Value, ...]:
    """Resets what the recurrent weights made of the state, as torch does."""
    make, gates = direction.make, direction.gates
    seen = direction.affine(states[0])
    zr = direction.functions[0](make, make("Add", gates(taken, 0, 2), gates(seen, 0, 2)))
    reset = make("Mul", gates(zr, 1, 2), gates(seen, 2, 3))
    return (_mixed(direction, gates(zr, 0, 1), make("Add", gates(taken, 2, 3), reset), states[0]),)


def _gru_before(
    direction: _Direction, taken: ir.Value, states: Sequence[ir.Value]
) -> tuple[ir.Value, ...]:
    """Resets the state before the recurrent weights see it."""
    make, gates = direction.make, direction.gates
    seen = make("MatMul", states[0], gates(direction.recurrent, 0, 2))
    if direction.bias is not None:
        seen = make("Add", seen, gates(direction.bias, 0, 2))
    zr = direction.functions[0](make, make("Add", gates(taken, 0, 2), seen))
    reset = make("Mul", gates(zr, 1, 2), states[0])
    hidden = make("MatMul", reset, gates(direction.recurrent, 2, 3))
    if direction.bias is not None:
        hidden = make("Add", hidden, gates(direction.bias, 2, 3))
    return (_mixed(direction, gates(zr, 0, 1), make("Add", gates(taken, 2, 3), hidden), states[0]),)


def _lstm(
    direction: _Direction, taken: ir.Value, states: Sequence[ir.Value], *, coupled: bool
) -> tuple[ir.Value, ...]:
    make, (f_, g_, h_) = direction.make, direction.functions
    hidden, cell = states
    whole = make("Add", taken, direction.affine(hidden))
    i, o, f, c = (direction.gates(whole, k, k + 1) for k in range(4))
    seen: list[ir.Value] = []
    if direction.peepholes is not None:
        seen = [direction.gates(direction.peepholes, k, k + 1) for k in range(3)]
        i = make("Add", i, make("Mul", seen[0], cell))
        f = make("Add", f, make("Mul", seen[2], cell))
    i = f_(make, i)
    f = make("Sub", direction.one, i) if coupled else f_(make, f)
    cell = make("Add", make("Mul", f, cell), make("Mul", i, g_(make, c)))
    if seen:
        o = make("Add", o, make("Mul", seen[1], cell))
    return make("Mul", f_(make, o), h_(make, cell)), cell


def _rnn(
    direction: _Direction, taken: ir.Value, states: Sequence[ir.Value]
) -> tuple[ir.Value, ...]:
    seen = direction.affine(states[0])
    return (direction.functions[0](direction.make, direction.make("Add", taken, seen)),)
