from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import parser
from tests.converters.exporting import export, specs
from torch import Tensor, nn
from torch.nn import functional

from ascend_migrate.converters import onnx_to_onnx


class Padded(nn.Module):
    """Zeros around what is negative: they are the largest wherever a window meets them."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 2)


SOURCE = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,1,2,2] x) => (float[1,1,2,2] y) <int64[8] pads = {0,0,1,1,0,0,1,1}> {
        padded = Pad(x, pads)
        y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(padded)
    }"""


@pytest.mark.parametrize("source", ["torch", "onnx"])
def test_zeros_around_an_image_count_in_a_maximum(source: str, tmp_path: Path) -> None:
    inputs = specs(["x=float32[1,1,2,2]"])
    if source == "torch":
        path = export(Padded(), inputs, tmp_path).path
    else:
        (tmp_path / "in").mkdir()
        given = tmp_path / "in/model.onnx"
        given.write_bytes(parser.parse_model(SOURCE).SerializeToString())
        path = onnx_to_onnx.convert(given, tmp_path, inputs=inputs, parent="p").path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = torch.tensor([[[[-1.0, -2.0], [-3.0, -4.0]]]])
    (found,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(found, Padded()(x).numpy())
    assert not found.any()
