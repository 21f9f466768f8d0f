"""What must hold for every format: the way to safetensors, damage, and no torch on the way."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from tests.checkpoint.reference import BASE, bits
from tests.checkpoint.test_deepspeed import STATE as ZERO_STATE
from tests.checkpoint.test_deepspeed import write as write_deepspeed
from tests.checkpoint.test_distributed import dcp
from tests.checkpoint.test_gguf import gguf
from tests.checkpoint.test_megatron import STATE as MEGATRON_STATE
from tests.checkpoint.test_megatron import write as write_megatron
from tests.checkpoint.test_torch_tar import write_tar
from torch import nn

from ascend_migrate.converters.checkpoint_to_safetensors import convert
from ascend_migrate.pipeline.checkpoint import describe, open_checkpoint
from ascend_migrate.pipeline.errors import SourceError

STATE = {"a.weight": BASE[:2, :4].clone(), "a.bias": BASE[0, :4].clone(), "n": torch.tensor(3)}
jit: Any = torch.jit


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 2)
        self.a.bias = nn.Parameter(BASE[0, :4].clone())
        self.a.weight = nn.Parameter(BASE[:2, :4].clone())
        self.n = nn.Buffer(torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.a.weight.sum() + self.a.bias.sum() + self.n


def write_onnx(path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    tensors = [numpy_helper.from_array(t.numpy(), n) for n, t in STATE.items()]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out], tensors
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(proto, path, save_as_external_data=True, size_threshold=20)


def write_shards(folder: Path) -> None:
    folder.mkdir()
    for name, tensor in STATE.items():
        save_file({name: tensor}, folder / f"{name}.safetensors")
    table = {name: f"{name}.safetensors" for name in STATE}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def write_program(path: Path) -> None:
    torch.export.save(torch.export.export(Net(), (torch.ones(1),)), path)


def write_gguf(path: Path) -> None:
    kinds = {torch.float32: 0, torch.int64: 27}
    path.write_bytes(
        gguf(
            [
                (name, list(reversed(t.shape)), kinds[t.dtype], t.numpy().tobytes())
                for name, t in STATE.items()
            ]
        )
    )


WRITERS: dict[str, Callable[[Path], Any]] = {
    "torch-zip": lambda p: torch.save(STATE, p),
    "torch-legacy": lambda p: torch.save(STATE, p, _use_new_zipfile_serialization=False),
    "torch-tar": lambda p: write_tar(p, STATE),
    "safetensors": lambda p: save_file(STATE, p),
    "hugging-face": write_shards,
    "torchscript": lambda p: jit.script(Net()).save(str(p)),
    "torch-export": write_program,
    "npz": lambda p: np.savez(
        p.open("wb"), allow_pickle=False, **{n: t.numpy() for n, t in STATE.items()}
    ),
    "onnx": write_onnx,
    "torch-dcp": lambda p: dcp.save(STATE, checkpoint_id=p),
    "gguf": write_gguf,
    "deepspeed": lambda p: write_deepspeed(p, 3, 2),
    "megatron": lambda p: write_megatron(p, MEGATRON_STATE, 2, 2),
}

pytestmark = pytest.mark.filterwarnings("ignore")


def made(folder: Path, name: str) -> Path:
    path = folder / ("a.pt2" if name == "torch-export" else "a")
    WRITERS[name](path)
    return path


@pytest.mark.parametrize("name", WRITERS)
def test_to_safetensors(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name)
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == name
    (tmp_path / "out").mkdir()
    convert(checkpoint, tmp_path / "out")
    stored = load_file(tmp_path / "out/model.safetensors")
    tied = {alias for group in checkpoint.shared for alias in group[1:]}
    expected = {"deepspeed": ZERO_STATE, "megatron": MEGATRON_STATE}.get(name, STATE)
    assert set(stored) == set(expected) - tied
    for key, tensor in stored.items():
        assert tensor.dtype == expected[key].dtype
        assert tensor.shape == expected[key].shape
        assert bits(tensor) == bits(expected[key])


def largest(path: Path) -> Path:
    """Returns the file that says what is where."""
    if path.is_file():
        return path
    order = (".metadata", "model.safetensors.index.json")
    named = [path / name for name in order if (path / name).exists()]
    return named[0] if named else sorted(path.rglob("*optim*.pt"))[-1]


@pytest.mark.parametrize("name", WRITERS)
def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path, name: str) -> None:
    """Whatever the damage: a SourceError of one line, or a checkpoint that can be read."""
    path = made(tmp_path, name)
    target = largest(path)
    data = target.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 200)):
        target.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        with suppress(SourceError):
            checkpoint = open_checkpoint(path)
            for tensor in checkpoint.tensors:
                checkpoint.read(tensor)


@pytest.mark.parametrize("name", WRITERS)
def test_truncations_are_refused(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name)
    target = largest(path)
    data = target.read_bytes()
    for size in range(0, len(data), max(1, len(data) // 40)):
        target.write_bytes(data[:size])
        with pytest.raises(SourceError):
            describe_and_read(path)


def describe_and_read(path: Path) -> None:
    checkpoint = open_checkpoint(path)
    for name in checkpoint.tensors:
        checkpoint.read(name)


def test_torch_is_not_needed(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in WRITERS}
    for folder in folders.values():
        folder.mkdir()
    paths = [str(made(folder, name)) for name, folder in folders.items()]
    code = (
        "import sys, pathlib, ascend_migrate.pipeline.checkpoint as c\n"
        "for path in map(pathlib.Path, sys.argv[1:]):\n"
        "    opened = c.open_checkpoint(path)\n"
        "    [opened.read(name) for name in opened.tensors]\n"
        "    c.describe(path)\n"
        "print(sorted({'torch', 'mindspore', 'prefect', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_reader_is_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"of no known format")
    with pytest.raises(SourceError) as caught:
        describe(tmp_path / "a")
    known = set(str(caught.value).partition("known: ")[2].partition(";")[0].split(", "))
    folders = {"hugging-face", "torch-dcp", "deepspeed", "megatron"}
    assert known == (set(WRITERS) - folders) | {"hugging-face-index"}
