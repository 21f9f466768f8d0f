"""Files that torch itself wrote, read back without torch and compared bit for bit."""

import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ascend_migrate.pipeline.checkpoint import Checkpoint, describe, open_checkpoint
from ascend_migrate.pipeline.digest import file_digest

SEED = torch.Generator().manual_seed(7)
BASE = torch.randn(6, 8, generator=SEED)

TENSORS: dict[str, torch.Tensor] = {
    "float64": BASE.double(),
    "float32": BASE,
    "float16": BASE.half(),
    "bfloat16": BASE.bfloat16(),
    "float8_e4m3fn": BASE.to(torch.float8_e4m3fn),
    "float8_e5m2": BASE.to(torch.float8_e5m2),
    "complex64": torch.complex(BASE, -BASE),
    "int64": torch.arange(-5, 5),
    "int32": torch.arange(-5, 5, dtype=torch.int32),
    "int16": torch.arange(-5, 5, dtype=torch.int16),
    "int8": torch.arange(-5, 5, dtype=torch.int8),
    "uint8": torch.arange(0, 10, dtype=torch.uint8),
    "uint16": torch.arange(0, 10).to(torch.uint16),
    "bool": BASE > 0,
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "transposed": BASE.T,
    "sliced": BASE[1:5:2, 2:7],
    "expanded": BASE[0, :1].expand(4, 3),
    "specials": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    "parameter": nn.Parameter(BASE.clone()),
}


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


def assert_equal(checkpoint: Checkpoint, expected: dict[str, torch.Tensor]) -> None:
    assert list(checkpoint.tensors) == list(expected)
    for name, tensor in expected.items():
        array = checkpoint.read(name)
        assert checkpoint.tensors[name].dtype == str(tensor.dtype).removeprefix("torch.")
        assert array.shape == tuple(tensor.shape)
        assert array.tobytes() == bits(tensor)
        assert array.flags.c_contiguous
        assert not array.flags.writeable


def save(value: Any, path: Path, *, legacy: bool = False, protocol: int = 2) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", TENSORS)
def test_each_kind_of_tensor(tmp_path: Path, name: str, legacy: bool) -> None:
    path = save({name: TENSORS[name]}, tmp_path / "a.pt", legacy=legacy)
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == ("torch-legacy" if legacy else "torch-zip")
    assert_equal(checkpoint, {name: TENSORS[name]})
    assert checkpoint.digest == file_digest(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True])
def test_every_pickle_protocol(tmp_path: Path, legacy: bool, protocol: int) -> None:
    state = nn.Sequential(nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), nn.LSTM(4, 5)).state_dict()
    path = save(state, tmp_path / "a.pth", legacy=legacy, protocol=protocol)
    assert_equal(open_checkpoint(path), dict(state))


@pytest.mark.parametrize("legacy", [False, True])
def test_device_tags_need_no_device(
    tmp_path: Path, legacy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:7")
    path = save({"w": BASE}, tmp_path / "a.pt", legacy=legacy)
    checkpoint = open_checkpoint(path)
    assert checkpoint.tensors["w"].device == "cuda:7"
    assert_equal(checkpoint, {"w": BASE})
    assert describe(path)["devices"] == {"cuda:7": 1}


@pytest.mark.parametrize("legacy", [False, True])
def test_tied_and_overlapping_tensors(tmp_path: Path, legacy: bool) -> None:
    state = {"a": BASE, "b": BASE, "part": BASE[2:], "other": BASE.clone(), "turned": BASE.T}
    checkpoint = open_checkpoint(save(state, tmp_path / "a.pt", legacy=legacy))
    assert checkpoint.shared == (("a", "b"),)
    assert any("'part'" in note and "overlap" in note for note in checkpoint.notes)
    assert_equal(checkpoint, state)


def test_deflated_records(tmp_path: Path) -> None:
    path = save({"w": torch.zeros(1000)}, tmp_path / "a.pt")
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    assert packed.stat().st_size < 2000
    assert_equal(open_checkpoint(packed), {"w": torch.zeros(1000)})


def test_numpy_scalars_and_devices_are_left_out(tmp_path: Path) -> None:
    path = save(
        {"model": {"w": BASE}, "loss": np.float64(0.5), "at": torch.device("cuda", 1), "step": 3},
        tmp_path / "a.pt",
    )
    checkpoint = open_checkpoint(path)
    assert checkpoint.key == "model"
    assert checkpoint.extra == (
        "loss: Python object 'numpy._core.multiarray.scalar', left out",
        "at: Python object 'torch.device', left out",
        "step: int, left out",
    )


def test_state_dict_metadata_does_not_disturb(tmp_path: Path) -> None:
    state = OrderedDict(w=BASE)
    state._metadata = OrderedDict({"": {"version": 2}})  # type: ignore[attr-defined]
    assert_equal(open_checkpoint(save(state, tmp_path / "a.pt")), {"w": BASE})


def test_files_of_python_2(tmp_path: Path) -> None:
    # As Python 2 wrote them: byte strings for names, OrderedDict([[name, value]]), tensor v1.
    program = (
        b"\x80\x02ccollections\nOrderedDict\n(]q\x01(]q\x02(U\x01wctorch._utils\n_rebuild_tensor\n"
        b"((U\x07storagectorch\nFloatStorage\nU\x0242U\x06cuda:0K\x02NtQK\x00K\x02\x85K\x01\x85tRee"
        b"tR."
    )
    head = b"".join(
        [
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
            b"\x80\x02M\xe9\x03.",
            b"\x80\x02}U\rlittle_endian\x88s.",
            program,
            b"\x80\x02](U\x0242e.",
        ]
    )
    values = np.array([1.5, -2.0], "<f4").tobytes()
    path = tmp_path / "old.pth"
    path.write_bytes(head + (2).to_bytes(8, "little") + values)
    checkpoint = open_checkpoint(path)
    assert checkpoint.tensors["w"].device == "cuda:0"
    assert checkpoint.read("w").tolist() == [1.5, -2.0]


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys;"
        "import ascend_migrate.pipeline.checkpoint as c, pathlib;"
        "c.describe(pathlib.Path(sys.argv[1]));"
        "print(sorted({'torch', 'onnx', 'mindspore', 'prefect'} & set(sys.modules)))"
    )
    path = save({"w": BASE}, tmp_path / "a.pt")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
