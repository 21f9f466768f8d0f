"""Cases of recurrent layers."""

import numpy as np
from tests.converters.mindir.case import Case, f

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
    found.append(Case("LSTM-long", "LSTM", [f(400, 1, WIDTH)], bare, {"hidden_size": HIDDEN}, 3))
    return found


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
