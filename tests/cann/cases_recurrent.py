"""Recurrent layers that CANN would compute as other ones."""

from typing import Any

import numpy as np
import onnx
from tests.cann.case import I32, ROUNDING, Case, weights
from tests.cann.graphs import one


def recurrent(
    op: str, having: str = "b", *, batch: int | str = 2, outputs: Any = None, **attributes: Any
) -> onnx.ModelProto:
    """A layer of 5 steps, from 3 to 4 numbers.

    ``having`` names optional inputs: b, lengths, state, peepholes.
    """
    has = having.split()
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    layout = attributes.get("layout", 0)
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1}[op]
    shape: list[int | str] = [batch, 5, 3] if layout else [5, batch, 3]
    states: list[int | str] = [batch, directions, 4] if layout else [directions, batch, 4]
    inputs: dict[str, Any] = {
        "x": shape,
        "w": weights(directions, gates * 4, 3),
        "r": weights(directions, gates * 4, 4, seed=4),
        "b": weights(directions, gates * 8, seed=5) if "b" in has else None,
        "lengths": np.array([5, 2], dtype=I32) if "lengths" in has else None,
        "h": states if "state" in has else None,
    }
    if op == "LSTM":
        inputs["c"] = states if "state" in has else None
        inputs["p"] = weights(directions, 12, seed=6) if "peepholes" in has else None
    names = outputs or ("y", "last", "cell")[: 3 if op == "LSTM" else 2]
    return one(op, inputs, outputs=names, hidden_size=4, **attributes)


def recurrent_cases() -> list[Case]:
    torch_like: dict[str, Any] = {"linear_before_reset": 1}
    both: dict[str, Any] = {"direction": "bidirectional"}
    lbr = "gru-linear-before-reset"
    return [
        Case(lbr, "forward", recurrent("GRU", **torch_like), ROUNDING),
        Case(lbr, "no bias", recurrent("GRU", "", **torch_like), ROUNDING),
        Case(lbr, "reverse", recurrent("GRU", direction="reverse", **torch_like), ROUNDING),
        Case(lbr, "both, state", recurrent("GRU", "b state", **both, **torch_like), ROUNDING),
        Case(lbr, "lengths", recurrent("GRU", "b lengths", **both, **torch_like), ROUNDING),
        Case(lbr, "any batch", recurrent("GRU", batch="n", **torch_like), ROUNDING, {"n": 3}),
        Case(lbr, "last only", recurrent("GRU", outputs=("", "last"), **torch_like), ROUNDING),
        Case("gru-clip", "0.3", recurrent("GRU", clip=0.3), ROUNDING),
        Case(
            "gru-activations",
            "others",
            recurrent("GRU", activations=["HardSigmoid", "Softsign"]),
            ROUNDING,
        ),
        Case(
            "gru-activations",
            "scaled",
            recurrent(
                "GRU",
                activations=["Sigmoid", "Affine"],
                activation_alpha=[0.5],
                activation_beta=[0.1],
                **torch_like,
            ),
            ROUNDING,
        ),
        Case("gru-activations", "its own", recurrent("GRU", activations=["Sigmoid", "Tanh"])),
        Case("lstm-clip", "0.3", recurrent("LSTM", clip=0.3), ROUNDING),
        Case("lstm-input-forget", "1", recurrent("LSTM", input_forget=1), ROUNDING),
        Case(
            "lstm-input-forget",
            "peepholes",
            recurrent("LSTM", "b state peepholes", input_forget=1),
            ROUNDING,
        ),
        Case(
            "lstm-activations",
            "others",
            recurrent("LSTM", activations=["HardSigmoid", "Relu", "Softsign"] * 2, **both),
            ROUNDING,
        ),
        Case(
            "lstm-activations",
            "its own",
            recurrent("LSTM", activations=["Sigmoid", "Tanh", "Tanh"]),
        ),
        Case("unregistered", "RNN", recurrent("RNN", "b lengths state", **both), ROUNDING),
        Case("unregistered", "RNN of relu", recurrent("RNN", activations=["Relu"]), ROUNDING),
    ]


LAYOUT = [
    Case("gru-layout", "1", recurrent("GRU", "b state", layout=1)),
    Case("lstm-layout", "1", recurrent("LSTM", layout=1, direction="bidirectional")),
]
"""onnxruntime has no kernel for layout=1: what it stands for is written by hand in its test."""
