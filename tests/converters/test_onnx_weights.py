import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from ascend_migrate.converters import onnx_weights
from ascend_migrate.pipeline.errors import SourceError

W = np.arange(64 * 16, dtype=np.float32).reshape(64, 16)
B = np.arange(16, dtype=np.float32)


def model_of(tensors: dict[str, np.ndarray[Any, Any]]) -> ir.Model:
    """Returns y = x @ w + b for the first two tensors."""
    w, b = list(tensors)[:2]
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", w], ["m"]), helper.make_node("Add", ["m", b], ["y"])],
        "affine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return ir.from_proto(helper.make_model(made, opset_imports=opset, ir_version=10))


def locations(path: Path) -> dict[str, dict[str, str]]:
    model = onnx.load(str(path), load_external_data=False)
    return {
        t.name: {entry.key: entry.value for entry in t.external_data}
        for t in model.graph.initializer
    }


def test_equal_tensors_are_shared(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    save_file({"w": W, "b": B}, weights)
    files, notes = onnx_weights.write_model(model_of({"w": W, "b": B}), tmp_path, weights=weights)
    assert files == ["model.onnx", "model.safetensors"]
    assert notes[0].startswith(f"{W.nbytes + B.nbytes} bytes")
    found = locations(tmp_path / "model.onnx")
    assert {name: set(keys) for name, keys in found.items()} == {
        "w": {"location", "offset", "length"},
        "b": {"location", "offset", "length"},
    }
    raw = weights.read_bytes()
    at, size = int(found["w"]["offset"]), int(found["w"]["length"])
    assert raw[at : at + size] == W.tobytes()
    loaded = onnx.load(str(tmp_path / "model.onnx"))
    assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), W)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    x = np.ones((2, 64), dtype=np.float32)
    assert np.array_equal(session.run(None, {"x": x})[0], x @ W + B)


@pytest.mark.parametrize(
    ("label", "changed"),
    [
        ("one bit", np.where(np.arange(16) == 3, -B, B)),
        ("type", B.astype(np.float64)),
        ("shape", B.reshape(4, 4)),
    ],
)
def test_different_tensors_stay_their_own(
    tmp_path: Path, label: str, changed: np.ndarray[Any, Any]
) -> None:
    weights = tmp_path / "model.safetensors"
    save_file({"w": W, "b": changed}, weights)
    onnx_weights.write_model(model_of({"w": W, "b": B}), tmp_path, weights=weights)
    found = locations(tmp_path / "model.onnx")
    assert found["b"] == {}, label
    assert found["w"]["location"] == "model.safetensors"


def test_tied_names_share_one_tensor(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    tied = {"ascend_migrate.tied": json.dumps({"alias": "w"})}
    save_file({"w": W, "b": B}, weights, metadata=tied)
    onnx_weights.write_model(model_of({"alias": W, "b": B}), tmp_path, weights=weights)
    layout = onnx_weights.read_layout(weights)
    assert int(locations(tmp_path / "model.onnx")["alias"]["offset"]) == layout["w"].offset


def test_big_constants_spill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_weights, "_INLINE_SUM", 1000)
    files, _ = onnx_weights.write_model(model_of({"w": W, "b": B}), tmp_path, weights=None)
    assert files == ["model.onnx", "model.onnx.data"]
    assert (tmp_path / "model.onnx.data").read_bytes() == W.tobytes()
    assert locations(tmp_path / "model.onnx")["b"] == {}


def test_written_weights_are_safetensors(tmp_path: Path) -> None:
    small = np.arange(3, dtype=np.int64)
    half = np.linspace(0, 1, 999, dtype=np.float16)
    model = model_of({"w": W, "b": B, "small": small, "half": half})
    path = tmp_path / "model.safetensors"
    assert onnx_weights.write_weights(model, path) == 2
    found = load_file(path)
    assert set(found) == {"w", "half"}
    assert np.array_equal(found["w"], W)
    assert np.array_equal(found["half"], half)
    assert min(t.offset for t in onnx_weights.read_layout(path).values()) % 64 == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 40,
        (9).to_bytes(8, "little") + b"not json!",
        (2).to_bytes(8, "little") + b"[]",
        (64).to_bytes(8, "little")
        + b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'.ljust(64)
        + b"short",
    ],
)
def test_damaged_safetensors(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"model\.safetensors") as caught:
        onnx_weights.read_layout(path)
    assert "\n" not in str(caught.value)
