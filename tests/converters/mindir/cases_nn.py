"""Cases of matrix products, convolutions, normalisation and pooling."""

from typing import Any

import numpy as np
from tests.converters.mindir.case import Case, f, u

X1, X2, X3 = f(2, 4, 9), f(2, 4, 8, 9), f(1, 2, 5, 6, 7)
IMAGES: dict[str, Any] = {
    "dynamic": {0: ("n", 4, "h", "w")},
    "sizes": [{"n": 1, "h": 3, "w": 3}, {"n": 3, "h": 13, "w": 10}],
}
SIGNALS: dict[str, Any] = {
    "dynamic": {0: ("n", 4, "t")},
    "sizes": [{"n": 1, "t": 4}, {"n": 3, "t": 20}],
}


def cases() -> list[Case]:
    return [*_product(), *_conv(), *_transposed(), *_norm(), *_max_pool(), *_average()]


def _product() -> list[Case]:
    pair = [{"m": 1, "n": 1}, {"m": 5, "n": 5}, {"m": 2, "n": 1}]
    flipped = {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}
    both = {0: ("m", 3, 4), 1: ("n", 4, 5)}
    return [
        Case("MatMul", "MatMul", [f(3, 4), f(4, 5)]),
        Case("MatMul-3x2", "MatMul", [f(2, 3, 4), f(4, 5)], dynamic={0: ("n", "t", 4)}),
        Case(
            "MatMul-inner", "MatMul", [f(2, 3, 4), f(4, 5)], dynamic={0: (2, 3, "k"), 1: ("k", 5)}
        ),
        Case("MatMul-4d", "MatMul", [f(2, 3, 4, 5), f(2, 3, 5, 6)]),
        Case("MatMul-broadcast", "MatMul", [f(2, 3, 4, 5), f(3, 5, 6)]),
        Case("MatMul-one", "MatMul", [f(1, 3, 4), f(2, 4, 5)], dynamic={1: ("n", 4, 5)}),
        Case("MatMul-2x3", "MatMul", [f(3, 4), f(2, 4, 5)], dynamic={1: ("n", 4, 5)}),
        Case("MatMul-two", "MatMul", [f(1, 3, 4), f(2, 4, 5)], {}, {}, 1, 17, both, pair),
        Case("MatMul-vectors", "MatMul", [f(4), f(4)]),
        Case("MatMul-vector-left", "MatMul", [f(4), f(2, 4, 5)]),
        Case("MatMul-vector-right", "MatMul", [f(2, 3, 4), f(4)]),
        Case("Gemm", "Gemm", [f(3, 4), f(4, 5), f(5)], dynamic={0: ("n", 4)}),
        Case("Gemm-bare", "Gemm", [f(3, 4), f(4, 5)]),
        Case("Gemm-scaled", "Gemm", [f(4, 3), f(5, 4), f(1, 5)], {}, flipped),
    ]


def _conv() -> list[Case]:
    weight, signal = {1: f(6, 4, 3, 2), 2: f(6)}, {1: f(6, 4, 3), 2: f(6)}
    uneven = {"pads": [1, 0, 2, 1], "strides": [2, 1]}
    halved = {"strides": [2, 2]}
    dilated = {"pads": [2, 1], "dilations": [2], "strides": [2]}
    return [
        Case("Conv-1d", "Conv", [X1], signal, dilated),
        Case("Conv-1d-dynamic", "Conv", [X1], {1: f(6, 4, 3)}, **SIGNALS),
        Case("Conv-2d", "Conv", [X2], weight, uneven, **IMAGES),
        Case("Conv-group", "Conv", [X2], {1: f(6, 2, 3, 3)}, {"group": 2}),
        Case("Conv-depthwise", "Conv", [X2], {1: f(4, 1, 3, 3), 2: f(4)}, {"group": 4}),
        Case("Conv-dilated", "Conv", [X2], {1: f(6, 4, 3, 3)}, {"dilations": [2, 3]}),
        Case("Conv-same", "Conv", [X2], weight, {"auto_pad": "SAME_UPPER", **halved}),
        Case("Conv-same-lower", "Conv", [X2], weight, {"auto_pad": "SAME_LOWER", **halved}),
        Case("Conv-same-dynamic", "Conv", [X2], weight, {"auto_pad": "SAME_UPPER"}, **IMAGES),
        Case("Conv-valid", "Conv", [X2], weight, {"auto_pad": "VALID"}),
        Case("Conv-3d", "Conv", [X3], {1: f(3, 2, 2, 3, 2), 2: f(3)}, {"pads": [1, 0, 1, 0, 1, 1]}),
    ]


