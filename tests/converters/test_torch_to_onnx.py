"""Real exports: the form of the graph, what it refuses, and recurrent layers kept whole."""

import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.architectures import ARCHITECTURES, Architecture
from tests.converters.exporting import (
    ONNXRUNTIME,
    Original,
    all_sizes,
    arrays,
    export,
    feeds,
    specs,
)
from tests.converters.oracle import run_onnx
from tests.converters.recurrent_models import RECURRENT
from torch import Tensor, nn

from ascend_migrate.converters.torch_to_onnx import convert
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.precision import MODULE
from ascend_migrate.pipeline.records import Artifact


@dataclass(frozen=True)
class Case:
    """A model, the names of its outputs, and an operator that must be in the graph, whole."""

    architecture: Architecture
    outputs: list[str]
    operator: str

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return specs(self.architecture.inputs)


CASES = {
    "resnet": Case(ARCHITECTURES["resnet"], ["output_0"], "BatchNormalization"),
    "bert": Case(ARCHITECTURES["bert"], ["output_0"], "LayerNormalization"),
    "lstm": Case(RECURRENT["lstm"], ["logits", "h_out", "c_out"], "LSTM"),
    "gru": Case(RECURRENT["gru"], ["output_0", "output_1"], "GRU"),
}


Exported = tuple[Case, nn.Module, Artifact]


@pytest.fixture(scope="module", params=list(CASES))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    case = CASES[request.param]
    model = case.architecture.build()
    return case, model, export(model, case.inputs, tmp_path_factory.mktemp("export"))


def test_same_answers_at_every_size(exported: Exported) -> None:
    case, model, artifact = exported
    original = Original(model)
    for sizes in all_sizes(case.inputs):
        tensors = feeds(case.inputs, sizes)
        original.assert_close(tensors, run_onnx(artifact.path, arrays(tensors)), ONNXRUNTIME)


def test_graph_is_what_was_asked_for(exported: Exported) -> None:
    case, _, artifact = exported
    model = onnx.load(str(artifact.path), load_external_data=False)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert [value.name for value in model.graph.input] == [s.name for s in case.inputs]
    assert [value.name for value in model.graph.output] == case.outputs
    operators = {node.op_type for node in model.graph.node}
    assert case.operator in operators
    assert not {"Loop", "Scan", "CastLike", "Constant"} & operators
    assert not model.functions
    for value, item in zip(model.graph.input, case.inputs, strict=True):
        dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert dims == [s if isinstance(s, int) else s.name for s in item.shape]


def test_weights_are_stored_once(exported: Exported) -> None:
    _, model, artifact = exported
    graph = onnx.load(str(artifact.path), load_external_data=False).graph
    shared = {tensor.name for tensor in graph.initializer if tensor.external_data}
    floats = {name for name, value in model.state_dict().items() if value.is_floating_point()}
    assert shared == floats
    assert artifact.path.stat().st_size < 64 << 10
    assert [entry.path for entry in artifact.files] == ["model.onnx", "model.safetensors"]
    assert any("bytes of weights are shared" in note for note in artifact.notes)


def test_no_trace_of_the_machine(exported: Exported) -> None:
    _, _, artifact = exported
    raw = artifact.path.read_bytes()
    for trace in (b".py", b"site-packages", str(Path.home()).encode(), str(Path.cwd()).encode()):
        assert trace not in raw
    graph = onnx.load(str(artifact.path), load_external_data=False).graph
    keys = {entry.key for node in graph.node for entry in node.metadata_props}
    assert keys <= {MODULE}


_AGAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.converters.exporting import export
from tests.converters.test_torch_to_onnx import CASES
case = CASES["lstm"]
print(export(case.architecture.build(), case.inputs, Path(sys.argv[2])).digest)
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _AGAIN, str(Path(__file__).parents[2]), str(folder)],
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        )
        digests.add(done.stdout.strip())
        assert done.stderr == ""
        assert {p.name for p in folder.iterdir()} == {"model.onnx", "model.safetensors"}
    assert len(digests) == 1


class Baked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(3, 6) + 1  # 3 is the example's size of the dimension n


