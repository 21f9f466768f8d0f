"""The models that are measured."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, save_model


def bert_base(layers: int = 12) -> Any:
    """BERT-base as transformers builds it: 110 M parameters, seeded."""
    import torch

    transformers: Any = import_module("transformers")  # installed for `make zoo` only, and untyped
    torch.manual_seed(3)
    config = transformers.BertConfig(num_hidden_layers=layers)
    return transformers.BertModel(config).eval()


def small_bert() -> Any:
    """BERT of 4 layers of 128 numbers, 1,000 tokens."""
    import torch

    transformers: Any = import_module("transformers")
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
    )
    return transformers.BertModel(config, add_pooling_layer=False).eval()


def nothing(_doing: Any) -> None:
    """Called apart, has the server import what the calls after it need."""


BERT_INPUTS = (
    "input_ids=int64[batch=1..2,time=8..64]:0..30521",
    "attention_mask=int64[batch,time]:0..1",
    "token_type_ids=int64[batch,time]:0..1",
)

WEIGHTS = "model.safetensors"


def matmuls(folder: Path, count: int, size: int) -> Path:
    """Writes ``count`` square float32 products one after another, their weights in a second file.

    Only one weight is ever held.
    """
    rng = np.random.default_rng(0)
    nodes, weights, length = [], [], 4 * size * size
    with (folder / WEIGHTS).open("wb") as stream:
        for index in range(count):
            # Values that neither grow nor vanish from layer to layer.
            values = rng.standard_normal((size, size), dtype=np.float32) / np.float32(size**0.5)
            stream.write(values.data)
            tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=(size, size))
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": WEIGHTS, "offset": str(index * length), "length": str(length)}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=value)
            weights.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"y{index}", f"w{index}"], [f"y{index + 1}"]))
    graph = helper.make_graph(
        nodes,
        "matmuls",
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, [2, size])],
        [helper.make_tensor_value_info(f"y{count}", TensorProto.FLOAT, [2, size])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / "model.onnx"
    save_model(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def product(folder: Path, count: int, size: int, x: np.ndarray) -> np.ndarray:
    """What the model computes of ``x``, in float64; one weight is held at a time."""
    stored = np.memmap(folder / WEIGHTS, np.float32, "r", shape=(count, size, size))
    found = x.astype(np.float64)
    for values in stored:
        found = found @ values.astype(np.float64)
    return found