def _transposed() -> list[Case]:
    op, weight, twice = "ConvTranspose", {1: f(4, 3, 2, 2), 2: f(3)}, {"strides": [2, 2]}
    square, pads = {1: f(4, 3, 3, 3)}, {"strides": [2, 3], "pads": [1, 1, 0, 1]}
    return [
        Case(op, op, [X2], weight, twice),
        Case(f"{op}-dynamic", op, [X2], weight, twice, **IMAGES),
        Case(f"{op}-pads", op, [X2], square, {**pads, "output_padding": [1, 2]}),
        Case(f"{op}-pads-dynamic", op, [X2], square, {**pads, "output_padding": [1, 2]}, **IMAGES),
        Case(f"{op}-dilated", op, [X2], square, {"dilations": [2, 1]}),
        Case(f"{op}-group", op, [X2], square, {"group": 2, **twice}),
        Case(f"{op}-same", op, [X2], square, {"auto_pad": "SAME_UPPER", **twice}),
        Case(f"{op}-shape", op, [X2], square, {"output_shape": [15, 18], **twice}),
        Case(f"{op}-larger", op, [X2], square, {"output_shape": [18, 20], **twice}),
        Case(
            f"{op}-1d",
            op,
            [X1],
            {1: f(4, 3, 4), 2: f(3)},
            {"strides": [2], "pads": [1, 1]},
            **SIGNALS,
        ),
    ]


def _norm() -> list[Case]:
    batch = {1: u(4), 2: f(4), 3: f(4), 4: u(4)}
    zero = f(2, 4, 9)
    zero[1] = 0
    last = {1: f(9), 2: f(9)}
    return [
        Case("BatchNormalization", "BatchNormalization", [X2], batch, **IMAGES),
        Case(
            "BatchNormalization-1d", "BatchNormalization", [X1], batch, {"epsilon": 0.1}, **SIGNALS
        ),
        Case("BatchNormalization-0d", "BatchNormalization", [f(5, 4)], batch),
        Case("BatchNormalization-3d", "BatchNormalization", [f(2, 4, 3, 2, 3)], batch),
        Case("InstanceNormalization", "InstanceNormalization", [X2], {1: f(4), 2: f(4)}, **IMAGES),
        Case("InstanceNormalization-1d", "InstanceNormalization", [X1], {1: f(4), 2: f(4)}),
        Case("LayerNormalization", "LayerNormalization", [X1], last, dynamic={0: ("n", "t", 9)}),
        Case(
            "LayerNormalization-two",
            "LayerNormalization",
            [X1],
            {1: f(4, 9), 2: f(4, 9)},
            {"axis": 1, "epsilon": 0.01},
        ),
        Case("LayerNormalization-bare", "LayerNormalization", [X1], {1: f(9)}),
        Case(
            "LayerNormalization-broadcast",
            "LayerNormalization",
            [X1],
            {1: f(1, 9), 2: f(4, 1)},
            {"axis": 1},
        ),
        Case("LpNormalization", "LpNormalization", [X1]),
        Case("LpNormalization-1", "LpNormalization", [X1], attributes={"p": 1, "axis": 1}),
        Case("LpNormalization-zero", "LpNormalization", [zero], opset=22),
        Case(
            "GroupNormalization",
            "GroupNormalization",
            [f(2, 4, 5)],
            {1: f(4), 2: f(4)},
            {"num_groups": 2},
            opset=21,
        ),
        Case("MeanVarianceNormalization", "MeanVarianceNormalization", [X2]),
        Case("Softmax", "Softmax", [f(2, 3, 4, 5)], dynamic={0: ("n", 3, 4, "t")}),
        Case("Softmax-1", "Softmax", [X2], attributes={"axis": 1}),
        Case("Softmax-masked", "Softmax", [np.array([[0, -np.inf, 1], [-1e9, 2, 3]], np.float32)]),
        Case("Softmax-11", "Softmax", [X2], opset=11),
        Case("Softmax-11-dynamic", "Softmax", [f(2, 3, 4)], opset=11, dynamic={0: ("n", 3, "t")}),
        Case("LogSoftmax-11", "LogSoftmax", [X2], attributes={"axis": -2}, opset=11),
        Case("Hardmax-11", "Hardmax", [X2], opset=11),
        Case("LogSoftmax", "LogSoftmax", [f(2, 3, 4, 5)]),
        Case("LogSoftmax-2", "LogSoftmax", [X2], attributes={"axis": -2}),
        Case("Dropout", "Dropout", [X1]),
        Case("Dropout-mask", "Dropout", [X1], outputs=2, dynamic={0: ("n", 4, "t")}),
    ]


