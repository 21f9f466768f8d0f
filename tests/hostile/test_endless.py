"""A loop without an end is valid ONNX: the runtime that judges it is stopped."""

import time
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.validators import onnx_runner


def endless() -> bytes:
    def value(name: str, kind: int, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("v", TensorProto.FLOAT, [4]),
        ],
        [value("on", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, [4])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)],
        "g",
        [value("x", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, [4])],
        [numpy_helper.from_array(np.array(True), "true")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return model


def test_it_is_stopped() -> None:
    loaded = onnx_runner.session(endless(), "evil.onnx")
    begin = time.monotonic()
    with pytest.raises(CheckError, match=r"evil.onnx: no answer within 0.5 s"):
        onnx_runner.run(loaded, {"x": np.zeros(4, np.float32)}, "evil.onnx", 0.5)
    assert time.monotonic() - begin < 20
