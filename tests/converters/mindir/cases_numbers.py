"""Cases of bits, generators, extremes, spectra and sums of products."""

from typing import Any

import numpy as np
from onnx import TensorProto
from tests.converters.mindir.case import Case, f, i64, u

_LATEST = 28


def cases() -> list[Case]:
    return [*_bits(), *_made(), *_extremes(), *_spectra(), *_linear()]


def _new(id: str, op: str, inputs: list[Any], **rest: Any) -> Case:  # noqa: A002
    return Case(id, op, inputs, **{"opset": _LATEST, **rest})


def _bits() -> list[Case]:
    found = []
    for direction in ("LEFT", "RIGHT"):
        attributes = {"direction": direction}
        for dtype in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"):
            x = np.array([1, 100, 5, 77, 3], dtype)
            amounts = np.array([1, 3, 0, 64, 8], dtype)
            if dtype.startswith("int"):
                x, amounts = -x, np.array([1, 3, 0, 64, -1], dtype)
            name = f"BitShift-{direction}-{dtype}"
            found.append(_new(name, "BitShift", [x, amounts], attributes=attributes))
    signed, unsigned = np.array([-1, 5, -128], np.int8), np.array([1, 255], np.uint16)
    return [
        *found,
        _new("BitwiseNot", "BitwiseNot", [signed]),
        _new("BitwiseNot-uint16", "BitwiseNot", [unsigned]),
        _new("BitCast", "BitCast", [signed], attributes={"to": TensorProto.UINT8}),
        _new("BitCast-16", "BitCast", [unsigned], attributes={"to": TensorProto.INT16}),
    ]


def _made() -> list[Case]:
    x, dyn = f(3, 4), {0: ("n", "m")}
    halves = [np.float32(v) for v in (0.5, 3.1, 0.4)]
    down = [np.int32(v) for v in (9, -2, -3)]
    none = [np.float32(v) for v in (1, 1, 1)]
    return [
        *(Case(f"EyeLike{k}", "EyeLike", [x], attributes={"k": k}) for k in (-1, 0, 2)),
        Case("EyeLike-dynamic", "EyeLike", [x], attributes={"k": 1}, dynamic=dyn),
        Case("EyeLike-int", "EyeLike", [x], attributes={"dtype": TensorProto.INT32}),
        Case("Range-float", "Range", [np.array(v) for v in halves]),
        Case("Range-int32-down", "Range", [np.array(v) for v in down]),
        Case("Range-none", "Range", [np.array(v) for v in none]),
        Case("HannWindow", "HannWindow", [np.array(10)]),
        _new("CumProd", "CumProd", [x, np.array(-1)]),
        _new(
            "CumProd-both",
            "CumProd",
            [x],
            constants={1: np.array(0)},
            attributes={"exclusive": 1, "reverse": 1},
        ),
        Case("CumSum-runtime", "CumSum", [x, np.array(1)]),
    ]


def _extremes() -> list[Case]:
    x = np.array([[1, 3, 3, 0], [2, 2, 2, 2]], np.float32)
    dyn = {0: ("n", "m")}
    found = []
    for op in ("ArgMax", "ArgMin"):
        for axis in (0, -1):
            attributes = {"axis": axis, "select_last_index": 1}
            found.append(Case(f"{op}-last{axis}", op, [x], attributes=attributes, dynamic=dyn))
    return [
        *found,
        Case("ArgMax-int", "ArgMax", [i64(3, 9, 9)], attributes={"keepdims": 0}),
        Case("Hardmax", "Hardmax", [x], dynamic=dyn),
        Case("Hardmax-0", "Hardmax", [x], attributes={"axis": 0}),
    ]


def _spectra() -> list[Case]:
    real, pairs, length = f(2, 12, 1), f(2, 7, 2), np.array(9)
    near = 1e-4
    window = u(6)
    edges = [np.array(hertz, np.float32) for hertz in (20, 4000)]
    mel = [np.array(8), np.array(64), np.array(8192), *edges]
    return [
        Case("DFT", "DFT", [real], attributes={"axis": 1}, rtol=near),
        Case("DFT-half", "DFT", [real], attributes={"axis": 1, "onesided": 1}, rtol=near),
        Case("DFT-complex", "DFT", [pairs], {1: length}, {"axis": 1}, rtol=near),
        Case("DFT-inverse", "DFT", [pairs], attributes={"axis": 1, "inverse": 1}, rtol=near),
        _new("DFT-20", "DFT", [real, None, np.array(-2)], rtol=near),
        Case("STFT", "STFT", [real, np.array(3), window], rtol=near),
        Case("STFT-length", "STFT", [real], {1: np.array(4), 3: np.array(5)}, rtol=near),
        Case("MelWeightMatrix", "MelWeightMatrix", mel, rtol=1e-6),
        Case(
            "STFT-whole", "STFT", [real, np.array(3), window], attributes={"onesided": 0}, rtol=near
        ),
    ]


def _linear() -> list[Case]:
    equations = {
        "ij,jk->ik": [f(3, 4), f(4, 5)],
        "bij,bjk": [f(2, 3, 4), f(2, 4, 5)],
        "...ij,...jk->...ik": [f(2, 1, 3, 4), f(3, 4, 5)],
        "ii->i": [f(4, 4)],
        "bii->b": [f(2, 4, 4)],
        "ij->ji": [f(3, 4)],
        "ij->": [f(3, 4)],
        "i,j,k->kji": [f(2), f(3), f(4)],
        "bhid,bhjd->bhij": [f(2, 3, 4, 5), f(2, 3, 6, 5)],
        "ab,ac,ad->bcd": [f(2, 3), f(2, 4), f(2, 5)],
        "ijk,ik->j": [f(2, 3, 4), f(2, 4)],
    }
    found = [
        Case(f"Einsum-{index}", "Einsum", inputs, attributes={"equation": equation}, rtol=1e-4)
        for index, (equation, inputs) in enumerate(equations.items())
    ]
    deformed = [f(2, 4, 6, 7), None, f(2, 16, 5, 6), None, u(2, 8, 5, 6)]
    return [
        *found,
        Case("Det", "Det", [f(2, 3, 3)], rtol=1e-4),
        Case(
            "DeformConv",
            "DeformConv",
            deformed,
            {1: f(6, 2, 2, 2), 3: f(6)},
            {"group": 2, "offset_group": 2},
            opset=19,
            rtol=1e-4,
        ),
    ]
