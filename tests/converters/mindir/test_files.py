"""Weights pass through memory; what is written is what protobuf itself would write."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from tests.bench.models import WEIGHTS, matmuls
from tests.bench.processes import step

from ascend_migrate.converters.mindir.files import octets, write_files
from ascend_migrate.converters.mindir.writer import GRAPH
from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import ConversionError

COUNT, SIZE = 12, 2048  # 192 MiB
ALL = str(COUNT * SIZE * SIZE * 4)


@pytest.fixture(scope="module")
def weights_of_192_mib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return matmuls(tmp_path_factory.mktemp("large"), COUNT, SIZE)


@pytest.fixture(scope="module")
def without_weights(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes that a conversion needs for itself."""
    folder = tmp_path_factory.mktemp("small")
    return step("convert", str(matmuls(folder, 1, 8)), str(folder), ALL).anon


@pytest.mark.parametrize("limit", [ALL, "1"], ids=["inline", "split"])
def test_weights_are_never_held(
    weights_of_192_mib: Path, without_weights: int, tmp_path: Path, limit: str
) -> None:
    large = step("convert", str(weights_of_192_mib), str(tmp_path / "large"), limit)
    assert without_weights > 10 << 20  # the interpreter alone: the measurement sees something
    # Less than one weight, which has 16 MiB.
    assert large.anon - without_weights < 12 << 20
    stored = weights_of_192_mib.with_name(WEIGHTS).read_bytes()
    split = tmp_path / "large/model_variables/data_0"
    if limit == "1":
        assert split.read_bytes()[64:] == stored
    else:
        assert not split.exists()
        model = pb.ModelProto.FromString((tmp_path / "large/model.mindir").read_bytes())
        assert b"".join(parameter.raw_data for parameter in model.graph.parameter) == stored


def test_weights_inline_in_the_source_are_held_twice_at_most(
    without_weights: int, tmp_path: Path
) -> None:
    """Once in the parsed source, which protobuf does not map, and once as arrays."""
    path = matmuls(tmp_path, 8, 1024)
    (tmp_path / "inline").mkdir()
    onnx.save(onnx.load(path), tmp_path / "inline/model.onnx")
    found = step("convert", str(tmp_path / "inline/model.onnx"), str(tmp_path / "a"), ALL)
    assert found.anon - without_weights < 2.25 * (32 << 20)  # one weight is an eighth of them
    beside = convert(path, tmp_path / "b", inputs=(), parent="p")
    assert (tmp_path / "a/model.mindir").read_bytes() == beside.path.read_bytes()


WEIGHTS_OF_EVERY_KIND: dict[str, np.ndarray[Any, Any]] = {
    "float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(3.5),
    "none at all": np.empty((0, 3), np.float16),
    "transposed": np.arange(6, dtype=np.int64).reshape(2, 3).T,
    "big endian": np.array([1, 256], ">i4"),
    "bool": np.array([True, False]),
    "brain": np.array([1.5, -2], ml_dtypes.bfloat16),
    "long enough for a second byte of length": np.arange(100, dtype=np.uint8),
}


def graph() -> pb.ModelProto:
    model = pb.ModelProto(ir_version="1.1", doc_string="x" * 200, little_endian=True)
    model.graph.name = GRAPH
    model.graph.node.add(name="node", op_type="Constant")
    model.graph.input.add(name="in")
    model.graph.output.add(name="out")
    model.functions.add(name="function")
    model.primitives.add(name="primitive")
    return model


@pytest.mark.parametrize("names", [list(WEIGHTS_OF_EVERY_KIND), ["float"], []], ids=len)
def test_the_bytes_are_those_of_protobuf(tmp_path: Path, names: list[str]) -> None:
    weights = {name: WEIGHTS_OF_EVERY_KIND[name] for name in names}
    assert write_files(graph(), weights, tmp_path, "m.mindir") == ["m.mindir"]
    written = (tmp_path / "m.mindir").read_bytes()
    model = pb.ModelProto.FromString(written)
    assert model.SerializeToString(deterministic=True) == written
    expected = graph()
    for name, array in weights.items():
        parameter = expected.graph.parameter.add(name=f"main:{name}", ref_key=name)
        parameter.dims.extend(array.shape)
        parameter.data_type = model.graph.parameter[len(expected.graph.parameter) - 1].data_type
        parameter.raw_data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert model == expected


def test_a_model_without_a_graph_message_in_it_is_still_whole(tmp_path: Path) -> None:
    """Protobuf writes no empty lists: a graph of nothing but parameters."""
    model = pb.ModelProto()
    model.graph.name = GRAPH
    write_files(model, {"w": np.ones(2, np.float32)}, tmp_path, "m.mindir")
    written = pb.ModelProto.FromString((tmp_path / "m.mindir").read_bytes())
    assert written.graph.parameter[0].raw_data == np.ones(2, "<f4").tobytes()


def test_bytes_that_are_in_order_are_not_copied() -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    assert np.shares_memory(octets(array), array)
    assert not np.shares_memory(octets(array.T), array)


def test_an_element_type_that_mindir_lacks(tmp_path: Path) -> None:
    odd = {"w": np.zeros(2, ml_dtypes.float8_e4m3fn)}
    with pytest.raises(ConversionError, match="tensor 'w': MindIR has no element type float8"):
        write_files(graph(), odd, tmp_path, "m.mindir")
    assert not list(tmp_path.iterdir())


def test_conversion_is_deterministic(tmp_path: Path) -> None:
    path = matmuls(tmp_path, 3, 16)
    one, two = (convert(path, tmp_path / name, inputs=(), parent="p") for name in "ab")
    assert one.digest == two.digest
