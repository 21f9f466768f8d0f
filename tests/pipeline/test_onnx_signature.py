"""What ONNX files declare, and what hostile ones do not get."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ascend_migrate.pipeline import onnx_signature
from ascend_migrate.pipeline.checkpoint.faults import shown
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.inputs import Dim, InputSpec, parse_inputs
from ascend_migrate.pipeline.onnx_signature import external_files, inputs_of_onnx, source_digest

W = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")


def model(
    inputs: Sequence[onnx.ValueInfoProto] = (),
    tensors: Sequence[TensorProto] = (),
    nodes: Sequence[onnx.NodeProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, [], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def write(folder: Path, made: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def info(name: str, dtype: int, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def outside(location: str, name: str = "x") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="0")
    return tensor


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((), ()),
        ((1, 3), (1, 3)),
        (("n", 3), (Dim.between("n", 1, 8), 3)),
        ((None, 0), (Dim.between("x_0", 1, 8), Dim.between("x_1", 1, 8))),
        (
            ("batch size", "2d", "é"),
            tuple(Dim.between(n, 1, 8) for n in ("batch_size", "_2d", "_")),
        ),
    ],
)
def test_shapes(tmp_path: Path, shape: Any, wanted: tuple[int | Dim, ...]) -> None:
    path = write(tmp_path, model([info("x", TensorProto.FLOAT16, shape)]))
    assert inputs_of_onnx(path) == (InputSpec("x", "float16", wanted),)


def test_weights_are_no_inputs(tmp_path: Path) -> None:
    made = model([info("w", 1, (2, 2)), info("x", 7, (4,)), info("s", 1, (9,))], [W])
    sparse = made.graph.sparse_initializer.add()
    sparse.values.name = "s"
    assert [item.name for item in inputs_of_onnx(write(tmp_path, made))] == ["x"]


@pytest.mark.parametrize(
    "value",
    [
        info("x", TensorProto.FLOAT, None),
        info("x", TensorProto.STRING, (1,)),
        info("x", 0, (1,)),
        helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, (1,)),
        onnx.ValueInfoProto(name="x"),
    ],
)
def test_inputs_that_cannot_be_fed(tmp_path: Path, value: onnx.ValueInfoProto) -> None:
    path = write(tmp_path, model([value]))
    with pytest.raises(SourceError, match="input 'x' is not a tensor of known rank") as caught:
        inputs_of_onnx(path)
    assert str(path) in str(caught.value)


@given(names=st.lists(st.text(st.characters(codec="utf-8")), max_size=3))
def test_any_name_of_a_dimension_fits_the_input_grammar(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("model")
    (spec,) = inputs_of_onnx(write(folder, model([info("x", TensorProto.FLOAT, names)])))
    assert parse_inputs([str(spec)]) == ((spec,), ())


GOOD = model([info("x", 1, (2,))], [W]).SerializeToString()
NO_OPSET = onnx.ModelProto(ir_version=8, graph=helper.make_graph([], "g", [], []))
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it has no graph or no operator set"),
    "no graph": (onnx.ModelProto(ir_version=8).SerializeToString(), "no graph"),
    "no operator set": (NO_OPSET.SerializeToString(), "no operator set"),
    "cut": (GOOD[:-20], "cut short"),
    "noise": (b"\xff" * 64, "not an ONNX file"),
    "a text": (b'ir_version: 8\ngraph { name: "g" }\n', "not an ONNX file"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    data, reason = UNREADABLE[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for read in (inputs_of_onnx, external_files, source_digest):
        with pytest.raises(SourceError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(SourceError, match="cannot be read"):
            onnx_signature.load_graph(path)


def test_every_cut_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for size in range(len(GOOD)):
        path.write_bytes(GOOD[:size])
        try:
            assert inputs_of_onnx(path) in ((), (InputSpec("x", "float32", (2,)),))
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_external_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b").write_bytes(b"b")
    (tmp_path / "sub/a").write_bytes(b"a")
    tensors = [outside("sub/a"), outside("b", "y"), outside("b", "z")]
    path = write(tmp_path, model(tensors=tensors))
    assert external_files(path) == ["b", "sub/a"]
    before = source_digest(path)
    assert source_digest(path) == before
    (tmp_path / "b").write_bytes(b"c")
    assert source_digest(path) != before


def in_attribute(tensor: TensorProto) -> onnx.ModelProto:
    return model(nodes=[helper.make_node("Constant", [], ["y"], value=tensor)])


def in_subgraph(tensor: TensorProto) -> onnx.ModelProto:
    inner = helper.make_graph([], "then", [], [], [tensor])
    outer = helper.make_graph([helper.make_node("If", ["c"], [], then_branch=inner)], "o", [], [])
    return model(nodes=[helper.make_node("Loop", [], [], body=outer)])


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    made = model()
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    function = helper.make_function("own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)])
    made.functions.append(function)
    return made


def in_sparse(tensor: TensorProto) -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.add().indices.CopyFrom(tensor)
    return made


def in_list(tensor: TensorProto) -> onnx.ModelProto:
    made = model(nodes=[onnx.NodeProto(op_type="Odd")])
    attribute = made.graph.node[0].attribute.add(name="many", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(tensor)
    return made


PLACES: list[Callable[[TensorProto], onnx.ModelProto]] = [
    *(lambda t: model(tensors=[t]), in_attribute, in_subgraph, in_function, in_sparse, in_list)
]
HOSTILE = {
    "/etc/passwd": "leaves the model's folder",
    "../secret": "leaves the model's folder",
    "sub/../../secret": "leaves the model's folder",
    "..\\secret": "leaves the model's folder",
    "": "leaves the model's folder",
    "link": "is a symbolic link",
    "linked/file": "is a symbolic link",
    "none": "is missing",
    "sub": "is missing",
    "a\0b": "cannot be printed",
    # It would become lines of the script of a bundle.
    "w\nEND\ntouch harm": "cannot be printed",
    "x" * 5000: "File name too long",
}


@pytest.mark.parametrize("place", range(len(PLACES)))
@pytest.mark.parametrize("location", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_locations(tmp_path: Path, location: str, place: int) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "file").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    path = write(folder, PLACES[place](outside(location)))
    for read in (external_files, source_digest):
        with pytest.raises(SourceError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: external data location {shown(location)}")
        assert HOSTILE[location] in str(caught.value)


def test_every_tensor_is_found() -> None:
    made = model(tensors=[outside("a", "first")])
    for number, place in enumerate(PLACES):
        made.MergeFrom(place(outside("a", f"t{number}")))
    names = [tensor.name for tensor in onnx_signature.all_tensors(made) if tensor.name]
    assert sorted(names) == ["first", *(f"t{number}" for number in range(len(PLACES)))]
