"""Cases of integers that stand for real numbers."""

from typing import Any

import numpy as np
from tests.converters.mindir.case import RNG, Case, f, u


def cases() -> list[Case]:
    return [*_linear(), *_products()]


def _bytes(dtype: str, *shape: int) -> np.ndarray:
    bounds = np.iinfo(dtype)
    return RNG.integers(bounds.min, bounds.max, shape, endpoint=True).astype(dtype)


def _number(value: float, dtype: str = "float32") -> np.ndarray:
    return np.array(value, dtype)


def _linear() -> list[Case]:
    found = []
    x = np.concatenate([f(4, 6) * 9, np.array([[0.5, 1.5, -0.5, 2.5, 999, -999]])])
    x = x.astype(np.float32)
    for dtype in ("int8", "uint8", "int16", "uint16"):
        zero = _number(3, dtype)
        opset = 21 if dtype.endswith("16") else 17
        inputs = [x, _number(0.5), zero]
        found.append(Case(f"QuantizeLinear-{dtype}", "QuantizeLinear", inputs, opset=opset))
        inputs = [_bytes(dtype, 4, 6), _number(0.3), zero]
        found.append(Case(f"DequantizeLinear-{dtype}", "DequantizeLinear", inputs, opset=opset))
    lines: dict[int, np.ndarray] = {1: u(6), 2: _bytes("int8", 6)}
    blocks: dict[int, np.ndarray] = {1: u(5, 3), 2: _bytes("int8", 5, 3)}
    blocked = {"axis": 1, "block_size": 2}
    data = _bytes("int8", 5, 6)
    return [
        *found,
        Case("QuantizeLinear-bare", "QuantizeLinear", [x], {1: _number(0.5)}),
        Case("QuantizeLinear-axis", "QuantizeLinear", [x], lines),
        Case("QuantizeLinear-blocked", "QuantizeLinear", [x], blocks, blocked, opset=21),
        Case("DequantizeLinear-axis", "DequantizeLinear", [data], lines, {"axis": -1}),
        Case("DequantizeLinear-blocked", "DequantizeLinear", [data], blocks, blocked, opset=21),
        Case("DynamicQuantizeLinear", "DynamicQuantizeLinear", [f(3, 4)], outputs=3),
    ]


def _products() -> list[Case]:
    # Of seven bits: without VNNI, onnxruntime saturates sums of two full products at 16.
    a, b = _bytes("uint8", 3, 40), _bytes("int8", 40, 5) // 2
    long = [_bytes("uint8", 2, 700), _bytes("uint8", 700, 3)]
    x, w = _bytes("uint8", 1, 3, 7, 8), _bytes("int8", 4, 3, 3, 3) // 2
    wide = [_bytes("uint8", 1, 40, 5, 5), _bytes("uint8", 2, 40, 3, 3)]
    pads: dict[str, Any] = {"pads": [1, 0, 1, 1], "strides": [2, 1]}
    low, zero, none = _number(7, "uint8"), _number(-5, "int8"), _number(0, "int8")
    scales = _number(0.02), _number(0.03), _number(0.9)
    channels = {3: w, 4: u(4), 5: np.zeros(4, np.int8), 8: _bytes("int16", 4).astype(np.int32)}
    inputs = [x, scales[0], low, None, None, None, scales[2], _number(100, "uint8")]
    return [
        Case("MatMulInteger", "MatMulInteger", [a, b, low, zero]),
        Case("MatMulInteger-bare", "MatMulInteger", [a, b]),
        Case("MatMulInteger-long", "MatMulInteger", [*long, low]),
        Case("ConvInteger", "ConvInteger", [x, w, low], attributes=pads),
        Case("ConvInteger-wide", "ConvInteger", [*wide, low]),
        Case(
            "QLinearMatMul",
            "QLinearMatMul",
            [a, scales[0], low, b, scales[1], zero, _number(3.0), _number(9, "uint8")],
        ),
        Case("QLinearConv", "QLinearConv", inputs, channels, pads),
        Case(
            "QLinearConv-scalar",
            "QLinearConv",
            [x, scales[0], low, w, scales[1], none, scales[2], _number(3, "uint8")],
        ),
    ]
