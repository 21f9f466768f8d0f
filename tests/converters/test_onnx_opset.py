"""Each rule is proved with onnxruntime: the graph before and after gives the same numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ascend_migrate.converters.onnx_opset import lower_opset
from ascend_migrate.pipeline.errors import UnsupportedOperatorError

Array = np.ndarray[Any, Any]
F, I64 = TensorProto.FLOAT, TensorProto.INT64


def graph(
    op: str,
    opset: int,
    shape: tuple[int | str, ...],
    constants: Mapping[str, Array] | None = None,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node: input x, then the constants in order ("" leaves an optional input out)."""
    constants = constants or {}
    names = ["" if name.startswith("_") else name for name in constants]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, ["x", *names], results, name="the_node", **attributes)
    made = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", F, shape)],
        [helper.make_tensor_value_info(name, F, None) for name in results],
        [numpy_helper.from_array(a, n) for n, a in constants.items() if not n.startswith("_")],
    )
    for result in made.output:
        result.type.tensor_type.ClearField("shape")
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def lowered(model: onnx.ModelProto, opset: int = 17) -> onnx.ModelProto:
    inner = ir.from_proto(model)
    lower_opset(inner, opset)
    result = ir.to_proto(inner)
    onnx.checker.check_model(result, full_check=True)
    return result


def run(model: onnx.ModelProto, x: Array) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(y) for y in session.run(None, {"x": x})]


def ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"]
X = (2, 6, 4, 5)
EXACT: list[tuple[str, onnx.ModelProto]] = [
    *((f"Reduce{r}", graph(f"Reduce{r}", 18, X, {"a": ints(1, -1)})) for r in REDUCTIONS),
    ("reduce all", graph("ReduceMean", 18, X, keepdims=0)),
    ("reduce noop 0", graph("ReduceMax", 18, X, {"a": ints(2)}, noop_with_empty_axes=0)),
    ("ReduceMax 20", graph("ReduceMax", 20, X, {"a": ints(2)})),
    ("split even", graph("Split", 18, X, outputs=3, axis=1, num_outputs=3)),
    ("split uneven", graph("Split", 18, X, outputs=2, axis=-1, num_outputs=2)),
    ("split sizes", graph("Split", 18, X, {"s": ints(1, 5)}, outputs=2, axis=1)),
    ("pad", graph("Pad", 18, X, {"p": ints(1, 2, 0, 3), "_v": ints(0), "a": ints(-1, 1)})),
    ("pad plain", graph("Pad", 19, X, {"p": ints(0, 0, 1, 2, 0, 0, 3, 4)}, mode="reflect")),
    (
        "resize axes scales",
        graph(
            "Resize",
            18,
            X,
            {"_r": ints(0), "s": np.array([2, 3], dtype=np.float32)},
            axes=[2, 3],
            mode="linear",
        ),
    ),
    (
        "resize axes sizes",
        graph("Resize", 18, X, {"_r": ints(0), "_s": ints(0), "z": ints(8, 9)}, axes=[2, 3]),
    ),
    ("lp pool", graph("LpPool", 18, X, kernel_shape=[2, 2], ceil_mode=0)),
    ("pad wrap", graph("Pad", 19, X, {"p": ints(0, 1, 0, 2, 0, 0, 0, 2)}, mode="wrap")),
    ("cast", graph("Cast", 19, X, to=F, saturate=1)),
    (
        "grid sample",
        graph(
            "GridSample",
            20,
            (2, 3, 4, 4),
            {"g": np.linspace(-1, 1, 2 * 5 * 5 * 2, dtype=np.float32).reshape(2, 5, 5, 2)},
            mode="cubic",
        ),
    ),
]

