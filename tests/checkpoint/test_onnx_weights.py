"""ONNX files as checkpoints: each initializer as the reference reader gives it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.checkpoint.reference import assert_refused

from ascend_migrate.pipeline.checkpoint import describe, open_checkpoint
from ascend_migrate.pipeline.dtypes import BY_ONNX

TEXTS: Any = [b"x"]
BASE = np.arange(-6, 18).reshape(4, 6) / 4


def model(tensors: list[TensorProto]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value], [out], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def written(tensors: list[TensorProto], path: Path) -> Path:
    path.write_bytes(model(tensors).SerializeToString())
    return path


def typed(raw: bool) -> list[TensorProto]:
    """One tensor of every element type that we know."""
    found = []
    for number, dtype in BY_ONNX.items():
        kind = helper.tensor_dtype_to_np_dtype(number)
        values = (np.abs(BASE) if dtype.name.startswith(("u", "float8_e8")) else BASE).astype(kind)
        if raw:
            found.append(numpy_helper.from_array(values, dtype.name))
        else:
            found.append(helper.make_tensor(dtype.name, number, values.shape, values.reshape(-1)))
    return found


@pytest.mark.parametrize("raw", [True, False])
def test_every_element_type(tmp_path: Path, raw: bool) -> None:
    tensors = typed(raw)
    checkpoint = open_checkpoint(written(tensors, tmp_path / "a.onnx"))
    assert list(checkpoint.tensors) == [t.name for t in tensors]
    for tensor in tensors:
        reference = numpy_helper.to_array(tensor)
        array = checkpoint.read(tensor.name)
        assert array.shape == reference.shape
        assert array.tobytes() == reference.tobytes()
    assert describe(tmp_path / "a.onnx")["problem"] == ""


def test_scalars_and_empty_tensors(tmp_path: Path) -> None:
    arrays = {"s": np.float32(2.5), "e": np.empty((0, 3), np.float32), "i": np.int64(-1)}
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()]
    checkpoint = open_checkpoint(written(tensors, tmp_path / "a.onnx"))
    assert {n: checkpoint.read(n).tolist() for n in arrays} == {"s": 2.5, "e": [], "i": -1}


def test_external_data(tmp_path: Path) -> None:
    arrays = {f"w{i}": BASE.astype(np.float32) + i for i in range(5)}
    proto = model([numpy_helper.from_array(a, n) for n, a in arrays.items()])
    onnx.save(proto, tmp_path / "a.onnx", save_as_external_data=True, size_threshold=0)
    checkpoint = open_checkpoint(tmp_path / "a.onnx")
    before = checkpoint.digest
    for name, array in arrays.items():
        assert checkpoint.read(name).tobytes() == array.tobytes()
    (data,) = [p for p in tmp_path.iterdir() if p.suffix != ".onnx"]
    data.write_bytes(data.read_bytes()[:-1] + b"\x7f")
    assert open_checkpoint(tmp_path / "a.onnx").digest != before


def external(**entries: Any) -> TensorProto:
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "data"} | entries).items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize(
    "entries",
    [{}, {"offset": 0}, {"offset": 8, "length": 16}, {"length": 16}, {"offset": "8", "length": ""}],
)
def test_optional_entries(tmp_path: Path, entries: dict[str, Any]) -> None:
    values = np.arange(10, dtype=np.float32)
    (tmp_path / "data").write_bytes(values.tobytes())
    checkpoint = open_checkpoint(written([external(**entries)], tmp_path / "a.onnx"))
    start = int(entries.get("offset", 0)) // 4
    assert checkpoint.read("w").tolist() == values[start : start + 4].tolist()


def changed(**fields: Any) -> list[TensorProto]:
    tensor = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return [tensor]


def two_locations() -> TensorProto:
    tensor = external()
    tensor.external_data.add(key="location", value="other")
    return tensor


def both() -> TensorProto:
    tensor = external()
    tensor.raw_data = bytes(16)
    return tensor


HOSTILE: dict[str, tuple[Callable[[], list[TensorProto]], str]] = {
    "climbing": (lambda: [external(location="../secret")], "leaves its folder"),
    "absolute": (lambda: [external(location="/etc/passwd")], "leaves its folder"),
    "nul": (lambda: [external(location="data\0x")], "leaves its folder"),
    "link": (lambda: [external(location="link")], "out of its folder"),
    "pipe": (lambda: [external(location="pipe")], "no regular file"),
    "missing": (lambda: [external(location="gone")], "lacks the file"),
    "itself": (lambda: [external(location="a.onnx")], "not where it places"),
    "no location": (lambda: [external(location=None)], "names no file"),
    "two locations": (lambda: [two_locations()], "'location' twice"),
    "two places": (lambda: [both()], "in two places"),
    "two fields": (lambda: changed(float_data=[1.0, 2.0, 3.0, 4.0]), "in two places"),
    "offset past the end": (lambda: [external(offset=40)], "not where it places"),
    "negative offset": (lambda: [external(offset=-8)], "no number"),
    "long offset": (lambda: [external(offset="9" * 5000)], "no number"),
    "other digits": (lambda: [external(offset="٣")], "no number"),
    "wrong length": (lambda: [external(length=12)], "not where it places"),
    "huge length": (lambda: [external(length=2**62)], "not where it places"),
    "raw too short": (lambda: changed(dims=[5]), "has 16"),
    "raw too long": (lambda: changed(dims=[3]), "has 16"),
    "negative size": (lambda: changed(dims=[-4]), "negative size"),
    "huge": (lambda: changed(dims=[2**40, 2**40]), "declares"),
    "typed too short": (
        lambda: changed(raw_data=b"", float_data=[1.0], dims=[4]),
        "damaged",
    ),
    "typed huge": (lambda: changed(raw_data=b"", dims=[2**40]), "fewer elements"),
    "twice": (lambda: changed() + changed(), "'w' twice"),
    "texts": (lambda: [helper.make_tensor("w", TensorProto.STRING, [1], TEXTS)], "type 8"),
    "int4": (lambda: [helper.make_tensor("w", TensorProto.INT4, [2], [1, 2])], "type 22"),
    "unknown type": (lambda: changed(data_type=99), "type 99"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graph(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE[name]
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(40))
    (folder / "data").write_bytes(bytes(40))
    (folder / "link").symlink_to("../secret")
    os.mkfifo(folder / "pipe")
    assert_refused(written(make(), folder / "a.onnx"), reason)


def test_a_graph_without_weights(tmp_path: Path) -> None:
    assert_refused(written([], tmp_path / "a.onnx"), "no dict of tensors")
