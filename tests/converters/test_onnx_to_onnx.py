from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ascend_migrate.converters.onnx_to_onnx import convert
from ascend_migrate.pipeline.errors import ConversionError, SourceError
from ascend_migrate.pipeline.inputs import Dim, InputSpec
from ascend_migrate.pipeline.onnx_signature import external_files, inputs_of_onnx, source_digest

RNG = np.random.default_rng(3)
W = RNG.standard_normal((8, 3, 3, 3)).astype(np.float32)
V = RNG.standard_normal((8, 40)).astype(np.float32)


def small_net(opset: int) -> onnx.ModelProto:
    """Conv -> ReduceMean over the picture -> MatMul, with every node unnamed."""
    axes: dict[str, Any] = {"axes": [2, 3]} if opset < 18 else {}
    reduced = ["c"] if opset < 18 else ["c", "axes"]
    made = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], doc_string="/home/someone/net.py"),
            helper.make_node("ReduceMean", reduced, ["r"], keepdims=0, **axes),
            helper.make_node("MatMul", ["r", "v"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 40])],
        [
            numpy_helper.from_array(W, "w"),
            numpy_helper.from_array(V, "v"),
            *([] if opset < 18 else [numpy_helper.from_array(np.array([2, 3]), "axes")]),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def answer(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("opset", [11, 13, 16, 17, 18, 21])
@pytest.mark.parametrize("external", [False, True])
def test_same_answers_from_every_opset(
    tmp_path: Path, out: Path, opset: int, external: bool
) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(
        small_net(opset),
        str(source),
        save_as_external_data=external,
        location="net.bin",
        size_threshold=100,
    )
    artifact = convert(source, out, parent="p")
    assert [f.path for f in artifact.files] == ["model.onnx", "model.safetensors"]
    result = onnx.load(str(artifact.path), load_external_data=False)
    assert [(o.domain, o.version) for o in result.opset_import] == [("", 17)]
    stored = {t.name for t in result.graph.initializer if t.data_location}
    assert stored == {"v"}  # w has 864 bytes, below 1 KiB
    for count in (1, 3, 8):
        x = RNG.standard_normal((count, 3, 8, 8)).astype(np.float32)
        np.testing.assert_array_equal(answer(artifact.path, x), answer(source, x))


def test_form_for_atc(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(small_net(18), str(source))
    path = convert(source, out, parent="p").path
    graph = onnx.load(str(path)).graph
    nodes = [node.name for node in graph.node]
    others = {v.name for v in graph.input} | {v.name for v in graph.initializer}
    assert all(nodes)
    assert len(set(nodes)) == len(nodes)
    assert not others & set(nodes)
    conv = next(node for node in graph.node if node.op_type == "Conv")
    assert {a.name: list(a.ints) for a in conv.attribute if a.ints}["kernel_shape"] == [3, 3]
    assert b"/home/" not in path.read_bytes()


def test_two_conversions_are_equal(tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(small_net(18), str(source))
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        digests.add(convert(source, tmp_path / name, parent="p").digest)
    assert len(digests) == 1


def point(tensor: onnx.TensorProto, **entries: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def twice(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[2].domain, model.graph.node[2].name = "com.example", "odd"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


BAD: list[tuple[str, Callable[[onnx.ModelProto], None], str]] = [
    ("absolute", lambda m: point(m.graph.initializer[0], location="/etc/passwd"), "'w'"),
    ("climbs", lambda m: point(m.graph.initializer[0], location="../data.bin"), "'w'"),
    ("symlink", lambda m: point(m.graph.initializer[0], location="link.bin"), "symbolic link"),
    ("missing", lambda m: point(m.graph.initializer[0], location="none.bin"), "missing"),
    ("short", lambda m: point(m.graph.initializer[1], location="data.bin"), "'v'"),
    (
        "offset",
        lambda m: point(m.graph.initializer[0], location="data.bin", offset="600"),
        "'w' claims",
    ),
    (
        "negative",
        lambda m: point(m.graph.initializer[0], location="data.bin", offset="-8"),
        "'w' has an external offset",
    ),
    (
        "length",
        lambda m: point(m.graph.initializer[0], location="data.bin", length="12"),
        "'w' claims",
    ),
    (
        "number",
        lambda m: point(m.graph.initializer[0], location="data.bin", offset="x"),
        "no natural number",
    ),
    ("twice", twice, "'w' occurs twice"),
    ("domain", foreign, "'odd' (MatMul)"),
]


@pytest.mark.parametrize(("label", "spoil", "said"), BAD, ids=[label for label, _, _ in BAD])
def test_unsafe_sources_are_refused(
    tmp_path: Path, out: Path, label: str, spoil: Callable[[onnx.ModelProto], None], said: str
) -> None:
    folder = tmp_path / label
    folder.mkdir()
    (folder / "data.bin").write_bytes(bytes(1000))
    (tmp_path / "data.bin").write_bytes(bytes(1000))
    (folder / "link.bin").symlink_to(tmp_path / "data.bin")
    model = small_net(17)
    spoil(model)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SourceError) as caught:
        convert(folder / "net.onnx", out, parent="p")
    assert said in str(caught.value)
    assert "net.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02 not a model", b"\x08"])
def test_what_is_no_model(tmp_path: Path, out: Path, data: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(SourceError, match=r"net\.onnx: not an ONNX"):
        convert(tmp_path / "net.onnx", out, parent="p")


def test_own_folder_is_refused(tmp_path: Path) -> None:
    onnx.save(small_net(17), str(tmp_path / "model.onnx"))
    with pytest.raises(ConversionError, match="own folder"):
        convert(tmp_path / "model.onnx", tmp_path, parent="p")


def test_signature(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(
        small_net(17), str(path), save_as_external_data=True, location="d.bin", size_threshold=0
    )
    assert inputs_of_onnx(path) == (InputSpec("x", "float32", (Dim.between("n", 1, 8), 3, 8, 8)),)
    assert external_files(path) == ["d.bin"]
    before = source_digest(path)
    data = bytearray((tmp_path / "d.bin").read_bytes())
    data[5] ^= 1
    (tmp_path / "d.bin").write_bytes(bytes(data))
    assert source_digest(path) != before