def _max_pool() -> list[Case]:
    op, pool = "MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2]}
    around = {**pool, "pads": [1, 0, 1, 1]}
    # All below 0, so that padding with 0 would win.
    low = X2 - 9
    return [
        Case("GlobalMaxPool", "GlobalMaxPool", [f(2, 3, 4, 5)], dynamic={0: ("n", 3, "h", "w")}),
        Case(op, op, [X2], {}, pool, **IMAGES),
        Case(f"{op}-pads", op, [low], {}, around),
        Case(f"{op}-pads-dynamic", op, [low], {}, around, **IMAGES),
        Case(f"{op}-ceil", op, [low], {}, {**pool, "ceil_mode": 1}),
        Case(f"{op}-ceil-pads", op, [low], {}, {**around, "ceil_mode": 1}),
        # The last window would begin in the padding, and is left out.
        Case(
            f"{op}-ceil-out",
            op,
            [f(1, 1, 5, 5) - 9],
            {},
            {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        ),
        Case(f"{op}-same", op, [low], {}, {**pool, "auto_pad": "SAME_UPPER"}),
        Case(f"{op}-1d", op, [X1], {}, {"kernel_shape": [2], "strides": [2]}, **SIGNALS),
        Case(f"{op}-3d", op, [X3], {}, {"kernel_shape": [2, 2, 2]}),
    ]


def _average() -> list[Case]:
    op, pool = "AveragePool", {"kernel_shape": [3, 2], "strides": [2, 2]}
    around = {**pool, "pads": [1, 0, 1, 1]}
    counted = {"count_include_pad": 1}
    return [
        Case(
            "GlobalAveragePool",
            "GlobalAveragePool",
            [f(2, 3, 4, 5)],
            dynamic={0: ("n", 3, "h", "w")},
        ),
        Case(op, op, [X2], {}, pool, **IMAGES),
        Case(f"{op}-pads", op, [X2], {}, around),
        Case(f"{op}-pads-dynamic", op, [X2], {}, around, **IMAGES),
        Case(f"{op}-counted", op, [X2], {}, {**around, **counted}),
        Case(f"{op}-ceil", op, [X2], {}, {**pool, "ceil_mode": 1}, opset=19),
        Case(f"{op}-ceil-pads", op, [X2], {}, {**around, "ceil_mode": 1}, opset=19),
        Case(f"{op}-ceil-counted", op, [X2], {}, {**around, **counted, "ceil_mode": 1}, opset=19),
        Case(f"{op}-1d", op, [X1], {}, {"kernel_shape": [3]}, **SIGNALS),
    ]
