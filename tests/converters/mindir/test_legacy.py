"""Forms of operators from before opset 7, which onnxruntime no longer runs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from tests.converters.mindir.case import IR_VERSION, f, u
from tests.converters.mindir.graphs import converted
from tests.converters.oracle import assert_same

from ascend_migrate.pipeline.errors import UnsupportedOperatorError
from ascend_migrate.pipeline.mindir_format import read_model
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

X, ROW, PLANE, COLUMN = f(2, 3, 4, 5), u(5), u(3, 4), u(3)
FLAGS = X > 0
STATISTICS = [u(3), f(3), f(3), u(3)]
EACH = [u(3, 4, 5), f(3, 4, 5), f(3, 4, 5), u(3, 4, 5)]
ALONG_1 = {"broadcast": 1, "axis": 1}


def _normal(x: np.ndarray, scale: Any, bias: Any, mean: Any, variance: Any) -> np.ndarray:
    return np.asarray((x - mean) / np.sqrt(variance + np.float32(1e-5)) * scale + bias)


def _by_channel(x: np.ndarray, *given: np.ndarray) -> np.ndarray:
    return _normal(x, *(item[:, None, None] for item in given))


CASES: Mapping[str, tuple[str, int, dict[str, Any], list[np.ndarray], Callable[..., Any]]] = {
    "Add": ("Add", 6, {"broadcast": 1}, [X, ROW], np.add),
    "Add-axis": ("Add", 6, ALONG_1, [X, PLANE], lambda x, y: x + y[..., None]),
    "Sub-1": ("Sub", 1, ALONG_1, [X, COLUMN], lambda x, y: x - y[:, None, None]),
    "Div": ("Div", 6, {"broadcast": 1, "axis": -2}, [X[..., :5], u(4, 5)], np.divide),
    "Mul-same": ("Mul", 6, {}, [X, X], np.multiply),
    "Pow": ("Pow", 1, {"broadcast": 1}, [np.abs(X), ROW], np.power),
    "And": ("And", 1, ALONG_1, [FLAGS, COLUMN > 0.5], lambda x, y: x & y[:, None, None]),
    "Greater": ("Greater", 1, ALONG_1, [X, PLANE], lambda x, y: x > y[..., None]),
    "PRelu": ("PRelu", 6, {}, [X, COLUMN], lambda x, y: np.where(x < 0, x * y[:, None, None], x)),
    "PRelu-one": ("PRelu", 6, {}, [X, u(1)], lambda x, y: np.where(x < 0, x * y, x)),
    "Gemm": ("Gemm", 6, {"broadcast": 1}, [f(2, 3), f(3, 5), ROW], lambda a, b, c: a @ b + c),
    "BatchNormalization": ("BatchNormalization", 6, {"is_test": 1}, [X, *STATISTICS], _by_channel),
    "BatchNormalization-each": (
        "BatchNormalization",
        7,
        {"spatial": 0},
        [X, *EACH],
        _normal,
    ),
    "Clip": ("Clip", 1, {"max": 0.5}, [X], lambda x: np.minimum(x, 0.5)),
    "Concat": ("Concat", 1, {}, [X, X], lambda x, y: np.concatenate([x, y], 1)),
    "Reshape": ("Reshape", 1, {"shape": [0, -1]}, [X], lambda x: x.reshape(2, -1)),
    "Pad": (
        "Pad",
        1,
        {"paddings": [0, 0, 0, 1, 0, 0, 2, 0], "mode": "edge"},
        [X],
        lambda x: np.pad(x, ((0, 0), (0, 0), (0, 2), (1, 0)), "edge"),
    ),
    "TopK": ("TopK", 1, {"k": 2}, [X], lambda x: -np.sort(-x)[..., :2]),
    "Cast": ("Cast", 1, {"to": "INT32"}, [X * 9], lambda x: x.astype(np.int32)),
    "Dropout": ("Dropout", 6, {"is_test": 1}, [X], lambda x: x),
}


@pytest.mark.mindspore
@pytest.mark.parametrize("name", CASES)
def test_an_old_form_keeps_its_meaning(
    name: str, tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    op, opset, attributes, inputs, right = CASES[name]
    runner = MindSporeRunner(
        converted(_model(op, opset, attributes, inputs), tmp_path), process=mindspore_process
    )
    found = runner.run({f"x{i}": array for i, array in enumerate(inputs)})
    assert_same([found["y"]], [np.asarray(right(*inputs))])


@pytest.mark.parametrize("op", ["BatchNormalization", "Dropout"])
def test_old_forms_that_train_are_refused(op: str, tmp_path: Path) -> None:
    inputs = [X, *STATISTICS] if op == "BatchNormalization" else [X]
    with pytest.raises(UnsupportedOperatorError, match="is_test=0; export the model in eval mode"):
        converted(_model(op, 6, {}, inputs), tmp_path)


def test_an_old_softmax_of_constants_is_not_computed_as_a_new_one(tmp_path: Path) -> None:
    """ONNX's reference implementation knows only the newer meaning."""
    one = helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(X))
    nodes = [one, helper.make_node("Softmax", ["c"], ["s"]), helper.make_node("Sum", ["s"], ["y"])]
    artifact = converted(_graph(nodes, 11, []), tmp_path)
    names = {p.op_type for p in read_model(artifact.path).primitives}
    assert "Softmax" in names


def _model(
    op: str, opset: int, attributes: dict[str, Any], inputs: list[np.ndarray]
) -> onnx.ModelProto:
    outputs = ["y", "i"] if op == "TopK" else ["y"]
    names = [f"x{i}" for i in range(len(inputs))]
    return _graph([helper.make_node(op, names, outputs, **attributes)], opset, inputs)


def _graph(nodes: list[onnx.NodeProto], opset: int, inputs: list[np.ndarray]) -> onnx.ModelProto:
    infos = [
        helper.make_tensor_value_info(
            f"x{i}", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for i, array in enumerate(inputs)
    ]
    graph = helper.make_graph(nodes, "old", infos, [onnx.ValueInfoProto(name="y")])
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
