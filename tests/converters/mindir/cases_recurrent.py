"""Cases of recurrent layers."""

from typing import Any

import numpy as np
from tests.converters.mindir.case import Case, f, i32

TIME, BATCH, WIDTH, HIDDEN = 4, 2, 3, 5
SIZES = [{"t": 1, "n": 1}, {"t": 9, "n": 3}]


def cases() -> list[Case]:
    found = []
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for kind in ("forward", "reverse", "bidirectional"):
            found += _layer(op, gates, kind)
    bare = {1: f(1, 4 * HIDDEN, WIDTH), 2: f(1, 4 * HIDDEN, HIDDEN)}
    rectified = {"hidden_size": HIDDEN, "activations": ["Relu"]}
    relu = {1: f(1, HIDDEN, WIDTH), 2: f(1, HIDDEN, HIDDEN)}
    x = f(TIME, BATCH, WIDTH)
    found.append(Case("LSTM-bare", "LSTM", [x], bare, {"hidden_size": HIDDEN}, 3))
    found.append(Case("RNN-relu", "RNN", [x], relu, rectified, 2))
    # Too many steps to be written out.
    long = f(400, 2, WIDTH)
    found.append(Case("LSTM-long", "LSTM", [long[:, :1]], bare, {"hidden_size": HIDDEN}, 3))
    ends = [long, None, None, None, i32(390, 7)]
    found.append(Case("LSTM-long-ends", "LSTM", ends, bare, {"hidden_size": HIDDEN}, 3))
    return found + _rare()


def _rare() -> list[Case]:
    """What torch never asks for."""
    both, lengths = "bidirectional", i32(TIME, 1)
    gates = ["HardSigmoid", "ScaledTanh", "Sigmoid", "Softsign"]
    factors = {"activation_alpha": [0.4, 1.2], "activation_beta": [0.3, 0.7]}
    cells = {"activations": ["HardSigmoid", "Elu", "LeakyRelu"], "activation_alpha": [0.25, 0.8]}
    steps = {"activations": ["LeakyRelu", "Affine"], "activation_alpha": [0.3, 0.5]}
    return [
        _one("LSTM-ends", "LSTM", both, {}, lengths),
        _one("GRU-ends", "GRU", "reverse", {}, lengths),
        _one("RNN-ends", "RNN", "forward", {}, lengths),
        _one("LSTM-peepholes", "LSTM", both, {}, peepholes=True),
        _one("LSTM-coupled", "LSTM", "reverse", {"input_forget": 1}, peepholes=True),
        _one("LSTM-clip", "LSTM", "forward", {"clip": 0.3}),
        _one("GRU-clip", "GRU", both, {"clip": 0.3, "linear_before_reset": 1}),
        _one("RNN-clip", "RNN", "reverse", {"clip": 0.3}),
        _one("GRU-functions", "GRU", both, {"activations": gates, **factors}),
        _one("LSTM-functions", "LSTM", "forward", {**cells, "activation_beta": [0.4]}),
        _one("RNN-functions", "RNN", both, {**steps, "activation_beta": [0.1]}),
    ]


def _one(
    id: str,  # noqa: A002
    op: str,
    kind: str,
    attributes: dict[str, Any],
    lengths: np.ndarray | None = None,
    *,
    peepholes: bool = False,
) -> Case:
    count, gates = (2 if kind == "bidirectional" else 1), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    weights = {
        1: f(count, gates * HIDDEN, WIDTH),
        2: f(count, gates * HIDDEN, HIDDEN),
        3: f(count, 2 * gates * HIDDEN),
    }
    if peepholes:
        weights[7] = f(count, 3 * HIDDEN)
    inputs = [f(TIME, BATCH, WIDTH), None, None, None, lengths]
    given = {"hidden_size": HIDDEN, "direction": kind, **attributes}
    return Case(id, op, inputs, weights, given, 3 if op == "LSTM" else 2)


def _layer(op: str, gates: int, kind: str) -> list[Case]:
    count, outputs = (2 if kind == "bidirectional" else 1), (3 if op == "LSTM" else 2)
    weights = {
        1: f(count, gates * HIDDEN, WIDTH),
        2: f(count, gates * HIDDEN, HIDDEN),
        3: f(count, 2 * gates * HIDDEN),
    }
    attributes = {"hidden_size": HIDDEN, "direction": kind}
    x, dynamic = f(TIME, BATCH, WIDTH), {0: ("t", "n", WIDTH)}
    states: list[np.ndarray | None] = [None] * 4
    states += [f(count, BATCH, HIDDEN)] * (2 if op == "LSTM" else 1)
    found = [
        Case(f"{op}-{kind}", op, [x], weights, attributes, outputs, 17, dynamic, SIZES),
        Case(f"{op}-{kind}-state", op, [x, *states], weights, attributes, outputs),
    ]
    if op == "GRU":
        after = {**attributes, "linear_before_reset": 1}
        found.append(Case(f"{op}-{kind}-after", op, [x], weights, after, outputs))
    return found