class FixedByPython(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tensor(list(range(int(x.shape[1])))).sum()


class DataDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class NoOperator(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        left: Tensor = torch.linalg.svd(x)[0]
        return left


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.LSTM(1, 4, batch_first=True, proj_size=2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x[:, :, None])[0]
        return y


class Brain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv1d(1, 1, 2).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x[:, None].bfloat16())
        return y


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FixedByPython(), "dynamic dimension(s) t would be fixed"),
        (DataDependent(), "data-dependent"),
        (NoOperator(), "_linalg_svd"),
        (Projected(), "an LSTM with proj_size has no counterpart in ONNX"),
        (Brain(), "publish MindIR alone, or give the model float32 weights"),
    ],
    ids=["baked", "data-dependent", "operator", "projection", "bfloat16"],
)
def test_refusals_are_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], model: nn.Module, said: str
) -> None:
    with pytest.raises(ConversionError) as caught:
        convert(model, specs(["x=float32[n=1..8,t=2..9]"]), tmp_path, weights=None, parent="p")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert capfd.readouterr() == ("", "")


def test_a_baked_reshape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"dynamic dimension\(s\) n would"):
        convert(Baked(), specs(["x=float32[n=1..8,6]"]), tmp_path, weights=None, parent="p")


class AtLeastThree(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (2, 2), mode="reflect")


def test_sizes_that_the_model_cannot_take_are_refused(tmp_path: Path) -> None:
    said = r"cannot take every declared size: t needs 3 <= x\.shape\[1\].*; narrow the range"
    with pytest.raises(ConversionError, match=said):
        convert(
            AtLeastThree(), specs(["x=float32[n=1..8,t=2..9]"]), tmp_path, weights=None, parent="p"
        )
    inputs = specs(["x=float32[n=1..8,t=3..9]"])
    artifact = convert(AtLeastThree(), inputs, tmp_path, weights=None, parent="p")
    for sizes in all_sizes(inputs):
        tensors = feeds(inputs, sizes)
        found = run_onnx(artifact.path, arrays(tensors))
        np.testing.assert_array_equal(found[0], AtLeastThree()(tensors["x"]).numpy())


class OneApart(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[0] == 1 else -x


def test_a_special_size_is_noted(tmp_path: Path) -> None:
    artifact = convert(OneApart(), specs(["x=float32[n=1..8]"]), tmp_path, weights=None, parent="p")
    assert artifact.notes[0].endswith("n needs x.shape[0] != 1.")


class Echo(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, None, Tensor]:
        y = x + 1
        return x, y, None, y


def test_outputs_that_are_inputs_or_twice(tmp_path: Path) -> None:
    artifact = convert(Echo(), specs(["x=float32[n=1..8]"]), tmp_path, weights=None, parent="p")
    x = torch.arange(3.0)
    found = run_onnx(artifact.path, {"x": x.numpy()})
    assert [y.tolist() for y in found] == [[0, 1, 2], [1, 2, 3], [1, 2, 3]]


class Clash(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(400.0))

    def forward(self, weight: Tensor) -> dict[str, Tensor]:
        return {"weight": weight * self.weight, "a b": weight + 1}


def test_names_that_clash(tmp_path: Path) -> None:
    artifact = export(Clash(), specs(["weight=float32[n=1..8,400]"]), tmp_path)
    graph = onnx.load(str(artifact.path), load_external_data=False).graph
    assert [value.name for value in graph.input] == ["weight"]
    assert [value.name for value in graph.output] == ["weight_out", "a_b"]
    shared = [tensor.name for tensor in graph.initializer if tensor.external_data]
    assert shared == ["weight.tensor"]
    x = torch.ones(2, 400)
    found = run_onnx(artifact.path, {"weight": x.numpy()})
    assert np.array_equal(found[0], (x * torch.arange(400.0)).numpy())


class Keeps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count: Tensor
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x + self.count


def test_state_is_noted(tmp_path: Path) -> None:
    artifact = export(Keeps(), specs(["x=float32[n=1..8]"]), tmp_path)
    assert any("changes its own state at each call (count)" in note for note in artifact.notes)


def test_logging_is_as_before(tmp_path: Path) -> None:
    convert(Echo(), specs(["x=float32[n=1..8]"]), tmp_path, weights=None, parent="p")
    assert logging.root.manager.disable == logging.NOTSET
