"""ONNX files as originals and as artifacts: onnxruntime, and float64 twins made of the graph."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ascend_migrate.pipeline.errors import CheckError, ModelError
from ascend_migrate.validators.onnx_original import OnnxOriginal
from ascend_migrate.validators.onnx_runner import OnnxRunner
from ascend_migrate.validators.original import NoExactTwinError

X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 12)
W = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: Sequence[int | str] = ("n", 12),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


def product(path: Path, **options: Any) -> Path:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Constant", [], ["third"], value_float=1 / 3),
        helper.make_node("Add", ["h", "third"], ["y"]),
    ]
    return save(path, nodes, {"w": W, "spare": W + 1}, **options)


def test_own_precision_twin_and_weights(tmp_path: Path) -> None:
    original = OnnxOriginal(product(tmp_path / "m.onnx"))
    expected = X.astype(np.float64) @ W.astype(np.float64) + np.float64(np.float32(1 / 3))
    own, exact = (run({"x": X})["y"] for run in (original.session(), original.exact()))
    assert own.dtype == np.float32
    assert exact.dtype == np.float64
    assert np.abs(exact - expected).max() < 1e-14
    assert np.abs(own - expected).max() < 1e-5
    found = original.weights({"x": X})
    assert {name: weight.used for name, weight in found.items()} == {"w": True, "spare": False}


def test_half_precision_graphs_are_widened_too(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    save(path, nodes, {"w": W.astype(np.float16)}, dtype=TensorProto.FLOAT16)
    x = X.astype(np.float16)
    exact = OnnxOriginal(path).exact()({"x": x})["y"]
    expected = x.astype(np.float64) @ W.astype(np.float16).astype(np.float64)
    assert np.abs(exact - expected).max() < 1e-14


def test_a_kernel_without_float64_is_left_to_the_reference(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((1, 12, 3)).astype(np.float32),
        "r": rng.standard_normal((1, 12, 3)).astype(np.float32),
    }
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)]
    save(path, nodes, weights, shape=(4, 2, 3))
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    original = OnnxOriginal(path)
    own, exact = original.session()({"x": x})["y"], original.exact()({"x": x})["y"]
    assert exact.dtype == np.float64
    assert 0 < np.abs(own - exact).max() < 1e-6


def test_subgraphs_and_casts_are_widened(tmp_path: Path) -> None:
    def branch(name: str, factor: float) -> onnx.GraphProto:
        value = numpy_helper.from_array(np.array(factor, np.float32), f"{name}_c")
        node = helper.make_node("Mul", ["wide", f"{name}_c"], [name])
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [out], [value])

    nodes = [
        helper.make_node("Cast", ["x"], ["ints"], to=TensorProto.INT64),
        helper.make_node("Cast", ["ints"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["wide"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["y"], then_branch=branch("a", 0.1), else_branch=branch("b", 0.7)
        ),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"zero": np.array(0, np.float32)})
    run = OnnxOriginal(path).exact()
    for sign, factor in ((1, 0.1), (-1, 0.7)):
        x = np.abs(X) * np.float32(sign)
        expected = np.trunc(x).astype(np.float64) * np.float64(np.float32(factor))
        assert np.abs(run({"x": x})["y"] - expected).max() < 1e-15


def test_scales_of_a_resize_stay_float32(tmp_path: Path) -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    path = save(tmp_path / "m.onnx", nodes, scales, shape=(1, 1, 2, 2))
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    exact = OnnxOriginal(path).exact()({"x": x})["y"]
    assert exact[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_data_that_cannot_be_float64_have_no_twin(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {})
    with pytest.raises(NoExactTwinError, match="DynamicQuantizeLinear takes no float64"):
        OnnxOriginal(path).exact()


def test_runner_names_what_does_not_fit(tmp_path: Path) -> None:
    path = product(tmp_path / "m.onnx")
    with OnnxRunner(path) as runner:
        assert runner.run({"x": X})["y"].shape == (2, 4)
        for feeds, said in (
            ({}, r"inputs missing: \['x'\]"),
            ({"x": X, "z": X}, r"not in the graph: \['z'\]"),
            ({"x": X[:, :5]}, "does not run it"),
            ({"x": X.astype(np.int64)}, "does not run it"),
        ):
            with pytest.raises(CheckError, match=said) as caught:
                runner.run(feeds)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07"])
def test_a_file_that_does_not_load_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckError, match="does not load it"):
        OnnxRunner(path)
    with pytest.raises(ModelError, match="does not load it"):
        OnnxOriginal(path).session()
