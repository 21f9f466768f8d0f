"""What a MindIR file says about itself, and what a damaged one does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline import mindir_format
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.mindir_format import Signature, TensorInfo, read_signature

SIGNATURE = Signature(
    (TensorInfo("x", "float32", (None, 3)), TensorInfo("mask", "bool", ())),
    (TensorInfo("y", "int64", (0,)),),
)
TEXT = (
    '{"inputs":[{"dtype":"float32","name":"x","shape":[null,3]},'
    '{"dtype":"bool","name":"mask","shape":[]}],'
    '"outputs":[{"dtype":"int64","name":"y","shape":[0]}]}'
)


def encoded(text: str | None = TEXT, *, location: str = "") -> bytes:
    model = pb.ModelProto(ir_version="0.1.0", producer_name="ascend-migrate")
    if text is not None:
        model.doc_string = text
    parameter = model.graph.parameter.add(name="main:w", dims=[700], raw_data=b"weights" * 100)
    parameter.data_type = pb.TensorProto.UINT8
    if location:
        parameter.external_data.location = location
    return model.SerializeToString()


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.mindir"
    path.write_bytes(data)
    return path


def test_reads_what_is_written(tmp_path: Path) -> None:
    assert SIGNATURE.to_text() == TEXT
    assert read_signature(written(tmp_path, encoded())) == SIGNATURE


infos = st.builds(
    TensorInfo,
    st.text(),
    st.sampled_from(sorted(BY_NAME)),
    st.lists(st.none() | st.integers(0), max_size=4).map(tuple),
)
lists = st.lists(infos, max_size=3).map(tuple)


@given(signature=st.builds(Signature, lists, lists))
def test_survives_its_text(signature: Signature) -> None:
    assert Signature.from_text(signature.to_text()) == signature


def test_the_weights_are_not_read(tmp_path: Path) -> None:
    data = encoded()
    cut = data.index(TEXT.encode()) + len(TEXT)
    assert read_signature(written(tmp_path, data[:cut])) == SIGNATURE


def test_every_cut_before_the_graph_is_refused(tmp_path: Path) -> None:
    data = encoded()
    for size in range(data.index(TEXT.encode()) + len(TEXT)):
        with pytest.raises(SourceError, match="not a MindIR file written by ascend-migrate"):
            read_signature(written(tmp_path, data[:size]))


def test_every_changed_byte_is_refused_or_read(tmp_path: Path) -> None:
    data = encoded()
    for at in range(data.index(TEXT.encode()) + len(TEXT)):
        for bit in (1, 0x20, 0x80):
            changed = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            try:
                found = read_signature(written(tmp_path, changed))
            except SourceError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert isinstance(found, Signature)


ODD: dict[str, bytes] = {
    "empty": b"",
    "noise": bytes(range(256)),
    "endless number": b"\xff" * 64,
    "endless text": b"\x32\xff\xff\xff\xff\x7f",
    "no signature": encoded(None),
    "no JSON": encoded("{"),
    "a list": encoded("[]"),
    "deep": encoded("[" * 100_000),
    "no outputs": encoded('{"inputs":[]}'),
    "no tables": encoded('{"inputs":[1],"outputs":[]}'),
    "no names": encoded('{"inputs":[{}],"outputs":[]}'),
    "no shape": encoded(TEXT.replace("[null,3]", "3")),
    "endless size": encoded(TEXT.replace("[null,3]", "[1e400]")),
    "size as text": encoded(TEXT.replace("[null,3]", '["a"]')),
    "no text": encoded(TEXT).replace(b"float32", b"\xff\xff\xff\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, ODD[name])
    with pytest.raises(SourceError) as caught:
        read_signature(path)
    assert str(path) in str(caught.value)
    assert "convert the model again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mindir", tmp_path):
        for read in (
            read_signature,
            mindir_format.read_model,
            mindir_format.read_parameters,
            mindir_format.external_files,
        ):
            with pytest.raises(SourceError, match="cannot be read"):
                read(path)


def test_the_whole_file(tmp_path: Path) -> None:
    model = mindir_format.read_model(written(tmp_path, encoded()))
    assert model.graph.parameter[0].raw_data == b"weights" * 100
    for data in (encoded()[:-1], b"\xff" * 64):
        with pytest.raises(SourceError, match="not a MindIR file, or cut short"):
            mindir_format.read_model(written(tmp_path, data))


def test_where_the_weights_are(tmp_path: Path) -> None:
    path = written(tmp_path, encoded())
    (found,) = mindir_format.read_parameters(path)
    assert (found.name, found.dtype, found.shape, found.location) == ("w", "uint8", (700,), "")
    assert path.read_bytes()[found.offset :][: found.length] == b"weights" * 100
    model = pb.ModelProto.FromString(encoded())
    tensor = model.graph.parameter[0]
    tensor.ClearField("raw_data")
    tensor.external_data.location, tensor.external_data.offset = "there", 64
    tensor.external_data.length = 700
    (found,) = mindir_format.read_parameters(written(tmp_path, model.SerializeToString()))
    assert (found.location, found.offset, found.length) == ("there", 64, 700)


def test_no_weights(tmp_path: Path) -> None:
    for model in (pb.ModelProto(ir_version="1"), pb.ModelProto(graph=pb.GraphProto(name="g"))):
        assert mindir_format.read_parameters(written(tmp_path, model.SerializeToString())) == []


DAMAGED = {
    "empty": b"",
    "cut": encoded()[:-1],
    "noise": b"\xff" * 64,
    "no element type": encoded().replace(b"\x10\x02", b"\x10\x63"),
    "a file name that is no text": encoded(location="there").replace(b"there", b"\xff" * 5),
    "a name that is no text": encoded().replace(b"main:w", b"\xff" * 6),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_weights_of_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path, data)
    with pytest.raises(SourceError, match="not a MindIR file, or cut short; convert it again"):
        mindir_format.read_parameters(path)


@pytest.mark.parametrize(
    ("location", "found"),
    [("", []), ("weights/data_0", ["weights/data_0"]), ("../secret", None), ("none", None)],
)
def test_files_beside_it(tmp_path: Path, location: str, found: Any) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "model/weights").mkdir(parents=True)
    (tmp_path / "model/weights/data_0").write_bytes(b"x")
    path = written(tmp_path / "model", encoded(location=location))
    if found is not None:
        assert mindir_format.external_files(path) == found
        return
    with pytest.raises(SourceError, match=f"location '{location}'"):
        mindir_format.external_files(path)


def test_the_text_is_canonical_json() -> None:
    assert json.dumps(json.loads(TEXT), sort_keys=True, separators=(",", ":")) == TEXT


def test_element_types_have_the_numbers_that_onnx_gives_them() -> None:
    onnx_numbers = {name: BY_NAME[name].onnx for name in mindir_format.DATA_TYPES}
    assert dict(mindir_format.DATA_TYPES) == onnx_numbers
