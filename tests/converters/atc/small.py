"""A small model, and the specification of its migration."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SPEC = """
name = "small"
to = ["onnx"]
inputs = ["x=float32[n=1|2|4,3]"]
[source]
path = "model.onnx"
[validation]
cases = 2
"""


def write_model(path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.standard_normal((3, 8)).astype(np.float32),
        "second": rng.standard_normal((8, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"], "one"),
        helper.make_node("Tanh", ["a"], ["b"], "two"),
        helper.make_node("MatMul", ["b", "second"], ["y"], "three"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
