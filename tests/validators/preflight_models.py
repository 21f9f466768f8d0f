"""One graph that trips each rule of the rule files, and a twin that does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Given = tuple[int, Sequence[int | str]] | np.ndarray[Any, Any] | None
"""An input: its element type and sizes, or a constant, or left out."""


@dataclass(frozen=True)
class Node:
    """A graph of one node.

    ``domain`` and ``opset`` are those of the node; ``outputs`` counts named outputs, and a name in
    ``unnamed`` is left out.
    """

    op_type: str
    inputs: Sequence[Given]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 17
    domain: str = ""

    def but(self, **attributes: Any) -> "Node":
        """The same with other attributes; None takes one out."""
        merged = {**self.attributes, **attributes}
        return replace(self, attributes={k: v for k, v in merged.items() if v is not None})

    def fed(self, index: int, given: Given) -> "Node":
        """The same with another input."""
        inputs = list(self.inputs)
        inputs[index] = given
        return replace(self, inputs=inputs)

    def model(self) -> onnx.ModelProto:
        """The graph as a file holds it."""
        names, values, constants = [], [], []
        for index, given in enumerate(self.inputs):
            names.append("" if given is None else f"x{index}")
            if isinstance(given, np.ndarray):
                constants.append(numpy_helper.from_array(given, f"x{index}"))
            elif given is not None:
                values.append(helper.make_tensor_value_info(f"x{index}", *given))
        results = [f"y{index}" for index in range(self.outputs)]
        node = helper.make_node(
            self.op_type, names, results, "the_node", domain=self.domain, **self.attributes
        )
        infos = [helper.make_empty_tensor_value_info(name) for name in results]
        graph = helper.make_graph([node], "g", values, infos, constants)
        opsets = [helper.make_opsetid("", self.opset)]
        if self.domain:
            opsets.append(helper.make_opsetid(self.domain, 1))
        return helper.make_model(graph, opset_imports=opsets)


def floats(*sizes: int | str) -> Given:
    return FLOAT, sizes


def ints(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.int64)


def one(number: float) -> np.ndarray[Any, Any]:
    return np.array([number], np.float32)


GRU = Node("GRU", [floats(3, 2, 4), floats(1, 15, 4), floats(1, 15, 5)], {"hidden_size": 5})
LSTM = Node("LSTM", [floats(3, 2, 4), floats(1, 20, 4), floats(1, 20, 5)], {"hidden_size": 5})
SCALES = np.array([1, 1, 2, 2], np.float32)
RESIZE = Node("Resize", [floats(1, 2, 4, 4), None, SCALES], {"mode": "linear"})
RESIZE_TO = replace(RESIZE, inputs=[floats(1, 2, 4, 4), None, None, ints(1, 2, 8, 6)])
RESIZE_5D = Node(
    "Resize",
    [floats(1, 2, 4, 4, 4), None, np.array([1, 1, 2, 2, 2], np.float32)],
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
)
CONV = Node("Conv", [floats(1, 3, 8, 8), floats(4, 3, 3, 3)], {"kernel_shape": [3, 3]})
CONV_3D = Node("Conv", [floats(1, 3, 8, 8, 8), floats(4, 3, 3, 3, 3)], {"kernel_shape": [3, 3, 3]})
TRANSPOSED = Node(
    "ConvTranspose", [floats(1, 3, 8, 8), floats(3, 4, 3, 3)], {"kernel_shape": [3, 3]}
)
MAXPOOL = Node("MaxPool", [floats(1, 3, 8, 8)], {"kernel_shape": [2, 2]})
AVERAGE = Node("AveragePool", [floats(1, 3, 8, 8)], {"kernel_shape": [2, 2]})
LPPOOL = Node("LpPool", [floats(1, 3, 8, 8)], {"kernel_shape": [2, 2]}, opset=18)
PAD = Node("Pad", [floats(2, 3), ints(0, 0, 1, 1), np.array(0, np.float32)])
GRID = Node("GridSample", [floats(1, 2, 4, 4), floats(1, 3, 3, 2)])
NMS_LIMITS = (np.array([3], np.int64), one(0.5), one(0.1))
NMS = Node("NonMaxSuppression", [floats(1, 6, 4), floats(1, 1, 6), *NMS_LIMITS])
REDUCE = Node("ReduceSum", [floats(2, 3)])
UNIQUE = Node("Unique", [floats(6)])
SCATTER = Node("ScatterND", [floats(4), (INT64, [2, 1]), floats(2)])
NORM = Node("BatchNormalization", [floats(1, 3, 4, 4), *[floats(3)] * 4], {"training_mode": 0})
BODY = helper.make_graph([], "body", [], [])

# Rule -> what trips it, and a twin of it that does not.
TRIPS: dict[str, tuple[Node, Node]] = {
    "gru-linear-before-reset": (GRU.but(linear_before_reset=1), GRU.but(linear_before_reset=0)),
    "gru-activations": (GRU.but(activations=["Relu", "Tanh"]), GRU),
    "gru-clip": (GRU.but(clip=3.0), GRU),
    "gru-layout": (GRU.but(layout=1), GRU.but(layout=0)),
    "lstm-activations": (LSTM.but(activation_alpha=[0.1, 0.2, 0.3]), LSTM),
    "lstm-clip": (LSTM.but(clip=3.0), LSTM),
    "lstm-input-forget": (LSTM.but(input_forget=1), LSTM),
    "lstm-layout": (LSTM.but(layout=1), LSTM),
    "resize-nearest-mode": (
        RESIZE.but(mode="nearest", nearest_mode="floor"),
        RESIZE.but(mode="nearest", nearest_mode="round_prefer_ceil"),
    ),
    "resize-nearest-rank": (
        RESIZE_5D.but(mode="nearest", nearest_mode="round_prefer_ceil"),
        RESIZE.but(mode="nearest", nearest_mode="round_prefer_ceil"),
    ),
    "resize-opset": (replace(RESIZE, opset=13), RESIZE),
    "resize-cubic-coefficient": (
        RESIZE.but(mode="cubic", cubic_coeff_a=-0.5),
        RESIZE.but(mode="cubic"),
    ),
    "resize-exclude-outside": (
        RESIZE.but(mode="cubic", exclude_outside=1),
        RESIZE.but(mode="cubic"),
    ),
    "resize-extrapolation": (
        RESIZE.but(coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=1.0),
        RESIZE.but(extrapolation_value=1.0),
    ),
    "resize-antialias": (replace(RESIZE.but(antialias=1), opset=18), replace(RESIZE, opset=18)),
    "resize-axes": (
        replace(RESIZE.but(axes=[2, 3]).fed(2, SCALES[2:]), opset=18),
        replace(RESIZE, opset=18),
    ),
    "resize-aspect-ratio": (
        replace(RESIZE_TO.but(keep_aspect_ratio_policy="not_larger"), opset=18),
        replace(RESIZE_TO.but(keep_aspect_ratio_policy="stretch"), opset=18),
    ),
    "resize-inputs": (replace(RESIZE, inputs=RESIZE.inputs[:2]), RESIZE),
    "resize-constant": (RESIZE.fed(2, floats(4)), RESIZE),
    "resize-cubic": (RESIZE.but(mode="cubic"), RESIZE),
    "resize-5d-linear": (
        RESIZE_5D.but(coordinate_transformation_mode="half_pixel"),
        RESIZE_5D,
    ),
    "mod-fmod": (
        Node("Mod", [floats(3), floats(3)], {"fmod": 1}),
        Node("Mod", [(INT64, [3]), (INT64, [3])]),
    ),
    "shape-start-end": (Node("Shape", [floats(2, 3)], {"start": 1}), Node("Shape", [floats(2, 3)])),
    "roialign-mode": (
        Node("RoiAlign", [floats(1, 2, 4, 4), floats(1, 4), (INT64, [1])], {"mode": "max"}),
        Node("RoiAlign", [floats(1, 2, 4, 4), floats(1, 4), (INT64, [1])]),
    ),
    "unique-axis": (UNIQUE.but(axis=0), UNIQUE),
    "unique-indices": (replace(UNIQUE, outputs=2), UNIQUE),
    "sequence-empty-dtype": (
        Node("SequenceEmpty", [], {"dtype": FLOAT}),
        Node("SequenceEmpty", []),
    ),
    "dropout-seed": (
        Node("Dropout", [floats(3), np.array(0.5, np.float32), (BOOL, [])], {"seed": 1}),
        Node("Dropout", [floats(3)], {"seed": 1}),
    ),
    "batchnorm-training": (replace(NORM.but(training_mode=1), outputs=3), NORM),
    "batchnorm-spatial": (
        replace(NORM.but(training_mode=None, spatial=0), opset=8),
        replace(NORM.but(training_mode=None), opset=8),
    ),
    "averagepool-count-pad": (AVERAGE.but(count_include_pad=1), AVERAGE),
    "averagepool-same-lower": (
        AVERAGE.but(auto_pad="SAME_LOWER"),
        AVERAGE.but(auto_pad="SAME_UPPER"),
    ),
    "lppool-ceil-mode": (LPPOOL.but(ceil_mode=1), LPPOOL),
    "lppool-dilations": (LPPOOL.but(dilations=[2, 2]), LPPOOL.but(dilations=[1, 1])),
    "reduce-noop": (
        REDUCE.but(noop_with_empty_axes=1),
        replace(REDUCE.but(noop_with_empty_axes=1), inputs=[floats(2, 3), ints(0)]),
    ),
    "upsample-scales": (
        Node("Upsample", [floats(1, 1, 2, 2)], {"scales": [1.0, 1.0, 2.0, 2.0]}, opset=8),
        Node("Upsample", [floats(1, 1, 2, 2), SCALES], opset=9),
    ),
    "upsample-mode": (
        Node("Upsample", [floats(1, 1, 2, 2), SCALES], {"mode": "cubic"}, opset=9),
        Node("Upsample", [floats(1, 1, 2, 2), SCALES], {"mode": "linear"}, opset=9),
    ),
    "maxpool-indices": (replace(MAXPOOL, outputs=2), MAXPOOL),
    "maxpool-storage-order": (MAXPOOL.but(storage_order=1), MAXPOOL),
    "argmax-last-index": (
        Node("ArgMax", [floats(2, 3)], {"select_last_index": 1}),
        Node("ArgMax", [floats(2, 3)], {"select_last_index": 0}),
    ),
    "argmin-last-index": (
        Node("ArgMin", [floats(2, 3)], {"select_last_index": 1}),
        Node("ArgMin", [floats(2, 3)]),
    ),
    "conv-rank": (
        Node("Conv", [floats(1, 3, *[4] * 4), floats(4, 3, *[1] * 4)], {"kernel_shape": [1] * 4}),
        CONV,
    ),
    "conv-attributes": (CONV.but(kernel_shape=None), CONV.but(kernel_shape=None, strides=[1, 1])),
    "conv3d-auto-pad": (CONV_3D.but(auto_pad="SAME_UPPER"), CONV_3D.but(auto_pad="VALID")),
    "convtranspose-kernel-shape": (TRANSPOSED.but(kernel_shape=None), TRANSPOSED),
    "transpose-perm": (
        Node("Transpose", [floats(2, 3)]),
        Node("Transpose", [floats(2, 3)], {"perm": [1, 0]}),
    ),
    "scatternd-mul": (SCATTER.but(reduction="mul"), SCATTER.but(reduction="add")),
    "randomnormal-dtype": (
        Node("RandomNormal", [], {"shape": [2], "dtype": TensorProto.BFLOAT16}),
        Node("RandomNormal", [], {"shape": [2]}),
    ),
    "lrn-size": (
        Node("LRN", [floats(1, 4, 2, 2)], {"size": 2}),
        Node("LRN", [floats(1, 4, 2, 2)], {"size": 3}),
    ),
    "depthtospace-block": (
        Node("DepthToSpace", [floats(1, 4, 2, 2)], {"blocksize": 1}),
        Node("DepthToSpace", [floats(1, 4, 2, 2)], {"blocksize": 2}),
    ),
    "control-flow": (Node("Loop", [ints(3), None], {"body": BODY}, outputs=0), CONV),
    "conv-width": (CONV.fed(0, floats(1, 3, 8, 4097)), CONV.fed(0, floats(1, 3, 8, 4096))),
    "conv-kernel": (
        replace(
            CONV.but(kernel_shape=[256, 3]), inputs=[floats(1, 3, 512, 8), floats(4, 3, 256, 3)]
        ),
        replace(
            CONV.but(kernel_shape=[255, 3]), inputs=[floats(1, 3, 512, 8), floats(4, 3, 255, 3)]
        ),
    ),
    "conv-strides": (CONV.but(strides=[64, 1]), CONV.but(strides=[63, 1])),
    "conv-dilations": (CONV.but(dilations=[1, 256]), CONV.but(dilations=[1, 1])),
    "conv-pads": (CONV.but(pads=[256, 0, 0, 0]), CONV.but(pads=[255, 0, 0, 0])),
    "convtranspose-auto-pad": (
        Node(
            "ConvTranspose",
            [floats(1, 3, 8), floats(3, 4, 3)],
            {"kernel_shape": [3], "auto_pad": "SAME_UPPER"},
        ),
        TRANSPOSED.but(auto_pad="SAME_UPPER"),
    ),
    "pool-large": (
        MAXPOOL.fed(0, floats(1, 3, 64, 64)).but(kernel_shape=[17, 16]),
        MAXPOOL.fed(0, floats(1, 3, 64, 64)).but(kernel_shape=[16, 16]),
    ),
    "pool-width": (AVERAGE.fed(0, floats(1, 3, 8, 4097)), AVERAGE),
    "maxpool-dilations": (MAXPOOL.but(dilations=[2, 2]), MAXPOOL.but(dilations=[1, 1])),
    "averagepool-ceil-mode": (
        AVERAGE.but(ceil_mode=1, auto_pad="SAME_UPPER"),
        AVERAGE.but(ceil_mode=1),
    ),
    "maxpool-ceil-mode": (MAXPOOL.but(ceil_mode=1, auto_pad="VALID"), MAXPOOL.but(ceil_mode=1)),
    "pad-mode": (replace(PAD.but(mode="wrap"), opset=19), PAD.but(mode="edge")),
    "pad-count": (PAD.fed(1, ints(0, 0, 1)), PAD),
    "pad-opset": (replace(PAD, opset=12), PAD),
    "pad-value": (PAD.fed(2, np.array(1, np.float32)), PAD),
    "gridsample-rank": (
        replace(GRID, inputs=[floats(1, 2, 4, 4, 4), floats(1, 3, 3, 3, 3)], opset=20),
        GRID,
    ),
    "gridsample-bicubic": (GRID.but(mode="bicubic"), GRID.but(mode="nearest")),
    "gridsample-opset": (GRID, replace(GRID, opset=16)),
    "nms-float16": (NMS, CONV),
    "nms-padding": (NMS, CONV),
    "nms-limits": (NMS.fed(3, floats(1)), NMS),
    "nms-count": (NMS.fed(2, ints(701)), NMS.fed(2, ints(700))),
    "cast-target": (
        Node("Cast", [floats(3)], {"to": INT64}),
        Node("Cast", [floats(3)], {"to": TensorProto.INT32}),
    ),
    "cast-int8": (
        Node("Cast", [(TensorProto.INT32, [3])], {"to": TensorProto.INT8}),
        Node("Cast", [floats(3)], {"to": TensorProto.INT8}),
    ),
    "cast-int16": (
        Node("Cast", [(TensorProto.FLOAT16, [3])], {"to": TensorProto.INT16}),
        Node("Cast", [floats(3)], {"to": TensorProto.INT16}),
    ),
    "matmul-rank": (
        Node("MatMul", [floats(*[1] * 5, 2, 3), floats(3, 2)]),
        Node("MatMul", [floats(*[1] * 4, 2, 3), floats(3, 2)]),
    ),
    "batchnorm-rank": (NORM.fed(0, floats(1, 3, 4)), NORM),
    "fp32-baseline": (CONV, CONV.fed(0, (TensorProto.FLOAT16, [1, 3, 8, 8]))),
    "fp32-baseline-gemm": (
        Node("Gemm", [floats(2, 3), floats(3, 2), floats(2)], opset=10),
        Node("Gemm", [floats(2, 3), floats(3, 2), floats(2)]),
    ),
    "conv3d-float16": (CONV_3D, CONV),
    "convtranspose-dilations": (TRANSPOSED.but(dilations=[2, 2]), TRANSPOSED),
    "convtranspose-float16": (TRANSPOSED, TRANSPOSED.fed(0, (TensorProto.FLOAT16, [1, 3, 8, 8]))),
    "matmul-float16": (
        Node("MatMul", [floats(2, 3), floats(3, 2)]),
        Node("MatMul", [(TensorProto.FLOAT16, [2, 3]), (TensorProto.FLOAT16, [3, 2])]),
    ),
    "layernormalization-float16": (
        Node("LayerNormalization", [floats(2, 3), floats(3)]),
        Node("LayerNormalization", [(TensorProto.FLOAT16, [2, 3]), (TensorProto.FLOAT16, [3])]),
    ),
    "lstm-float16": (LSTM, LSTM.fed(0, (TensorProto.FLOAT16, [3, 2, 4]))),
    "lstm-opset": (LSTM, replace(LSTM, opset=16)),
    "gru-float16": (GRU, GRU.fed(0, (TensorProto.FLOAT16, [3, 2, 4]))),
    "unregistered": (Node("QuantizeLinear", [floats(3), one(1)]), CONV),
    "unregistered-yet": (Node("CastLike", [floats(3), (INT64, [3])]), CONV),
    "custom-domain": (Node("Fused", [floats(3)], domain="com.example"), CONV),
    "opset-above": (replace(CONV, opset=20), CONV),
    "opset-below": (replace(CONV, opset=10), CONV),
    "no-input": (Node("Identity", [one(1)]), CONV),
    "empty-dimension": (Node("Abs", [floats(0, 3)]), Node("Abs", [floats(1, 3)])),
    "input-type": (Node("Abs", [(TensorProto.INT16, [3])]), Node("Abs", [floats(3)])),
    "dynamic-shape": (Node("Abs", [floats("n", 3)]), Node("Abs", [floats(1, 3)])),
    "float64": (Node("Sqrt", [(TensorProto.DOUBLE, [3])]), Node("Sqrt", [floats(3)])),
    "complex": (Node("Identity", [(TensorProto.COMPLEX64, [3])]), Node("Identity", [floats(3)])),
    "bfloat16": (Node("Abs", [(TensorProto.BFLOAT16, [3])]), Node("Abs", [floats(3)])),
    "no-kernel": (Node("Abs", [(TensorProto.INT16, [3])]), Node("Abs", [floats(3)])),
    "cpu-kernel": (
        Node("Expand", [(INT64, [3]), ints(2, 3)]),
        Node("Expand", [floats(3), ints(2, 3)]),
    ),
}


def branching() -> onnx.ModelProto:
    """A branch whose weight lies in a file."""
    weight = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, "weights", 0, 12)
    weight.ClearField("raw_data")
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"], "inner")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [3])],
        [weight],
    )
    taken = Node("If", [(TensorProto.BOOL, [])], {"then_branch": branch, "else_branch": branch})
    return taken.model()
