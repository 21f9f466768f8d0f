"""Real exports: small models of each family, judged by onnxruntime against torch."""

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ascend_migrate.converters.onnx_for_atc import MODULE
from ascend_migrate.converters.torch_to_onnx import convert
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs
from ascend_migrate.pipeline.records import Artifact

# Float32 sums of a few hundred terms near 1, summed in another order: some 2**-24 each.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.norm(self.first(x)))))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2, padding=3)
        self.blocks = nn.Sequential(Block(32), Block(32))
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(image)).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor]:
        y, (h, c) = self.rnn(x, (h, c))
        # The reshape asks for the time dimension behind the layer, where it must still be dynamic.
        return {"logits": self.head(y.reshape(y.shape[0] * y.shape[1], 16)), "h": h, "c": c}


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 32)
        self.places = nn.Embedding(64, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, *ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(ids[0]) + self.places(torch.arange(ids[0].shape[1]))
        y = self.layers(x)
        return y, y.mean(1)


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.rnn(x)
        return y, h


@dataclass
class Case:
    build: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    sizes: tuple[dict[str, int], ...]
    outputs: list[str]
    operator: str
    """One that must be in the graph, whole."""


B3 = ({"n": 1}, {"n": 3}, {"n": 8})
BT3 = ({"n": 1, "t": 1}, {"n": 5, "t": 7}, {"n": 8, "t": 32})
CASES = {
    "resnet": Case(
        ResNet, ("image=float32[n=1..8,3,32,32]",), B3, ["output_0"], "BatchNormalization"
    ),
    "lstm": Case(
        Recurrent,
        ("x=float32[n=1..8,t=1..32,8]", "h=float32[2,n,16]", "c=float32[2,n,16]"),
        BT3,
        ["logits", "h_out", "c_out"],
        "LSTM",
    ),
    "gru": Case(Gru, ("x=float32[n=1..8,t=1..32,4]",), BT3, ["output_0", "output_1"], "GRU"),
    "encoder": Case(
        Encoder,
        ("ids=int64[n=1..8,t=1..32]:0..50",),
        BT3,
        ["output_0", "output_1"],
        "LayerNormalization",
    ),
}


def specs(texts: Sequence[str]) -> tuple[InputSpec, ...]:
    inputs, faults = parse_inputs(texts)
    assert not faults
    return inputs


def export(model: nn.Module, inputs: Sequence[InputSpec], folder: Path) -> Artifact:
    weights = folder / "model.safetensors"
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, weights)
    return convert(model.eval(), inputs, folder, weights=weights, parent="p")


def feeds(inputs: Sequence[InputSpec], sizes: dict[str, int]) -> dict[str, Tensor]:
    torch.manual_seed(5)
    return {
        item.name: torch.randint(0, int(item.high or 2), item.sizes(sizes))
        if item.dtype == "int64"
        else torch.randn(item.sizes(sizes))
        for item in inputs
    }


def run(path: Path, tensors: dict[str, Tensor]) -> list[np.ndarray[Any, Any]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, {k: v.numpy() for k, v in tensors.items()})]


@pytest.fixture(scope="module", params=list(CASES))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Case, nn.Module, Artifact]:
    case = CASES[request.param]
    torch.manual_seed(11)
    model = case.build().eval()
    return case, model, export(model, specs(case.inputs), tmp_path_factory.mktemp("export"))


Exported = tuple[Case, nn.Module, Artifact]


def test_same_answers_at_every_size(exported: Exported) -> None:
    case, model, artifact = exported
    for sizes in case.sizes:
        tensors = feeds(specs(case.inputs), sizes)
        with torch.no_grad():
            wanted = torch.utils._pytree.tree_leaves(model(*tensors.values()))
        found = run(artifact.path, tensors)
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other.numpy(), **CLOSE)


