"""A BERT and a Llama of four layers and width 128 as ONNX files, written without torch.

Random weights of trained size: what matters here is what a ledger and outputs see of them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, LAYERS, HEADS, WORDS, PLACES = 128, 4, 4, 1000, 32
SIZE = WIDTH // HEADS

INPUTS = ("input_ids=int64[batch=1..2,time=2..8]:0..999",)


class Graph:
    """Nodes and weights, as they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self._random = np.random.default_rng(seed)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def ints(self, *numbers: int) -> str:
        array = np.array(numbers, np.int64)
        return self.op("Constant", value=numpy_helper.from_array(array))

    def matrix(self, name: str, *shape: int) -> str:
        gain = 1.0 / np.sqrt(shape[0])
        self.weights[name] = (self._random.normal(size=shape) * gain).astype(np.float32)
        return name

    def vector(self, name: str, low: float, high: float, size: int = WIDTH) -> str:
        self.weights[name] = self._random.uniform(low, high, size).astype(np.float32)
        return name

    def linear(self, x: str, name: str, inner: int, outer: int, *, bias: bool) -> str:
        y = self.op("MatMul", x, self.matrix(f"{name}.weight", inner, outer))
        if not bias:
            return y
        return self.op("Add", y, self.vector(f"{name}.bias", -0.3, 0.3, outer))

    def heads(self, x: str, count: int) -> str:
        split = self.op("Reshape", x, self.ints(0, 0, count, SIZE))
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def attention(self, q: str, k: str, v: str) -> str:
        scale = self.op("Constant", value_float=SIZE**-0.5)
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        shares = self.op("Softmax", self.op("Mul", scores, scale), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", shares, v), perm=[0, 2, 1, 3])
        return self.op("Reshape", mixed, self.ints(0, 0, WIDTH))

    def save(self, path: Path, result: str, outer: int) -> None:
        self.nodes.append(helper.make_node("Identity", [result], ["logits"], name="logits_copy"))
        given = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "time"])
        shape: list[str | int | None] = ["batch", "time", outer]
        made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
        tensors = [numpy_helper.from_array(a, n) for n, a in self.weights.items()]
        graph = helper.make_graph(self.nodes, "model", [given], [made], tensors)
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def bert(path: Path) -> dict[str, np.ndarray]:
    """Learned places, layer normalisation, biases, GELU, three labels for each word."""
    g = Graph(1)
    length = g.op("Gather", g.op("Shape", "input_ids"), g.ints(1))
    zeros = g.ints(0)
    places = g.op("Slice", g.matrix("places.weight", PLACES, WIDTH), zeros, length, zeros)
    x = g.op("Add", g.op("Gather", g.matrix("words.weight", WORDS, WIDTH), "input_ids"), places)

    def norm(y: str, name: str) -> str:
        gain, bias = g.vector(f"{name}.weight", 0.5, 1.5), g.vector(f"{name}.bias", -0.3, 0.3)
        return g.op("LayerNormalization", y, gain, bias, epsilon=1e-12)

    for layer in range(LAYERS):
        at = f"layers.{layer}"
        q, k, v = (
            g.heads(g.linear(x, f"{at}.{part}", WIDTH, WIDTH, bias=True), HEADS)
            for part in ("query", "key", "value")
        )
        y = g.linear(g.attention(q, k, v), f"{at}.output", WIDTH, WIDTH, bias=True)
        x = norm(g.op("Add", x, y), f"{at}.attention_norm")
        y = g.linear(x, f"{at}.up", WIDTH, 2 * WIDTH, bias=True)
        y = g.op("Mul", y, g.op("Sigmoid", y))
        y = g.linear(y, f"{at}.down", 2 * WIDTH, WIDTH, bias=True)
        x = norm(g.op("Add", x, y), f"{at}.norm")
    g.save(path, g.linear(x, "head", WIDTH, 3, bias=True), 3)
    return g.weights


def llama(path: Path) -> dict[str, np.ndarray]:
    """Root-mean-square normalisation, shared keys and values, a gated block, words as output."""
    g = Graph(2)
    x = g.op("Gather", g.matrix("words.weight", WORDS, WIDTH), "input_ids")

    def norm(y: str, name: str) -> str:
        mean = g.op("ReduceMean", g.op("Mul", y, y), axes=[-1])
        small = g.op("Constant", value_float=1e-6)
        y = g.op("Div", y, g.op("Sqrt", g.op("Add", mean, small)))
        return g.op("Mul", y, g.vector(f"{name}.weight", 0.5, 1.5))

    def shared(y: str) -> str:
        y = g.op("Unsqueeze", g.heads(y, HEADS // 2), g.ints(2))
        y = g.op("Concat", y, y, axis=2)
        return g.op("Reshape", y, g.ints(0, HEADS, -1, SIZE))

    for layer in range(LAYERS):
        at = f"layers.{layer}"
        y = norm(x, f"{at}.attention_norm")
        q = g.heads(g.linear(y, f"{at}.q_proj", WIDTH, WIDTH, bias=False), HEADS)
        k, v = (
            shared(g.linear(y, f"{at}.{part}", WIDTH, WIDTH // 2, bias=False))
            for part in ("k_proj", "v_proj")
        )
        y = g.linear(g.attention(q, k, v), f"{at}.o_proj", WIDTH, WIDTH, bias=False)
        x = g.op("Add", x, y)
        y = norm(x, f"{at}.norm")
        gate, up = (
            g.linear(y, f"{at}.{part}", WIDTH, 2 * WIDTH, bias=False) for part in ("gate", "up")
        )
        y = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
        x = g.op("Add", x, g.linear(y, f"{at}.down", 2 * WIDTH, WIDTH, bias=False))
    g.save(path, g.linear(norm(x, "norm"), "head", WIDTH, WORDS, bias=False), WORDS)
    return g.weights


MODELS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {"bert": bert, "llama": llama}
