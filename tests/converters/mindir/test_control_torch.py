"""Branches and loops as torch exports them, by torch.export and from TorchScript."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.converters.oracle import assert_same, run_onnx
from torch import nn

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner


class Choice(nn.Module):
    """torch.cond with weights of its own in each branch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: self.a(x).relu(), lambda x: self.b(x) + x, (x,))


class Rows(nn.Module):
    """A loop over a dynamic dimension, with branches inside."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        for i in range(x.size(0)):
            if x[i].sum() > 0:  # noqa: SIM108 - TorchScript compiles what is written
                h = torch.tanh(self.l(h) + x[i])
            else:
                h = h - x[i]
        return h


class Greedy(nn.Module):
    """A decoder whose sequence grows by one token in each trip."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.l = nn.Embedding(11, 8), nn.Linear(8, 11)

    def forward(self, ids: torch.Tensor, n: int) -> torch.Tensor:
        for _ in range(n):
            following = self.l(self.e(ids).mean(1)).argmax(-1, keepdim=True)
            ids = torch.cat([ids, following], 1)
        return ids


class Collect(nn.Module):
    """A Python list of tensors, which becomes a sequence."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for i in range(x.size(0)):
            found.append(x[i] * 2.0)  # noqa: PERF401 - the loop is what is tested
        return torch.stack(found)


class Halve(nn.Module):
    """A while loop that ends for a reason in the data, or after 50 trips."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        k = 0
        while bool(x.abs().max() > 1.0) and k < 50:
            x = x / 2
            k += 1
        return x, k


def exported(
    model: nn.Module, example: Sequence[Any], dynamic: dict[str, dict[int, str]], path: Path
) -> onnx.ModelProto:
    script = torch.jit.script(model.eval())
    names = list(dict.fromkeys([*dynamic, "other"]))[: len(example)]
    torch.onnx.export(
        script,
        tuple(example),
        path,
        dynamo=False,
        opset_version=17,
        input_names=names,
        dynamic_axes=dynamic,
    )
    return onnx.load(path)


def check(
    model: onnx.ModelProto,
    calls: Sequence[Sequence[np.ndarray]],
    folder: Path,
    process: MindSporeProcess,
) -> None:
    onnx.save(model, folder / "model.onnx")
    artifact = convert(folder / "model.onnx", folder, inputs=(), parent="p")
    runner = MindSporeRunner(artifact, process=process)
    for call in calls:
        feeds = dict(zip((i.name for i in model.graph.input), call, strict=True))
        assert_same(list(runner.run(feeds).values()), run_onnx(model, feeds))


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


SCRIPTS: dict[str, tuple[type[nn.Module], Sequence[Any], Any, Any]] = {
    "rows": (
        Rows,
        (torch.randn(5, 4), torch.randn(4)),
        {"x": {0: "t"}},
        [(floats(5, 4), floats(4)), (floats(9, 4), floats(4))],
    ),
    "greedy": (
        Greedy,
        (torch.tensor([[1, 2, 3]]), torch.tensor(4)),
        {"ids": {1: "t"}},
        [(np.array([[1, 2, 3]]), np.array(4)), (np.array([[1, 2]]), np.array(7))],
    ),
    "collect": (Collect, (torch.randn(5, 4),), {"x": {0: "t"}}, [(floats(5, 4),), (floats(8, 4),)]),
    "halve": (
        Halve,
        (torch.randn(5, 4),),
        {"x": {0: "t"}},
        [(floats(5, 4) * 100,), (floats(8, 4) * 0.1,)],
    ),
}


@pytest.mark.mindspore
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCRIPTS)
def test_torch_script(name: str, tmp_path: Path, mindspore_process: MindSporeProcess) -> None:
    build, example, dynamic, calls = SCRIPTS[name]
    torch.manual_seed(0)
    model = exported(build(), example, dynamic, tmp_path / "script.onnx")
    check(model, calls, tmp_path, mindspore_process)


@pytest.mark.mindspore
@pytest.mark.filterwarnings("ignore")
def test_torch_cond(tmp_path: Path, mindspore_process: MindSporeProcess) -> None:
    torch.manual_seed(0)
    program = torch.onnx.export(
        Choice().eval(),
        (torch.randn(2, 4),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        opset_version=18,
        verbose=False,
    )
    assert program is not None
    calls = [(floats(2, 4),), (-abs(floats(3, 4)),), (abs(floats(5, 4)),)]
    check(program.model_proto, calls, tmp_path, mindspore_process)