# Decomposed into several float32 operations, each rounding once (2**-24 relative) at values near 1.
# onnxruntime has another kernel for AveragePool since opset 19, which sums in another order.
ROUNDED: list[tuple[str, onnx.ModelProto]] = [
    ("average pool", graph("AveragePool", 19, X, kernel_shape=[2, 2])),
    (
        "pool dilations",
        graph("AveragePool", 19, X, kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 0, 1, 1]),
    ),
    (
        "pool dilations, ceil",
        graph(
            "AveragePool",
            19,
            X,
            kernel_shape=[2, 2],
            dilations=[1, 2],
            strides=[2, 2],
            ceil_mode=1,
            pads=[1, 0, 1, 1],
            count_include_pad=1,
        ),
    ),
    ("lp pool ceil", graph("LpPool", 18, X, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    ("lp pool dilations", graph("LpPool", 18, X, kernel_shape=[2, 2], dilations=[2, 2], p=1)),
    (
        "resize antialias",
        graph(
            "Resize",
            18,
            X,
            {"_r": ints(0), "s": np.array([1, 1, 0.6, 0.6], np.float32)},
            antialias=1,
            mode="linear",
        ),
    ),
    (
        "resize not larger",
        graph(
            "Resize",
            18,
            X,
            {"_r": ints(0), "_s": ints(0), "z": ints(9, 8)},
            axes=[2, 3],
            mode="linear",
            keep_aspect_ratio_policy="not_larger",
        ),
    ),
    (
        "resize symmetric",
        graph(
            "Resize",
            19,
            X,
            {"_r": ints(0), "s": np.array([1, 1, 1.3, 0.7], np.float32)},
            mode="linear",
            coordinate_transformation_mode="half_pixel_symmetric",
        ),
    ),
    ("mish", graph("Mish", 18, X)),
    ("swish", graph("Swish", 24, X, alpha=1.5)),
    ("rms", graph("RMSNormalization", 23, X, {"s": np.linspace(1, 2, 5, dtype=np.float32)})),
    ("gelu", graph("Gelu", 20, X)),
    ("gelu tanh", graph("Gelu", 20, X, approximate="tanh")),
    (
        "group norm 21",
        graph(
            "GroupNormalization",
            21,
            X,
            {
                "s": np.linspace(0.5, 2, 6, dtype=np.float32),
                "b": np.linspace(-1, 1, 6, dtype=np.float32),
            },
            num_groups=3,
            epsilon=1e-3,
        ),
    ),
]


def example(model: onnx.ModelProto) -> Array:
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    # Positive, so that the logarithms are defined.
    return np.random.default_rng(7).uniform(0.1, 2, shape).astype(np.float32)


@pytest.mark.parametrize(("_name", "model"), EXACT, ids=[name for name, _ in EXACT])
def test_same_bits(_name: str, model: onnx.ModelProto) -> None:
    x = example(model)
    result = lowered(model)
    assert result.opset_import[0].version == 17
    for before, after in zip(run(model, x), run(result, x), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize(("_name", "model"), ROUNDED, ids=[name for name, _ in ROUNDED])
def test_same_up_to_rounding(_name: str, model: onnx.ModelProto) -> None:
    x = example(model)
    result = lowered(model)
    assert result.opset_import[0].version == 17
    for before, after in zip(run(model, x), run(result, x), strict=True):
        np.testing.assert_allclose(after, before, rtol=2e-6, atol=2e-6)


def test_group_norm_18_by_hand() -> None:
    # onnxruntime has no kernel for version 18, whose scale has one value for each group.
    scale, bias = np.array([2, 3], dtype=np.float32), np.array([1, -1], dtype=np.float32)
    model = graph(
        "GroupNormalization", 18, (2, 4, 3), {"s": scale, "b": bias}, num_groups=2, epsilon=1e-2
    )
    x = example(model)
    parts = x.astype(np.float64).reshape(2, 2, 6)
    centred = parts - parts.mean(2, keepdims=True)
    normal = centred / np.sqrt(parts.var(2, keepdims=True) + 1e-2)
    expected = (normal * scale[:, None] + bias[:, None]).reshape(x.shape)
    np.testing.assert_allclose(run(lowered(model), x)[0], expected, rtol=2e-6, atol=2e-6)


REFUSED: list[tuple[str, onnx.ModelProto, str]] = [
    (
        "scatter max",
        graph(
            "ScatterND",
            18,
            X,
            {"i": ints(0).reshape(1, 1), "u": np.ones((1, 6, 4, 5), np.float32)},
            reduction="max",
        ),
        "reduction 'max'",
    ),
    (
        "split of a dynamic dimension",
        graph("Split", 18, ("n", 3), outputs=2, axis=0, num_outputs=2),
        "dynamic dimension",
    ),
    (
        "a pool too large to write out",
        graph("LpPool", 18, (1, 1, 99, 99), kernel_shape=[9, 9], dilations=[2, 2]),
        "81 elements",
    ),
    ("col2im", graph("Col2Im", 18, (1, 4, 4), {"s": ints(4, 4), "b": ints(2, 2)}), "no exact rule"),
    ("cumulative product", graph("CumProd", 26, X, {"a": ints(1)}), "no exact rule"),
]


@pytest.mark.parametrize(
    ("_name", "model", "reason"), REFUSED, ids=[name for name, _, _ in REFUSED]
)
def test_refused_by_name(_name: str, model: onnx.ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        lowered(model)
    assert len(caught.value.nodes) == 1
    assert caught.value.nodes[0].startswith("the_node (")
    assert reason in caught.value.nodes[0]


def test_all_refused_nodes_are_listed() -> None:
    model = graph("CumProd", 26, X, {"a": ints(1)})
    again = helper.make_node("CumProd", ["y0", "a"], ["z"], name="second")
    model.graph.node.append(again)
    with pytest.raises(UnsupportedOperatorError) as caught:
        lowered(model)
    assert [line.split(" ")[0] for line in caught.value.nodes] == ["the_node", "second"]


@pytest.mark.parametrize("opset", [18, 19, 20, 21, 22, 23, 24])
def test_unchanged_operators_pass(opset: int) -> None:
    model = graph("Transpose", opset, X, perm=[0, 2, 1, 3])
    x = example(model)
    assert np.array_equal(run(lowered(model), x)[0], x.transpose(0, 2, 1, 3))


OLDER: list[tuple[str, int, onnx.ModelProto]] = [
    ("layer norm", 16, graph("LayerNormalization", 17, X, {"s": np.ones(5, np.float32)})),
    (
        "layer norm of two axes",
        13,
        graph(
            "LayerNormalization",
            17,
            X,
            {"s": np.full((4, 5), 0.7, np.float32), "b": np.full((4, 5), 0.2, np.float32)},
            axis=2,
        ),
    ),
    ("mean, mish", 13, graph("Mish", 18, X)),
    ("shape", 14, graph("Shape", 15, X, start=1, end=3)),
    ("cast like", 14, graph("CastLike", 15, X, {"like": np.zeros(1, np.float32)})),
    ("hard swish", 13, graph("HardSwish", 14, X)),
    ("trilu", 13, graph("Trilu", 14, X, {"k": np.array(1, np.int64)}, upper=0)),
    ("relu", 13, graph("Relu", 17, X)),
    (
        "scatter",
        15,
        graph(
            "ScatterND",
            17,
            X,
            {"i": ints(1).reshape(1, 1), "u": np.ones((1, 6, 4, 5), np.float32)},
        ),
    ),
    ("gelu", 13, graph("Gelu", 20, X)),
]


@pytest.mark.parametrize(
    ("_name", "opset", "model"), OLDER, ids=[f"{name} {opset}" for name, opset, _ in OLDER]
)
def test_same_in_an_old_opset(_name: str, opset: int, model: onnx.ModelProto) -> None:
    if model.graph.output[0].type.tensor_type.elem_type and model.graph.node[0].op_type == "Shape":
        model.graph.output[0].type.tensor_type.elem_type = I64
    x = example(model)
    result = lowered(model, opset)
    assert result.opset_import[0].version == opset
    for before, after in zip(run(model, x), run(result, x), strict=True):
        np.testing.assert_allclose(after, before, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("op", "attributes", "reason"),
    [
        ("BatchNormalization", {"training_mode": 1}, "training_mode=1"),
        ("Reshape", {"allowzero": 1}, "allowzero=1 and a size of 0"),
    ],
)
def test_what_an_old_opset_cannot_say(op: str, attributes: dict[str, Any], reason: str) -> None:
    ones = np.ones(6, np.float32)
    constants = dict.fromkeys("sbmv", ones) if op == "BatchNormalization" else {"s": ints(0, 2)}
    with pytest.raises(UnsupportedOperatorError, match=reason):
        lowered(graph(op, 14, X, constants, outputs=3 if op[0] == "B" else 1, **attributes), 13)


def test_no_reduction_still_computes() -> None:
    # What onnx 1.23 says of noop_with_empty_axes; https://onnx.ai/onnx/operators/
    x = np.array([[0.5, 2.0]], np.float32)
    wanted = {"L1": abs(x), "SumSquare": x * x, "LogSum": np.log(x), "Max": x, "LogSumExp": x}
    for name, want in wanted.items():
        model = graph(f"Reduce{name}", 18, (1, 2), noop_with_empty_axes=1)
        np.testing.assert_array_equal(run(lowered(model), x)[0], want)
