"""Quantised operators and Fourier transforms, for which CANN has no parser."""

from typing import Any

import numpy as np
from onnx import TensorProto
from tests.cann.case import F32, I8, I32, I64, ROUNDING, U8, Case, floats
from tests.cann.graphs import one


def quantised_cases() -> list[Case]:
    x = {"x": [3, 8]}
    byte, signed = np.array(131, np.uint8), np.array(-7, np.int8)
    scale = np.array(0.017, F32)
    # 7 bits beside 8: onnxruntime saturates pairs of larger products where AVX2 is all it has.
    w = np.random.default_rng(1).integers(-64, 64, (8, 5)).astype(np.int8)
    long = np.random.default_rng(2).integers(0, 256, (2000, 3)).astype(np.uint8)
    kernel = np.random.default_rng(3).integers(-64, 64, (4, 3, 3, 3)).astype(np.int8)
    deep = np.random.default_rng(4).integers(0, 256, (2, 700, 1, 1)).astype(np.uint8)
    rows = floats(0.1, 0.02, 0.3, 0.04, 0.5)
    u8, i8 = {"x": U8}, {"x": I8}

    def case(name: str, op: str, inputs: Any, **more: Any) -> Case:
        return Case("unregistered", f"{op}, {name}", one(op, inputs, **more))

    conv = {
        "x": [1, 3, 6, 6],
        "xs": scale,
        "xz": byte,
        "w": kernel,
        "ws": floats(0.01, 0.02, 0.03, 0.04),
        "wz": np.zeros(4, np.int8),
        "ys": np.array(1.3, F32),
        "yz": byte,
        "b": np.array([5, -900, 70, 0], I32),
    }
    return [
        case("uint8", "QuantizeLinear", {**x, "s": scale, "z": byte}),
        case("int8", "QuantizeLinear", {**x, "s": scale, "z": signed}),
        case("no zero", "QuantizeLinear", {**x, "s": scale}),
        case(
            "by rows",
            "QuantizeLinear",
            {"x": [2, 5, 3], "s": rows, "z": np.zeros(5, np.int8)},
            axis=1,
        ),
        case("uint8", "DequantizeLinear", {**x, "s": scale, "z": byte}, kinds=u8),
        case("int32", "DequantizeLinear", {**x, "s": scale}, kinds={"x": TensorProto.INT32}),
        case(
            "by rows",
            "DequantizeLinear",
            {"x": [2, 5, 3], "s": rows, "z": np.arange(5, dtype=np.int8)},
            axis=1,
            kinds=i8,
        ),
        case("float", "DynamicQuantizeLinear", x, outputs=("y", "scale", "zero")),
        case("plain", "MatMulInteger", {**x, "w": w}, kinds=u8),
        case("zeros", "MatMulInteger", {**x, "w": w, "xz": byte, "wz": signed}, kinds=u8),
        case(
            "zeros by column",
            "MatMulInteger",
            {**x, "w": w, "xz": byte, "wz": np.arange(5, dtype=np.int8)},
            kinds=u8,
        ),
        case(
            "a long sum",
            "MatMulInteger",
            {"x": [2, 2000], "w": long, "xz": byte, "wz": byte},
            kinds=u8,
        ),
        case(
            "uint8",
            "QLinearMatMul",
            {
                **x,
                "xs": scale,
                "xz": byte,
                "w": w,
                "ws": scale,
                "wz": signed,
                "ys": np.array(0.4, F32),
                "yz": byte,
            },
            kinds=u8,
        ),
        case(
            "plain",
            "ConvInteger",
            {"x": [1, 3, 6, 6], "w": kernel.view(np.uint8)},
            kinds=u8,
            pads=[1, 1, 1, 1],
        ),
        case(
            "zeros",
            "ConvInteger",
            {
                "x": [1, 3, 6, 6],
                "w": kernel.view(np.uint8),
                "xz": byte,
                "wz": np.array(9, np.uint8),
            },
            kinds=u8,
            strides=[2, 2],
            pads=[1, 1, 0, 1],
        ),
        case("deep", "ConvInteger", {"x": [1, 700, 2, 2], "w": deep, "xz": byte}, kinds=u8),
        case("bias, channels", "QLinearConv", conv, kinds=u8, pads=[1, 1, 1, 1]),
    ]


def spectrum_cases() -> list[Case]:
    window = np.hanning(8).astype(F32)
    step, length = np.array(3, I64), np.array(8, I64)

    def case(op: str, name: str, inputs: Any, close: float = ROUNDING, **more: Any) -> Case:
        return Case("unregistered", f"{op}, {name}", one(op, inputs, **more), close)

    return [
        case("DFT", "real", {"x": [2, 12, 3, 1]}),
        case("DFT", "half", {"x": [2, 12, 1]}, onesided=1),
        case("DFT", "complex, back", {"x": [2, 3, 10, 2]}, axis=2, inverse=1),
        case("DFT", "longer", {"x": [2, 10, 1], "n": np.array(16, I64)}, onesided=1),
        case("DFT", "shorter", {"x": [2, 10, 2], "n": np.array(8, I64)}),
        case("STFT", "window", {"x": [2, 30, 1], "step": step, "w": window, "n": length}),
        case("STFT", "whole", {"x": [2, 30, 1], "step": step, "w": None, "n": length}, onesided=0),
        case("STFT", "any batch's two", {"x": [2, 30], "step": step, "w": window}),
        case("HannWindow", "12", {"n": np.array(12, I64)}, 0),
        case("HammingWindow", "symmetric", {"n": np.array(9, I64)}, 0, periodic=0),
        case("BlackmanWindow", "12", {"n": np.array(12, I64)}, 0),
        case(
            "MelWeightMatrix",
            "8",
            {
                "a": np.array(8, I64),
                "b": np.array(64, I64),
                "c": np.array(8000, I64),
                "d": np.array(0, F32),
                "e": np.array(4000, F32),
            },
            0,
        ),
    ]