def test_graph_is_what_was_asked_for(exported: Exported) -> None:
    case, _, artifact = exported
    model = onnx.load(str(artifact.path), load_external_data=False)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert [value.name for value in model.graph.input] == [s.name for s in specs(case.inputs)]
    assert [value.name for value in model.graph.output] == case.outputs
    operators = {node.op_type for node in model.graph.node}
    assert case.operator in operators
    assert not {"Loop", "Scan", "CastLike", "Constant"} & operators
    assert not model.functions
    for value, item in zip(model.graph.input, specs(case.inputs), strict=True):
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
import torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_torch_to_onnx import CASES, export, specs
torch.manual_seed(11)
case = CASES["lstm"]
print(export(case.build(), specs(case.inputs), Path(sys.argv[2])).digest)
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _AGAIN, str(Path(__file__).parent), str(folder)],
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
        return torch.linalg.svd(x)[0]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FixedByPython(), "dynamic dimension(s) t would be fixed"),
        (DataDependent(), "data-dependent"),
        (NoOperator(), "_linalg_svd"),
    ],
    ids=["baked", "data-dependent", "operator"],
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
    assert list(tmp_path.iterdir()) == []


def test_a_baked_reshape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"dynamic dimension\(s\) n would"):
        convert(Baked(), specs(["x=float32[n=1..8,6]"]), tmp_path, weights=None, parent="p")


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
    found = run(artifact.path, {"x": x})
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
    assert np.array_equal(run(artifact.path, {"weight": x})[0], (x * torch.arange(400.0)).numpy())


class Keeps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
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


@pytest.mark.zoo
def test_attacut(tmp_path: Path) -> None:
    from importlib.util import find_spec

    from attacut.models import get_model

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"num_char_tokens": 139, "num_tokens": 6227}
            parts = "embc:32|embs:16|conv:64|l1:32|do:0.0"
            self.inner = get_model("seq_sy_ch_conv_concat")(sizes, parts)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner((x, None))
            return logits

    found = find_spec("attacut")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "artifacts/attacut-sc/model.pth"
    model = Wrapped()
    model.inner.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    inputs = specs(["x=int64[n=1..8,2,t=16..64]:0..138"])
    artifact = export(model, inputs, tmp_path)
    for sizes in ({"n": 1, "t": 16}, {"n": 3, "t": 33}, {"n": 8, "t": 64}):
        tensors = feeds(inputs, sizes)
        with torch.no_grad():
            wanted = model(tensors["x"])
        (found_logits,) = run(artifact.path, tensors)
        # Logits reach 50, where float32 sums differ by 2e-5 between two orders of summation.
        np.testing.assert_allclose(found_logits, wanted.numpy(), rtol=1e-4, atol=1e-4)
    assert artifact.path.stat().st_size < 64 << 10


@pytest.mark.zoo
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_transformers(tmp_path: Path, family: str) -> None:
    import transformers

    torch.manual_seed(2)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
    if family == "bert":
        model = transformers.BertModel(
            transformers.BertConfig(**small, intermediate_size=64, attn_implementation="eager")
        )
        inputs = specs(["input_ids=int64[n=1..8,t=1..32]:0..99", "attention_mask=int64[n,t]:0..2"])
    else:
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                **small, intermediate_size=64, use_cache=False, attn_implementation="eager"
            )
        )
        inputs = specs(["input_ids=int64[n=1..8,t=1..32]:0..99"])
    model.eval()
    artifact = export(model, inputs, tmp_path)
    for sizes in ({"n": 1, "t": 1}, {"n": 5, "t": 7}, {"n": 8, "t": 32}):
        tensors = feeds(inputs, sizes)
        if "attention_mask" in tensors:
            tensors["attention_mask"][:, 0] = 1
        with torch.no_grad():
            wanted = torch.utils._pytree.tree_leaves(model(**tensors))
        for one, other in zip(run(artifact.path, tensors), wanted, strict=True):
            np.testing.assert_allclose(one, other.numpy(), **CLOSE)
    names = [o.name for o in onnx.load(str(artifact.path), load_external_data=False).graph.output]
    assert names == (["last_hidden_state", "pooler_output"] if family == "bert" else ["logits"])
    assert artifact.path.stat().st_size < 128 << 10
