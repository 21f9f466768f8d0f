"""One small graph per operator form: what it is fed, in the element types and sizes that matter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 10
"""Accepted by every onnxruntime of our range."""


@dataclass(frozen=True)
class Case:
    """One node, its constant and its fed inputs.

    ``dynamic`` names dimensions of fed inputs: {"x0": ("n", 3)} makes the first dynamic.
    """

    id: str
    op: str
    inputs: Sequence[np.ndarray | None]
    constants: Mapping[int, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 17
    dynamic: Mapping[int, Sequence[int | str]] = field(default_factory=dict)
    rtol: float = 1e-5

    def model(self) -> onnx.ModelProto:
        slots = dict(enumerate(self.inputs)) | dict(self.constants)
        names = [f"x{i}" if slots.get(i) is not None else "" for i in range(max(slots) + 1)]
        fed = [
            helper.make_tensor_value_info(
                f"x{i}",
                helper.np_dtype_to_tensor_dtype(a.dtype),
                list(self.dynamic.get(i, a.shape)),
            )
            for i, a in enumerate(self.inputs)
            if a is not None and i not in self.constants
        ]
        made = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, made, name=self.id, **self.attributes)
        graph = helper.make_graph(
            [node],
            "case",
            fed,
            [onnx.ValueInfoProto(name=name) for name in made],
            [numpy_helper.from_array(np.asarray(v), f"x{i}") for i, v in self.constants.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSION
        )
        inferred = onnx.shape_inference.infer_shapes(model)
        for info in inferred.graph.output:
            assert info.type.tensor_type.elem_type != TensorProto.UNDEFINED, self.id
        return inferred

    def feeds(self) -> dict[str, np.ndarray]:
        return {
            f"x{i}": a
            for i, a in enumerate(self.inputs)
            if a is not None and i not in self.constants
        }


RNG = np.random.default_rng(7)


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def u(*shape: int, low: float = 0.1, high: float = 0.9) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


_ANY = "Abs Asinh Atan Ceil Cos Cosh Erf Exp Floor HardSwish Neg Relu Round Sigmoid Sign Sin Sinh"
_ANY += " Softplus Softsign Tan Tanh Identity LeakyRelu Elu Celu Selu HardSigmoid ThresholdedRelu"
_ANY += " Not_ Shrink IsNaN IsInf Softmax LogSoftmax GlobalAveragePool GlobalMaxPool Flatten Size"
_ANY += " Shape Transpose NonZero"
_UNIT = "Acos Asin Atanh Log Reciprocal Sqrt"


def cases() -> list[Case]:
    return [*_elementwise(), *_logic(), *_reduce(), *_shape(), *_index(), *_nn(), *_recurrent()]


def _elementwise() -> list[Case]:
    found = [Case(op, op, [f(2, 3, 4, 5)]) for op in _ANY.split() if not op.endswith("_")]
    found += [Case(op, op, [u(2, 3, 4)]) for op in _UNIT.split()]
    found += [
        Case("Acosh", "Acosh", [u(2, 3, low=1.1, high=4)]),
        Case("Round-half", "Round", [np.array([-2.5, -1.5, 0.5, 1.5, 2.5], np.float32)]),
        Case("Mish", "Mish", [f(2, 3)], opset=18),
        Case("Gelu", "Gelu", [f(2, 3)], opset=20),
        Case("Gelu-tanh", "Gelu", [f(2, 3)], opset=20, attributes={"approximate": "tanh"}),
        Case("PRelu", "PRelu", [f(2, 3, 4, 4)], {1: u(3, 1, 1)}),
        Case("Abs-int", "Abs", [i64(-3, 0, 3)]),
    ]
    for op in ("Add", "Sub", "Mul", "Div"):
        found.append(Case(op, op, [f(2, 3, 4), f(3, 1)]))
        found.append(Case(f"{op}-int64", op, [i64(-7, 7, -8, 9), i64(2, -2, 3, 3)]))
        found.append(
            Case(f"{op}-int32", op, [i64(-7, 7).astype(np.int32), i64(2, -2).astype(np.int32)])
        )
    found += [
        Case("Mod-int", "Mod", [i64(-7, 7, -8, 9), i64(3, -3, 5, 5)]),
        Case("Mod-fmod", "Mod", [f(9), f(9)], attributes={"fmod": 1}),
        Case("Mod-fmod-int", "Mod", [i64(-7, 7, -8), i64(3, -3, 5)], attributes={"fmod": 1}),
        Case("Pow", "Pow", [u(2, 3), f(2, 3)]),
        Case("Pow-2", "Pow", [f(2, 3)], {1: np.float32(2)}),
        Case("Pow-half", "Pow", [u(2, 3)], {1: np.float32(0.5)}),
        Case("Pow-int-exponent", "Pow", [f(2, 3)], {1: i64(3)}),
        Case("Pow-int", "Pow", [i64(2, 3, -2)], {1: i64(3)}),
        Case("Sum", "Sum", [f(2, 3), f(3), f(2, 1)]),
        Case("Max", "Max", [f(2, 3), f(3), f(2, 1)]),
        Case("Min", "Min", [f(2, 3), f(3)]),
        Case("Mean", "Mean", [f(2, 3), f(3), f(2, 1)]),
        Case("Clip", "Clip", [f(2, 3)], {1: np.float32(-0.5), 2: np.float32(0.5)}),
        Case("Clip-low", "Clip", [f(2, 3)], {1: np.float32(-0.5)}),
        Case("Clip-high", "Clip", [f(2, 3), None], {2: np.float32(0.5)}),
        Case("Clip-crossed", "Clip", [f(2, 3)], {1: np.float32(1), 2: np.float32(-1)}),
        Case("BitwiseAnd", "BitwiseAnd", [i64(12, 7), i64(10, 3)], opset=18),
        Case("BitwiseOr", "BitwiseOr", [i64(12, 7), i64(10, 3)], opset=18),
        Case("BitwiseXor", "BitwiseXor", [i64(12, 7), i64(10, 3)], opset=18),
    ]
    return found


def _logic() -> list[Case]:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    found = [Case(op, op, [a, b]) for op in ("And", "Or", "Xor")]
    for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        found.append(Case(op, op, [f(2, 3).round(), f(3).round()]))
        found.append(Case(f"{op}-int64", op, [i64(1, 2, 3), i64(3, 2, 1)]))
    special = np.array([np.nan, np.inf, -np.inf, 0, -1], np.float32)
    found += [
        Case("Not", "Not", [a]),
        Case("Equal-bool", "Equal", [a, b]),
        Case("IsNaN-special", "IsNaN", [special]),
        Case("IsInf-special", "IsInf", [special]),
        Case("IsInf-positive", "IsInf", [special], attributes={"detect_negative": 0}),
        Case("Where", "Where", [a, f(3, 4), f(4)]),
        Case("Where-int", "Where", [a, i64(1, 2, 3, 4), i64(5)]),
        Case("Where-scalar", "Where", [a, f(2, 4)], {2: np.float32(-np.inf)}),
        Case("Cast-bool", "Cast", [f(6).round()], attributes={"to": TensorProto.BOOL}),
        Case("Cast-truncates", "Cast", [f(9) * 5], attributes={"to": TensorProto.INT64}),
        Case("Cast-int-bool", "Cast", [i64(2, 0, -1)], attributes={"to": TensorProto.BOOL}),
        Case("Cast-from-bool", "Cast", [a], attributes={"to": TensorProto.FLOAT}),
        Case("Cast-half", "Cast", [f(6)], attributes={"to": TensorProto.FLOAT16}),
        Case("Cast-double", "Cast", [f(6)], attributes={"to": TensorProto.DOUBLE}),
        Case("Cast-int32", "Cast", [i64(5, -5)], attributes={"to": TensorProto.INT32}),
        Case("CastLike", "CastLike", [i64(5, -5), f(1)]),
    ]
    return found


def _reduce() -> list[Case]:
    found = []
    names = "Max Mean Min Prod Sum L1 L2 SumSquare LogSum LogSumExp"
    for op in (f"Reduce{name}" for name in names.split()):
        x = u(2, 3, 4)
        new = op == "ReduceSum"
        axes = ({1: i64(-1)}, {}) if new else ({}, {"axes": [-1]})
        found.append(Case(f"{op}-17", op, [x], axes[0], {**axes[1], "keepdims": 0}))
        found.append(Case(f"{op}-18", op, [x], {1: i64(0, 2)}, {"keepdims": 1}, opset=18))
        found.append(Case(f"{op}-all", op, [x], attributes={"keepdims": 1}))
    found += [
        Case("ReduceSum-int", "ReduceSum", [i64(1, 2, 3)], attributes={"keepdims": 0}),
        Case("ReduceMax-int", "ReduceMax", [i64(1, 5, 3)], attributes={"keepdims": 0}),
        Case("ReduceSum-noop", "ReduceSum", [f(2, 3)], attributes={"noop_with_empty_axes": 1}),
        Case("ArgMax", "ArgMax", [f(2, 3, 4)], attributes={"axis": -2}),
        Case("ArgMin", "ArgMin", [f(2, 3, 4)], attributes={"axis": 2, "keepdims": 0}),
        Case("ArgMax-tie", "ArgMax", [np.array([[1, 3, 3]], np.float32)], attributes={"axis": 1}),
        Case("CumSum", "CumSum", [f(2, 3)], {1: np.int64(-1)}),
        Case("CumSum-both", "CumSum", [f(2, 3)], {1: np.int64(0)}, {"exclusive": 1, "reverse": 1}),
        Case("CumSum-int", "CumSum", [i64(1, 2, 3)], {1: np.int64(0)}),
    ]
    return found


def _shape() -> list[Case]:
    x = f(2, 3, 4)
    flags = x > 0
    dyn = {0: ("n", 3, "t")}
    return [
        Case("Reshape", "Reshape", [x], {1: i64(0, -1)}),
        Case("Reshape-dynamic", "Reshape", [x], {1: i64(0, -1, 2)}, dynamic={0: ("n", 3, 4)}),
        Case("Reshape-runtime", "Reshape", [x, i64(4, 6)]),
        Case("Flatten-0", "Flatten", [x], attributes={"axis": 0}),
        Case("Flatten-2", "Flatten", [x], attributes={"axis": 2}, dynamic=dyn),
        Case("Transpose-perm", "Transpose", [x], attributes={"perm": [1, 2, 0]}),
        Case("Shape-dynamic", "Shape", [x], attributes={"start": -2}, dynamic=dyn),
        Case("Size-dynamic", "Size", [x], dynamic=dyn),
        Case("Squeeze", "Squeeze", [f(1, 3, 1)], {1: i64(-1)}),
        Case("Squeeze-all", "Squeeze", [f(1, 3, 1)]),
        Case("Unsqueeze", "Unsqueeze", [x], {1: i64(0, -1)}),
        Case("Concat", "Concat", [x, f(2, 1, 4)], attributes={"axis": -2}),
        Case("Concat-int", "Concat", [i64(1, 2), i64(3)], attributes={"axis": 0}),
        Case("Concat-bool", "Concat", [flags, flags], attributes={"axis": 1}),
        Case("Split", "Split", [f(2, 6)], attributes={"axis": 1}, outputs=3),
        Case("Split-uneven", "Split", [f(2, 7)], {1: i64(2, 1, 4)}, {"axis": -1}, outputs=3),
        Case("Split-18", "Split", [f(2, 7)], {}, {"axis": 1, "num_outputs": 3}, 3, 18),
        Case(
            "Split-dynamic",
            "Split",
            [f(2, 6)],
            attributes={"axis": 1},
            outputs=2,
            dynamic={0: (2, "n")},
        ),
        Case("Slice", "Slice", [x], {1: i64(1, -3), 2: i64(99, -1), 3: i64(1, 2)}),
        Case("Slice-step", "Slice", [f(9)], {1: i64(1), 2: i64(8), 3: i64(0), 4: i64(3)}),
        Case("Slice-flip", "Slice", [f(9)], {1: i64(-1), 2: i64(-99), 3: i64(0), 4: i64(-1)}),
        Case("Slice-back", "Slice", [f(9)], {1: i64(7), 2: i64(1), 3: i64(0), 4: i64(-2)}),
        Case(
            "Slice-flip-dynamic",
            "Slice",
            [f(9)],
            {1: i64(-1), 2: i64(-(2**63)), 3: i64(0), 4: i64(-1)},
            dynamic={0: ("n",)},
        ),
        Case("Slice-dynamic", "Slice", [x], {1: i64(1), 2: i64(2**63 - 1)}, dynamic=dyn),
        Case("Slice-dynamic-end", "Slice", [x], {1: i64(0), 2: i64(-1), 3: i64(2)}, dynamic=dyn),
        Case("Slice-runtime", "Slice", [x, i64(1), i64(3), i64(2)], {3: i64(2)}),
        Case("Slice-int", "Slice", [i64(1, 2, 3)], {1: i64(1), 2: i64(3)}),
        Case("Slice-bool", "Slice", [flags], {1: i64(1), 2: i64(2)}),
        Case("Expand", "Expand", [f(3, 1)], {1: i64(2, 1, 4)}),
        Case("Expand-bool", "Expand", [flags[:, :1]], {1: i64(2, 3, 4)}),
        Case("Expand-int", "Expand", [i64(1)], {1: i64(4)}),
        Case("Expand-dynamic", "Expand", [f(2, 1, 3)], {1: i64(1, 4, 1)}, dynamic={0: ("n", 1, 3)}),
        Case("Expand-runtime", "Expand", [f(3, 1), i64(2, 3, 4)]),
        Case("Tile", "Tile", [x], {1: i64(1, 2, 3)}),
        Case("Tile-dynamic", "Tile", [x], {1: i64(1, 2, 3)}, dynamic=dyn),
        Case("Tile-bool", "Tile", [flags], {1: i64(1, 2, 1)}),
        Case("Pad", "Pad", [x], {1: i64(0, 1, 2, 0, 0, 3)}),
        Case("Pad-value", "Pad", [x], {1: i64(1, 0, 0, 0, 2, 0), 2: np.float32(7)}),
        Case("Pad-negative", "Pad", [f(2, 6)], {1: i64(0, -1, 0, 2)}),
        Case("Pad-reflect", "Pad", [f(2, 3, 6)], {1: i64(0, 0, 2, 0, 0, 3)}, {"mode": "reflect"}),
        Case("Pad-edge", "Pad", [f(2, 3, 6)], {1: i64(0, 0, 2, 0, 0, 3)}, {"mode": "edge"}),
        Case(
            "Pad-reflect-2d",
            "Pad",
            [f(1, 2, 5, 6)],
            {1: i64(0, 0, 1, 2, 0, 0, 3, 0)},
            {"mode": "reflect"},
        ),
        Case("Pad-dynamic", "Pad", [x], {1: i64(0, 1, 2, 0, 0, 3)}, dynamic=dyn),
        Case("Pad-18", "Pad", [x], {1: i64(1, 2), 3: i64(2)}, opset=18),
        Case("ConstantOfShape", "ConstantOfShape", [i64(2, 3)]),
        Case("Range", "Range", [np.array(v) for v in (1, 9, 3)]),
        Case("Trilu", "Trilu", [f(2, 4, 5)]),
        Case("Trilu-lower", "Trilu", [f(4, 5)], {1: np.int64(-1)}, {"upper": 0}),
        Case("Trilu-bool", "Trilu", [f(4, 4) > 0], {1: np.int64(1)}),
        Case("Trilu-dynamic", "Trilu", [f(4, 5)], dynamic={0: ("n", "m")}),
        Case("DepthToSpace", "DepthToSpace", [f(1, 8, 2, 3)], attributes={"blocksize": 2}),
        Case(
            "DepthToSpace-CRD",
            "DepthToSpace",
            [f(1, 8, 2, 3)],
            attributes={"blocksize": 2, "mode": "CRD"},
        ),
        Case("SpaceToDepth", "SpaceToDepth", [f(1, 2, 4, 6)], attributes={"blocksize": 2}),
    ]


def _index() -> list[Case]:
    x = f(4, 3)
    return [
        Case("Gather", "Gather", [x, i64(0, 2, -1)]),
        Case("Gather-constant", "Gather", [x], {1: i64(0, -1)}, {"axis": 1}),
        Case("Gather-scalar", "Gather", [x], {1: np.int64(-2)}, {"axis": -1}),
        Case("Gather-2d", "Gather", [x, i64(0, 2, -1, 1).reshape(2, 2)]),
        Case("Gather-int32", "Gather", [x, i64(0, -1).astype(np.int32)]),
        Case("Gather-dynamic", "Gather", [x, i64(0, 2, -1)], dynamic={0: ("n", 3), 1: ("k",)}),
        Case("Gather-bool", "Gather", [x > 0, i64(1, -1)]),
        Case("GatherElements", "GatherElements", [x, i64(0, -1, 2, 1, 1, 0).reshape(2, 3)]),
        Case(
            "GatherElements-1",
            "GatherElements",
            [x, i64(0, -1, 2, 1).reshape(4, 1)],
            attributes={"axis": 1},
        ),
        Case("GatherND", "GatherND", [x, i64(0, 1, -1, 2).reshape(2, 2)]),
        Case("GatherND-rows", "GatherND", [x, i64(0, -1).reshape(2, 1)]),
        Case("ScatterND", "ScatterND", [x, i64(0, -1).reshape(2, 1), f(2, 3)]),
        Case(
            "ScatterND-add",
            "ScatterND",
            [x, i64(0, 0).reshape(2, 1), f(2, 3)],
            attributes={"reduction": "add"},
        ),
        Case("ScatterElements", "ScatterElements", [x, i64(0, -1, 2).reshape(1, 3), f(1, 3)]),
        Case(
            "ScatterElements-add",
            "ScatterElements",
            [x, i64(0, 0, 2).reshape(1, 3), f(1, 3)],
            attributes={"reduction": "add"},
        ),
        Case("OneHot", "OneHot", [i64(0, 2, -1, 9), None, f(2)], {1: np.int64(3)}),
        Case("OneHot-0", "OneHot", [i64(0, 2), None, f(2)], {1: np.int64(3)}, {"axis": 0}),
        Case("TopK", "TopK", [f(3, 6)], {1: i64(2)}, outputs=2),
        Case("TopK-0", "TopK", [f(6, 3)], {1: i64(2)}, {"axis": 0, "largest": 0}, outputs=2),
    ]


def _nn() -> list[Case]:
    x1, x2, x3 = f(2, 4, 9), f(2, 4, 8, 9), f(1, 2, 5, 6, 7)
    dyn2 = {0: ("n", 4, "h", "w")}
    bn = {1: u(4), 2: f(4), 3: f(4), 4: u(4)}
    found = [
        Case("MatMul", "MatMul", [f(3, 4), f(4, 5)]),
        Case("MatMul-3x2", "MatMul", [f(2, 3, 4), f(4, 5)], dynamic={0: ("n", "t", 4)}),
        Case("MatMul-4d", "MatMul", [f(2, 3, 4, 5), f(2, 3, 5, 6)]),
        Case("MatMul-broadcast", "MatMul", [f(2, 3, 4, 5), f(3, 5, 6)]),
        Case("MatMul-one", "MatMul", [f(1, 3, 4), f(2, 4, 5)], dynamic={1: ("n", 4, 5)}),
        Case("MatMul-2x3", "MatMul", [f(3, 4), f(2, 4, 5)], dynamic={1: ("n", 4, 5)}),
        Case(
            "MatMul-two-symbols",
            "MatMul",
            [f(1, 3, 4), f(2, 4, 5)],
            dynamic={0: ("m", 3, 4), 1: ("n", 4, 5)},
        ),
        Case("MatMul-vectors", "MatMul", [f(4), f(4)]),
        Case("MatMul-vector-left", "MatMul", [f(4), f(2, 4, 5)]),
        Case("MatMul-vector-right", "MatMul", [f(2, 3, 4), f(4)]),
        Case("Gemm", "Gemm", [f(3, 4), f(4, 5), f(5)]),
        Case(
            "Gemm-scaled",
            "Gemm",
            [f(4, 3), f(5, 4), f(1, 5)],
            {},
            {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0},
        ),
        Case(
            "Conv-1d",
            "Conv",
            [x1],
            {1: f(6, 4, 3), 2: f(6)},
            {"pads": [2, 1], "dilations": [2], "strides": [2]},
        ),
        Case("Conv-1d-dynamic", "Conv", [x1], {1: f(6, 4, 3)}, dynamic={0: ("n", 4, "t")}),
        Case(
            "Conv-2d",
            "Conv",
            [x2],
            {1: f(6, 4, 3, 2), 2: f(6)},
            {"pads": [1, 0, 2, 1], "strides": [2, 1]},
            dynamic=dyn2,
        ),
        Case("Conv-group", "Conv", [x2], {1: f(6, 2, 3, 3)}, {"group": 2}),
        Case("Conv-depthwise", "Conv", [x2], {1: f(4, 1, 3, 3), 2: f(4)}, {"group": 4}),
        Case(
            "Conv-same",
            "Conv",
            [x2],
            {1: f(6, 4, 3, 2)},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        ),
        Case("Conv-3d", "Conv", [x3], {1: f(3, 2, 2, 3, 2), 2: f(3)}, {"pads": [1, 0, 1, 0, 1, 1]}),
        Case(
            "ConvTranspose", "ConvTranspose", [x2], {1: f(4, 3, 2, 2), 2: f(3)}, {"strides": [2, 2]}
        ),
        Case(
            "ConvTranspose-dynamic",
            "ConvTranspose",
            [x2],
            {1: f(4, 3, 2, 2), 2: f(3)},
            {"strides": [2, 2]},
            dynamic=dyn2,
        ),
        Case(
            "ConvTranspose-pads",
            "ConvTranspose",
            [x2],
            {1: f(4, 3, 3, 3)},
            {"strides": [2, 3], "pads": [1, 1, 0, 1], "output_padding": [1, 2]},
        ),
        Case(
            "ConvTranspose-dilated",
            "ConvTranspose",
            [x2],
            {1: f(4, 3, 3, 3)},
            {"dilations": [2, 1]},
        ),
        Case(
            "ConvTranspose-group",
            "ConvTranspose",
            [x2],
            {1: f(4, 3, 3, 3)},
            {"group": 2, "strides": [2, 2]},
        ),
        Case(
            "ConvTranspose-1d",
            "ConvTranspose",
            [x1],
            {1: f(4, 3, 4), 2: f(3)},
            {"strides": [2], "pads": [1, 1]},
        ),
        Case("BatchNormalization", "BatchNormalization", [x2], bn, dynamic=dyn2),
        Case("BatchNormalization-1d", "BatchNormalization", [x1], bn, {"epsilon": 0.1}),
        Case("BatchNormalization-0d", "BatchNormalization", [f(5, 4)], bn),
        Case("InstanceNormalization", "InstanceNormalization", [x2], {1: f(4), 2: f(4)}),
        Case("LayerNormalization", "LayerNormalization", [x1], {1: f(9), 2: f(9)}),
        Case(
            "LayerNormalization-two",
            "LayerNormalization",
            [x1],
            {1: f(4, 9), 2: f(4, 9)},
            {"axis": 1, "epsilon": 0.01},
        ),
        Case("LayerNormalization-bare", "LayerNormalization", [x1], {1: f(9)}),
        Case("LpNormalization", "LpNormalization", [x1]),
        Case("LpNormalization-1", "LpNormalization", [x1], attributes={"p": 1, "axis": 1}),
        Case(
            "GroupNormalization",
            "GroupNormalization",
            [f(2, 4, 5)],
            {1: f(4), 2: f(4)},
            {"num_groups": 2},
            opset=21,
        ),
        Case("Softmax-1", "Softmax", [x2], attributes={"axis": 1}),
        Case("LogSoftmax-2", "LogSoftmax", [x2], attributes={"axis": -2}),
        Case("Dropout", "Dropout", [x1]),
        Case("MeanVarianceNormalization", "MeanVarianceNormalization", [x2]),
    ]
    pool = {"kernel_shape": [3, 2], "strides": [2, 2]}
    found += [
        Case("MaxPool", "MaxPool", [x2], {}, pool, dynamic=dyn2),
        Case("MaxPool-pads", "MaxPool", [x2 - 9], {}, {**pool, "pads": [1, 0, 1, 1]}),
        Case("MaxPool-ceil", "MaxPool", [x2 - 9], {}, {**pool, "ceil_mode": 1}),
        Case("MaxPool-1d", "MaxPool", [x1], {}, {"kernel_shape": [2], "strides": [2]}),
        Case("MaxPool-3d", "MaxPool", [x3], {}, {"kernel_shape": [2, 2, 2]}),
        Case("AveragePool", "AveragePool", [x2], {}, pool, dynamic=dyn2),
        Case("AveragePool-pads", "AveragePool", [x2], {}, {**pool, "pads": [1, 0, 1, 1]}),
        Case(
            "AveragePool-pads-dynamic",
            "AveragePool",
            [x2],
            {},
            {**pool, "pads": [1, 0, 1, 1]},
            dynamic=dyn2,
        ),
        Case(
            "AveragePool-counted",
            "AveragePool",
            [x2],
            {},
            {**pool, "pads": [1, 0, 1, 1], "count_include_pad": 1},
        ),
        Case("AveragePool-1d", "AveragePool", [x1], {}, {"kernel_shape": [3]}),
    ]
    twice = {2: np.array([1, 1, 2, 2], np.float32)}
    sizes = {3: i64(2, 4, 13, 20)}
    floor = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    cubic = {"mode": "cubic", "coordinate_transformation_mode": "align_corners"}
    found += [
        Case("Resize-nearest", "Resize", [x2], twice, floor),
        Case("Resize-nearest-dynamic", "Resize", [x2], twice, floor, dynamic=dyn2),
        Case("Resize-nearest-half", "Resize", [x2], twice),
        Case("Resize-nearest-sizes", "Resize", [x2], sizes, floor),
        Case("Resize-linear", "Resize", [x2], sizes, {"mode": "linear"}, rtol=2e-5),
        Case(
            "Resize-linear-corners",
            "Resize",
            [x2],
            sizes,
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            rtol=2e-5,
        ),
        Case(
            "Resize-linear-1d",
            "Resize",
            [x1],
            {2: np.array([1, 1, 2], np.float32)},
            {"mode": "linear"},
            rtol=2e-5,
        ),
        Case("Resize-cubic", "Resize", [x2], sizes, cubic, rtol=2e-5),
    ]
    return found


def _recurrent() -> list[Case]:
    found = []
    time, batch, width, hidden = 4, 2, 3, 5
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for kind in ("forward", "reverse", "bidirectional"):
            count = 2 if kind == "bidirectional" else 1
            weights = {
                1: f(count, gates * hidden, width),
                2: f(count, gates * hidden, hidden),
                3: f(count, 2 * gates * hidden),
            }
            attributes = {"hidden_size": hidden, "direction": kind}
            states: list[np.ndarray | None] = [None] * 4 + [f(count, batch, hidden)]
            states += [f(count, batch, hidden)] if op == "LSTM" else []
            x = f(time, batch, width)
            outputs = 3 if op == "LSTM" else 2
            dynamic = {0: (time, "n", width)}
            found.append(
                Case(f"{op}-{kind}", op, [x], weights, attributes, outputs, dynamic=dynamic)
            )
            found.append(Case(f"{op}-{kind}-state", op, [x, *states], weights, attributes, outputs))
            if op == "GRU":
                after = {**attributes, "linear_before_reset": 1}
                found.append(Case(f"{op}-{kind}-after", op, [x], weights, after, outputs))
    bare = {1: f(1, 20, 3), 2: f(1, 20, 5)}
    found.append(Case("LSTM-bare", "LSTM", [f(2, 2, 3)], bare, {"hidden_size": 5}, 3))
    return found
