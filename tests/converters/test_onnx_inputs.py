"""Declared sizes decide the branches of an ONNX source, and nothing else about it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ascend_migrate.converters import onnx_to_mindir, onnx_to_onnx
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs

W = np.random.default_rng(5).standard_normal((6, 4)).astype(np.float32)
FLOAT = TensorProto.FLOAT


def branching(path: Path) -> Path:
    """Pads x at the end, then asks whether its rows are 6 long: if so x @ w, otherwise x @ -w.

    The padding is computed by ConstantOfShape, as exporters do; both branches ask once more, about
    the number of columns.
    """

    def branch(name: str, weight: str) -> onnx.GraphProto:
        def inner(label: str, sign: str) -> onnx.GraphProto:
            output = f"{name}/{label}"
            made = helper.make_node(sign, ["product"], [output])
            value = helper.make_tensor_value_info(output, FLOAT, None)
            return helper.make_graph([made], output, [], [value])

        nodes = [
            helper.make_node("MatMul", ["padded", weight], ["product"]),
            helper.make_node("Shape", ["product"], [f"{name}/sizes"], start=1),
            helper.make_node("Equal", [f"{name}/sizes", "four"], [f"{name}/four"]),
            helper.make_node(
                "If", [f"{name}/four"], [f"{name}/y"],
                then_branch=inner("then", "Identity"), else_branch=inner("else", "Neg"),
            ),
        ]  # fmt: skip
        value = helper.make_tensor_value_info(f"{name}/y", FLOAT, None)
        return helper.make_graph(nodes, name, [], [value])

    nodes = [
        helper.make_node("ConstantOfShape", ["three"], ["none"],
                         value=numpy_helper.from_array(np.array([0], np.int64))),
        helper.make_node("Concat", ["none", "one"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Shape", ["padded"], ["sizes"], start=1),
        helper.make_node("Equal", ["sizes", "six"], ["long"]),
        helper.make_node("Neg", ["w"], ["v"]),
        helper.make_node(
            "If", ["long"], ["y"], then_branch=branch("then", "w"), else_branch=branch("else", "v")
        ),
    ]  # fmt: skip
    numbers = {"three": 3, "one": 1, "six": 6, "four": 4}
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", FLOAT, ["rows", "columns"])],
        [helper.make_tensor_value_info("y", FLOAT, ["rows", 4])],
        [
            numpy_helper.from_array(W, "w"),
            *(numpy_helper.from_array(np.array([n]), name) for name, n in numbers.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def declare(*texts: str) -> tuple[InputSpec, ...]:
    inputs, faults = parse_inputs(texts)
    assert faults == ()
    return inputs


def run(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return branching(tmp_path / "net.onnx")


@pytest.mark.parametrize(("rows", "declared"), [("3", 3), ("rows=1..8", "rows"), ("rows=3..3", 3)])
def test_declared_sizes_settle_every_branch(source: Path, rows: str, declared: int | str) -> None:
    inputs = declare(f"x=float32[{rows},5]")
    made = onnx_to_onnx.convert(source, source.parent / "out", inputs=inputs, parent="p")
    model = onnx.load(made.path)
    assert [node.op_type for node in model.graph.node] == ["Pad", "MatMul"]
    size = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (size.dim_value or size.dim_param) == declared
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(made.path, x), run(source, x))
    mindir = onnx_to_mindir.convert(
        made.path, source.parent / "mindir", inputs=inputs, parent=made.digest
    )
    assert mindir.path.is_file()


@pytest.mark.parametrize("inputs", [(), declare("x=float32[rows=1..8,columns=2..9]")])
def test_undecided_branches_stay(source: Path, inputs: tuple[InputSpec, ...]) -> None:
    made = onnx_to_onnx.convert(source, source.parent / "out", inputs=inputs, parent="p")
    assert "If" in {node.op_type for node in onnx.load(made.path).graph.node}
    x = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(made.path, x), run(source, x))


def test_inputs_that_the_graph_does_not_have_are_all_named(source: Path) -> None:
    inputs = declare("x=int64[3,5,1]", "z=float32[3]")
    with pytest.raises(ConversionError) as caught:
        onnx_to_onnx.convert(source, source.parent / "out", inputs=inputs, parent="p")
    assert "'x' is float32 in the graph, not int64" in str(caught.value)
    assert "'x' has the sizes ['rows', 'columns'] in the graph" in str(caught.value)
    assert "the graph has no input 'z'" in str(caught.value)
    with pytest.raises(ConversionError, match="the graph has an input 'x' more"):
        onnx_to_onnx.convert(
            source, source.parent / "out", inputs=declare("y=float32[1]"), parent="p"
        )
