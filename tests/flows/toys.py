"""A folder as a user has it: a checkpoint, the code of its models, an ONNX file, specifications."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

CODE = '''
import torch
from torch import nn


class Toy(nn.Module):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Stateful(Toy):
    """Keeps state on self, which no exported graph does."""

    def __init__(self):
        super().__init__()
        self.state = torch.zeros(2)

    def forward(self, x):
        self.state = 0.5 * self.state + super().forward(x).mean(0)
        return super().forward(x) + self.state


class Gated(Toy):
    """Its second layer takes part only when the input is low as a whole."""

    def forward(self, x):
        gate = torch.relu(-4.5 - x.mean())
        return torch.tanh(self.first(x))[:, :2] + gate * self.second(self.first(x))


class Raises(Toy):
    """Fails when it is called."""

    def forward(self, x):
        raise ValueError("two\\nlines")


def broken():
    """Fails when it is built."""
    raise RuntimeError("cannot build")


def number():
    """Returns no model."""
    return 3
'''

X = "x=float32[n=1..4,3]"
ALL = ("safetensors", "onnx", "mindir")
COMMAND = Path(sys.executable).with_name("ascend-migrate")

_numbers = itertools.count()


class Home:
    """The folder, and ways to ask for something in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / "toy.pt"
        self.nested = folder / "nested.pt"
        self.graph = folder / "graph.onnx"
        (folder / "toy_models.py").write_text(CODE)
        generator = torch.Generator().manual_seed(0)
        sizes = {"first.weight": (4, 3), "first.bias": (4,), "second.weight": (2, 4)}
        sizes["second.bias"] = (2,)
        state = {name: torch.randn(*size, generator=generator) for name, size in sizes.items()}
        torch.save(state, self.checkpoint)
        other = {name: value / 2 for name, value in state.items()}
        torch.save({"generator": state, "critic": other, "step": 3}, self.nested)
        onnx.save(_graph(), self.graph)

    def spec(
        self,
        registry: Path,
        *,
        to: tuple[str, ...] = ALL,
        model: str | None = "Toy",
        source: Path | None = None,
        more: str = "",
    ) -> Path:
        """Writes a specification; ``more`` are further tables."""
        source = source or self.checkpoint
        lines = ['name = "toy"', f"to = {json.dumps(to)}", f'registry = "{registry}"']
        if model:
            lines.append(f"inputs = {json.dumps([X])}")
        lines += ["[source]", f'path = "{source}"']
        if model:
            lines += ["[model]", f'callable = "toy_models:{model}"']
        path = self.folder / f"spec-{next(_numbers)}.toml"
        path.write_text("\n".join([*lines, more]))
        return path

    def options(self, model: str = "Toy") -> list[str]:
        """Options that describe the model without a specification."""
        return ["--model", f"toy_models:{model}", "--input", X]


def _graph() -> onnx.ModelProto:
    """A layer of 16 by 32 numbers, of which the weight is worth a file of its own."""
    weight = np.linspace(-1, 1, 16 * 32, dtype=np.float32).reshape(16, 32)
    bias = np.linspace(0, 1, 32, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 32])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test"
    )


def command(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Runs the installed command to its end, as a user would."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def started(*arguments: object, cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    """Starts the installed command; its progress can be read line by line."""
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
