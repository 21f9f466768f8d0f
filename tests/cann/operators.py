"""One small model for each standard operator that CANN's parser registers at opset 17."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from tests.cann.case import BOOL, F32, I32, I64, floats, ints, weights
from tests.cann.graphs import model_of, one

SOME, IMAGE = [3, 4], [1, 2, 6, 6]
_PLAIN = """
Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Det Elu Erf Exp Floor Flatten HardSigmoid
HardSwish Hardmax Identity IsInf IsNaN LeakyRelu Log LogSoftmax LpNormalization Neg NonZero
RandomNormalLike RandomUniformLike Reciprocal Relu Round Selu Shape Shrink Sigmoid Sign Sin Sinh
Size Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Unique Bernoulli
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSumSquare ReduceSum ArgMax ArgMin
"""
_PAIRS = """
Add Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mul Pow PRelu Sub Sum CastLike
"""
_LOGICAL = ["And", "Or", "Xor"]
_IMAGES = ["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"]
_SEEDED = {"RandomNormalLike", "RandomUniformLike", "Bernoulli"}


def models() -> dict[str, onnx.ModelProto]:
    """Returns the models by operator; every other operator in them only feeds that one."""
    found = {
        op: one(op, {"x": [4, 4] if op == "Det" else SOME}, **_seed(op)) for op in _PLAIN.split()
    }
    found |= {op: one(op, {"a": SOME, "b": SOME}) for op in _PAIRS.split()}
    kinds = {"a": BOOL, "b": BOOL}
    found |= {op: one(op, {"a": SOME, "b": SOME}, kinds=kinds) for op in _LOGICAL}
    found |= {op: one(op, {"x": IMAGE}) for op in _IMAGES}
    return found | _moving() | _of_images() | _of_sums() | _of_sequences() | _others()


def _seed(op: str) -> dict[str, Any]:
    return {"seed": 3.0} if op in _SEEDED else {}


def _moving() -> dict[str, onnx.ModelProto]:
    x = {"x": SOME}
    return {
        "Compress": one("Compress", {**x, "c": np.array([True, False, True])}, axis=0),
        "Concat": one("Concat", {"a": SOME, "b": [3, 2]}, axis=1),
        "Expand": one("Expand", {"x": [3, 1], "s": ints(2, 3, 4)}),
        "Gather": one("Gather", {**x, "i": ints(2, 0)}),
        "GatherElements": one("GatherElements", {**x, "i": ints(2, 0, 1, 1).reshape(1, 4)}),
        "GatherND": one("GatherND", {**x, "i": ints(2, 0, 1, 1).reshape(2, 2)}),
        "Pad": one("Pad", {**x, "p": ints(0, 1, 2, 0)}, mode="reflect"),
        "Reshape": one("Reshape", {**x, "s": ints(2, -1)}),
        "ReverseSequence": one("ReverseSequence", {**x, "l": ints(1, 3, 2, 2)}),
        "ScatterElements": one(
            "ScatterElements", {**x, "i": ints(2, 0, 1, 1).reshape(1, 4), "u": [1, 4]}
        ),
        "ScatterND": one("ScatterND", {**x, "i": ints(2, 0).reshape(2, 1), "u": [2, 4]}),
        "Slice": one("Slice", {**x, "s": ints(1), "e": ints(4), "a": ints(1), "t": ints(2)}),
        "Split": one("Split", {**x, "s": ints(1, 3)}, outputs=("y", "z"), axis=1),
        "Squeeze": one("Squeeze", {"x": [1, 3], "a": ints(0)}),
        "Tile": one("Tile", {**x, "r": ints(2, 3)}),
        "TopK": one("TopK", {**x, "k": ints(2)}, outputs=("y", "i")),
        "Transpose": one("Transpose", x, perm=[1, 0]),
        "Trilu": one("Trilu", {**x, "k": np.array(1, I64)}, upper=0),
        "Unsqueeze": one("Unsqueeze", {**x, "a": ints(1)}),
        "Where": one("Where", {"c": SOME, "a": SOME, "b": SOME}, kinds={"c": BOOL}),
    }


def _of_images() -> dict[str, onnx.ModelProto]:
    x: dict[str, Any] = {"x": IMAGE}
    kernel: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 3]], F32)
    rois = np.concatenate([np.zeros((2, 1), F32), boxes], axis=1)
    limits = {"n": ints(2), "o": floats(0.5), "s": floats(-1)}
    return {
        "AveragePool": one("AveragePool", x, **kernel, pads=[1, 0, 1, 0]),
        "Conv": one("Conv", {**x, "w": weights(3, 2, 3, 3)}, kernel_shape=[3, 3], group=1),
        "ConvTranspose": one("ConvTranspose", {**x, "w": weights(2, 3, 3, 3)}, kernel_shape=[3, 3]),
        "DepthToSpace": one("DepthToSpace", {"x": [1, 8, 2, 3]}, blocksize=2, mode="CRD"),
        "GridSample": one("GridSample", {**x, "g": [1, 3, 3, 2]}),
        "InstanceNormalization": one(
            "InstanceNormalization", {**x, "s": floats(1, 2), "b": floats(0, 1)}
        ),
        "LRN": one("LRN", x, size=3),
        "LpPool": one("LpPool", x, **kernel, p=2),
        "MeanVarianceNormalization": one("MeanVarianceNormalization", x, axes=[0, 2, 3]),
        "MaxPool": one("MaxPool", x, **kernel, pads=[1, 0, 1, 0]),
        "MaxRoiPool": one("MaxRoiPool", {**x, "r": rois}, pooled_shape=[2, 2]),
        "MaxUnpool": one(
            "MaxUnpool",
            {"x": [1, 1, 2, 2], "i": ints(0, 3, 9, 14).reshape(1, 1, 2, 2)},
            **kernel,
        ),
        "NonMaxSuppression": one(
            "NonMaxSuppression", {"b": [1, 6, 4], "c": [1, 1, 6], **limits}, center_point_box=1
        ),
        "Resize": one("Resize", {**x, "r": None, "s": floats(1, 1, 2, 2)}, mode="linear"),
        "RoiAlign": one("RoiAlign", {**x, "r": boxes, "b": ints(0, 0)}, output_height=2),
        "SpaceToDepth": one("SpaceToDepth", x, blocksize=2),
    }


def _of_sums() -> dict[str, onnx.ModelProto]:
    x = {"x": SOME}
    statistics = {"s": floats(1, 2), "b": floats(0, 1), "m": floats(0, 0.1), "v": floats(1, 2)}
    steps: dict[str, Any] = {"x": [5, 2, 3]}
    state: dict[str, Any] = {"hidden_size": 4}
    return {
        "BatchNormalization": one("BatchNormalization", {"x": IMAGE, **statistics}),
        "CumSum": one("CumSum", {**x, "a": np.array(1, I64)}, exclusive=1),
        "Einsum": one("Einsum", {"a": SOME, "b": [4, 5]}, equation="ij,jk->ki"),
        "GRU": one("GRU", {**steps, "w": weights(1, 12, 3), "r": weights(1, 12, 4)}, **state),
        "Gemm": one("Gemm", {**x, "w": weights(5, 4), "b": weights(5)}, transB=1, alpha=0.5),
        "LSTM": one("LSTM", {**steps, "w": weights(1, 16, 3), "r": weights(1, 16, 4)}, **state),
        "LayerNormalization": one("LayerNormalization", {**x, "s": weights(4), "b": weights(4)}),
        "MatMul": one("MatMul", {**x, "w": weights(4, 5)}),
        "Multinomial": one("Multinomial", x, sample_size=6, seed=3.0),
        "SoftmaxCrossEntropyLoss": one("SoftmaxCrossEntropyLoss", {**x, "t": ints(3, 0, 1)}),
    }


def _of_sequences() -> dict[str, onnx.ModelProto]:
    first, place = np.array(0, I64), np.array(1, I64)
    made = helper.make_node("SequenceConstruct", ["a", "b"], ["q"])
    joined = helper.make_node("ConcatFromSequence", ["q"], ["y"], axis=0)
    fed = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SOME) for name in "ab"]

    def of(*nodes: onnx.NodeProto, constants: Sequence[Any] = ()) -> onnx.ModelProto:
        kept = [onnx.numpy_helper.from_array(value, f"k{i}") for i, value in enumerate(constants)]
        read = {name for node in nodes for name in node.input}
        return model_of(nodes, [info for info in fed if info.name in read], ["y"], kept)

    def node(op: str, *inputs: str, to: str = "y", **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [to], "the_node", **attributes)

    parts = node("SplitToSequence", "a", to="q", axis=1, keepdims=1)
    return {
        "ConcatFromSequence": of(made, joined),
        "SequenceConstruct": of(made, joined),
        "SequenceAt": of(made, node("SequenceAt", "q", "k0"), constants=[place]),
        "SequenceErase": of(
            made,
            node("SequenceErase", "q", "k0", to="less"),
            helper.make_node("SequenceAt", ["less", "k0"], ["y"]),
            constants=[first],
        ),
        "SequenceInsert": of(
            made,
            node("SequenceInsert", "q", "a", "k0", to="more"),
            helper.make_node("SequenceAt", ["more", "k0"], ["y"]),
            constants=[first],
        ),
        "SequenceEmpty": of(
            node("SequenceEmpty", to="none"),
            helper.make_node("SequenceInsert", ["none", "a"], ["q"]),
            helper.make_node("SequenceLength", ["q"], ["y"]),
        ),
        "SequenceLength": of(made, node("SequenceLength", "q")),
        "SplitToSequence": of(parts, joined),
    }


def _others() -> dict[str, onnx.ModelProto]:
    x, number = {"x": SOME}, np.array(1, I64)
    branches: dict[str, Any] = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["x"], ["made"])],
            name,
            [],
            [helper.make_tensor_value_info("made", TensorProto.FLOAT, SOME)],
        )
        for name, op in (("then", "Neg"), ("else", "Abs"))
    }
    taken = helper.make_node("If", ["c"], ["y"], "the_node", **branches)
    fed = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, SOME),
        helper.make_tensor_value_info("c", BOOL, []),
    ]
    whole = {"x": TensorProto.UINT32}
    depth = {"d": np.array(6, I64), "v": floats(-1, 2)}
    return {
        "BitShift": one(
            "BitShift", {**x, "n": np.array(3, np.uint32)}, kinds=whole, direction="LEFT"
        ),
        "Cast": one("Cast", x, to=TensorProto.INT32),
        "Clip": one("Clip", {**x, "a": np.array(-0.5, F32), "b": np.array(1, F32)}),
        "ConstantOfShape": model_of(
            [
                helper.make_node("Shape", ["x"], ["s"]),
                helper.make_node("ConstantOfShape", ["s"], ["y"], "the_node"),
            ],
            fed[:1],
            ["y"],
        ),
        "Dropout": one("Dropout", x),
        "EyeLike": one("EyeLike", x, k=1),
        "If": model_of([taken], fed, ["y"]),
        "Mod": one("Mod", {**x, "d": np.array([3, -3, 7, 2], I32)}, kinds={"x": TensorProto.INT32}),
        "Not": one("Not", x, kinds={"x": BOOL}),
        "OneHot": one("OneHot", {"x": [5], **depth}, kinds={"x": TensorProto.INT64}),
        "RandomNormal": one("RandomNormal", {}, shape=[3], seed=3.0),
        "RandomUniform": one("RandomUniform", {}, shape=[3], seed=3.0),
        "Range": one("Range", {"a": number, "b": np.array(9, I64), "c": number}),
    }
