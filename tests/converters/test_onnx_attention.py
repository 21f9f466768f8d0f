from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from ascend_migrate.converters.torch_to_onnx import convert
from ascend_migrate.pipeline.inputs import parse_inputs


class Attention(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = (mask[:, None, None, :] > 0) & torch.ones(x.shape[1], x.shape[1]).tril().bool()
        y = x[:, None]
        return functional.scaled_dot_product_attention(y, y, y, attn_mask=hidden)


def test_a_row_that_sees_nothing_is_zero_as_in_pytorch(tmp_path: Path) -> None:
    inputs, faults = parse_inputs(
        ["x=float32[batch=1..4,time=2..8,4]", "mask=int64[batch,time]:0..1"]
    )
    assert not faults
    artifact = convert(Attention().eval(), inputs, tmp_path, weights=None, parent="")
    session = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    x = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]])
    (found,) = session.run(None, {"x": x.numpy(), "mask": mask.numpy()})
    expected = Attention()(x, mask).numpy()
    # The first two rows of the second sequence are padding on the left.
    assert not expected[1, 0, :2].any()
    assert np.abs(found - expected).max() < 1e-6
    # IsNaN would only hide that the mask is finite.
    assert "IsNaN" not in {n.op_type for n in onnx.load(artifact.path).graph.node}
