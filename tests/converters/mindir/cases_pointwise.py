"""Cases of elementwise operators, logic, conversions and reductions."""

import numpy as np
from onnx import TensorProto
from tests.converters.mindir.case import Case, f, i32, i64, u

ANY = (
    "Abs Asinh Atan Ceil Cos Cosh Erf Exp Floor HardSwish Neg Relu Round Sigmoid Sign Sin Sinh "
    "Softplus Softsign Tan Tanh Identity LeakyRelu Elu Celu Selu HardSigmoid ThresholdedRelu "
    "Shrink IsNaN IsInf"
)
UNIT = "Acos Asin Atanh Log Reciprocal Sqrt"
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0, -1], np.float32)
PAIR: dict[int, tuple[int | str, ...]] = {0: ("n", 3, "t"), 1: ("n", 1, 1)}
TRUE, MIXED = np.array([True, True, False, False]), np.array([True, False, True, False])


def cases() -> list[Case]:
    return [*_unary(), *_binary(), *_integers(), *_logic(), *_conversion(), *_reduce()]


def _unary() -> list[Case]:
    found = [Case(op, op, [f(2, 3, 4, 5)]) for op in ANY.split()]
    found += [Case(op, op, [u(2, 3, 4)]) for op in UNIT.split()]
    # Far from 0, where kernels made of polynomials go astray.
    wide = np.linspace(-12, 12, 997, dtype=np.float32)
    # The kernel of Exp is right to 7e-6; those made with it, to less than that of 1.
    found += [Case(f"{op}-wide", op, [wide]) for op in ("Tanh", "Erf", "Sigmoid", "HardSwish")]
    found += [
        Case("Exp-wide", "Exp", [wide], rtol=1e-5),
        Case("Softplus-wide", "Softplus", [wide], rtol=1e-5),
        Case("Acosh", "Acosh", [u(2, 3, low=1.1, high=4)]),
        Case("Round-half", "Round", [np.array([-2.5, -1.5, 0.5, 1.5, 2.5], np.float32)]),
        Case("Mish", "Mish", [f(2, 3)], opset=18),
        Case("Mish-large", "Mish", [np.array([-90, 15, 20, 50, 1e4], np.float32)], opset=18),
        Case("Sign-int8", "Sign", [np.array([-128, 0, 5], np.int8)]),
        Case("Sign-uint8", "Sign", [np.array([200, 0, 5], np.uint8)]),
        Case("Abs-uint8", "Abs", [np.array([200, 0, 5], np.uint8)]),
        Case("Gelu", "Gelu", [wide], opset=20),
        Case("Gelu-tanh", "Gelu", [wide], opset=20, attributes={"approximate": "tanh"}),
        Case("LeakyRelu-alpha", "LeakyRelu", [f(6)], attributes={"alpha": 0.3}),
        Case("Elu-alpha", "Elu", [f(6)], attributes={"alpha": 0.3}),
        Case("Celu-alpha", "Celu", [f(6)], attributes={"alpha": 0.3}),
        Case(
            "HardSigmoid-alpha", "HardSigmoid", [f(9) * 9], attributes={"alpha": 0.3, "beta": 0.4}
        ),
        Case("Shrink-bias", "Shrink", [f(9)], attributes={"lambd": 0.4, "bias": 0.3}),
        Case("Abs-dynamic", "Abs", [f(2, 3)], dynamic={0: ("n", 3)}),
        Case("IsNaN-special", "IsNaN", [SPECIAL]),
        Case("IsInf-special", "IsInf", [SPECIAL]),
        Case("IsInf-positive", "IsInf", [SPECIAL], attributes={"detect_negative": 0}),
        Case("IsInf-neither", "IsInf", [SPECIAL], {}, {"detect_negative": 0, "detect_positive": 0}),
        Case("Clip", "Clip", [f(2, 3)], {1: np.float32(-0.5), 2: np.float32(0.5)}),
        Case("Clip-low", "Clip", [f(2, 3)], {1: np.float32(-0.5)}),
        Case("Clip-high", "Clip", [f(2, 3), None], {2: np.float32(0.5)}),
        Case("Clip-none", "Clip", [f(2, 3)]),
        Case("Clip-crossed", "Clip", [f(2, 3)], {1: np.float32(1), 2: np.float32(-1)}),
        Case("Clip-int", "Clip", [i64(-9, 0, 9)], {1: np.int64(-1), 2: np.int64(1)}),
        Case("Clip-runtime", "Clip", [f(5), np.array(-0.5, np.float32)]),
        Case("Clip-10", "Clip", [f(2, 3)], {}, {"min": -0.5, "max": 0.5}, opset=10),
    ]
    return found


def _binary() -> list[Case]:
    found = []
    for op in ("Add", "Sub", "Mul", "Div"):
        found.append(Case(op, op, [f(2, 3, 4), f(3, 1)]))
        found.append(Case(f"{op}-int64", op, [i64(-7, 7, -8, 9), i64(2, -2, 3, 3)]))
        found.append(Case(f"{op}-int32", op, [i32(-7, 7), i32(2, -2)]))
        found.append(Case(f"{op}-dynamic", op, [f(2, 3, 4), f(2, 1, 1)], dynamic=PAIR))
    # Two symbols in one place: either may be 1 when the graph runs.
    two = [{"m": 3, "n": 3}, {"m": 4, "n": 1}, {"m": 1, "n": 1}]
    wide = f(9) * 1000
    found += [
        Case("Add-two", "Add", [f(1, 3), f(2, 3)], {}, {}, 1, 17, {0: ("m", 3), 1: ("n", 3)}, two),
        Case("Add-scalar", "Add", [f(2, 3)], {1: np.float32(3)}),
        Case("Mod-fmod", "Mod", [wide, f(9)], attributes={"fmod": 1}),
        Case("Pow", "Pow", [u(2, 3), f(2, 3)]),
        Case("Pow-2", "Pow", [f(2, 3)], {1: np.float32(2)}),
        Case("Pow-2s", "Pow", [f(1, 3)], {1: np.full((2, 1), 2, np.float32)}),
        Case("Pow-3", "Pow", [f(2, 3)], {1: np.float32(3)}),
        Case("Pow-half", "Pow", [u(2, 3)], {1: np.float32(0.5)}),
        Case("Pow-int-exponent", "Pow", [f(2, 3)], {1: i64(3)}),
        Case("Pow-int-square", "Pow", [f(2, 3)], {1: i64(2)}),
        Case("PRelu", "PRelu", [f(2, 3, 4, 4)], {1: u(3, 1, 1)}),
        Case("Sum", "Sum", [f(2, 3), f(3), f(2, 1)]),
        Case("Sum-1", "Sum", [f(2, 3)]),
        Case("Max", "Max", [f(2, 3), f(3), f(2, 1)]),
        Case("Min", "Min", [f(2, 3), f(3)]),
        Case("Max-int", "Max", [i64(1, -5), i64(-1, 5)]),
        Case("Mean", "Mean", [f(2, 3), f(3), f(2, 1)]),
    ]
    return found


def _integers() -> list[Case]:
    bits = [i64(12, 7), i64(10, 3)]
    return [
        Case("Abs-int", "Abs", [i64(-3, 0, 3)]),
        Case("Neg-int", "Neg", [i32(-3, 0, 3)]),
        Case("Sign-int", "Sign", [i64(-3, 0, 3)]),
        Case("Relu-int", "Relu", [i32(-3, 0, 3)]),
        Case("Mod-int", "Mod", [i64(-7, 7, -8, 9), i64(3, -3, 5, 5)]),
        Case("Mod-fmod-int64", "Mod", [i64(-7, 7, -8), i64(3, -3, 5)], attributes={"fmod": 1}),
        Case("Mod-fmod-int32", "Mod", [i32(-7, 7, -8), i32(3, -3, 5)], attributes={"fmod": 1}),
        Case("Div-int8", "Div", [np.array([-7, 7, 100], np.int8), np.array([2, -2, 3], np.int8)]),
        # More digits than a float64 has.
        Case("Div-large", "Div", [i64(2**60 + 1, -(2**60) - 1)], {1: i64(1)}),
        Case("Pow-int", "Pow", [i64(2, 3, -2)], {1: i64(3)}),
        Case("BitwiseAnd", "BitwiseAnd", bits, opset=18),
        Case("BitwiseOr", "BitwiseOr", bits, opset=18),
        Case("BitwiseXor", "BitwiseXor", bits, opset=18),
    ]


def _logic() -> list[Case]:
    found = [Case(op, op, [TRUE, MIXED]) for op in ("And", "Or", "Xor")]
    for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        found.append(Case(op, op, [f(2, 3).round(), f(3).round()]))
        found.append(Case(f"{op}-int64", op, [i64(1, 2, 3), i64(3, 2, 1)]))
        found.append(Case(f"{op}-nan", op, [SPECIAL, SPECIAL[::-1].copy()]))
    found += [
        Case("Not", "Not", [MIXED]),
        Case("Equal-bool", "Equal", [TRUE, MIXED]),
        Case("Where", "Where", [MIXED, f(3, 4), f(4)]),
        Case("Where-int", "Where", [MIXED, i64(1, 2, 3, 4), i64(5)]),
        Case("Where-bool", "Where", [MIXED, TRUE, ~TRUE]),
        Case("Where-scalar", "Where", [MIXED, f(2, 4)], {2: np.float32(-np.inf)}),
        Case("Where-dynamic", "Where", [MIXED, f(3, 4), f(1)], dynamic={0: ("t",), 1: (3, "t")}),
        Case("Where-condition", "Where", [None, f(3, 4), f(4)], {0: MIXED}),
    ]
    return found


def _conversion() -> list[Case]:
    targets = {
        "bool": TensorProto.BOOL,
        "half": TensorProto.FLOAT16,
        "double": TensorProto.DOUBLE,
        "int32": TensorProto.INT32,
        "int64": TensorProto.INT64,
        "int8": TensorProto.INT8,
    }
    found = [
        Case(
            f"Cast-{name}",
            "Cast",
            [np.array([-2.7, -0.5, 0, 0.5, 2.7], np.float32)],
            {},
            {"to": to},
        )
        for name, to in targets.items()
    ]
    found += [
        Case("Cast-int-bool", "Cast", [i64(2, 0, -1)], attributes={"to": TensorProto.BOOL}),
        Case("Cast-from-bool", "Cast", [MIXED], attributes={"to": TensorProto.FLOAT}),
        Case("Cast-narrow", "Cast", [i64(5, -5)], attributes={"to": TensorProto.INT32}),
        Case("Cast-same", "Cast", [f(2, 3)], attributes={"to": TensorProto.FLOAT}),
        Case("CastLike", "CastLike", [i64(5, -5), f(1)]),
    ]
    return found


def _reduce() -> list[Case]:
    found = []
    names = "Max Mean Min Prod Sum L1 L2 SumSquare LogSum LogSumExp"
    for op in (f"Reduce{name}" for name in names.split()):
        x = u(2, 3, 4)
        early = op == "ReduceSum"
        axes = ({1: i64(-1)}, {}) if early else ({}, {"axes": [-1]})
        found.append(Case(f"{op}-17", op, [x], axes[0], {**axes[1], "keepdims": 0}))
        found.append(Case(f"{op}-18", op, [x], {1: i64(0, 2)}, {"keepdims": 1}, opset=18))
        found.append(Case(f"{op}-all", op, [x], attributes={"keepdims": 1}))
        found.append(Case(f"{op}-scalar", op, [x], attributes={"keepdims": 0}))
    masked = np.array([[-np.inf, -np.inf], [1, 2], [1, np.inf], [9999, 1]], np.float32)
    tie = np.array([[1, 3, 3], [3, 3, 1]], np.float32)
    dyn = {0: ("n", 3, "t")}
    found += [
        Case("ReduceSum-12", "ReduceSum", [f(2, 3)], {}, {"axes": [0]}, opset=12),
        Case("ReduceSum-int", "ReduceSum", [i64(1, 2, 3)], attributes={"keepdims": 0}),
        Case("ReduceMax-int", "ReduceMax", [i64(1, 5, 3)], attributes={"keepdims": 0}),
        Case("ReduceMax-bool", "ReduceMax", [MIXED], {1: i64(0)}, opset=20),
        Case("ReduceMin-bool", "ReduceMin", [MIXED], {1: i64(0)}, opset=20),
        Case("ReduceSum-noop", "ReduceSum", [f(2, 3)], attributes={"noop_with_empty_axes": 1}),
        Case("ReduceMean-dynamic", "ReduceMean", [f(2, 3, 4)], {}, {"axes": [0, 2]}, dynamic=dyn),
        Case("ReduceLogSumExp-inf", "ReduceLogSumExp", [masked], attributes={"axes": [1]}),
        Case("ArgMax", "ArgMax", [f(2, 3, 4)], attributes={"axis": -2}),
        Case("ArgMax-dynamic", "ArgMax", [f(2, 3, 4)], {}, {"axis": -1}, dynamic=dyn),
        Case("ArgMax-tie", "ArgMax", [tie], attributes={"axis": 1}),
        Case("ArgMin", "ArgMin", [f(2, 3, 4)], attributes={"axis": 2, "keepdims": 0}),
        Case("ArgMin-tie", "ArgMin", [tie], attributes={"axis": 1}),
        Case("CumSum", "CumSum", [f(2, 3)], {1: np.int64(-1)}),
        Case("CumSum-both", "CumSum", [f(2, 3)], {1: np.int64(0)}, {"exclusive": 1, "reverse": 1}),
        Case("CumSum-int", "CumSum", [i64(1, 2, 3)], {1: np.int64(0)}),
        Case("CumSum-dynamic", "CumSum", [f(2, 3, 4)], {1: np.int64(2)}, dynamic=dyn),
    ]
    return found
