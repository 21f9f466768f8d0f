"""The runner checks names, types and sizes itself: MindSpore would run on wrong ones."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import parser

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import CheckError, KernelMissingError, SourceError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.mindir_format import read_model
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

pytestmark = pytest.mark.mindspore

NET = """net (float[n, 3] x, int64[n] index) => (float[n, 3] y, int64[n] next) {
    y = Relu (x)
    next = Add (index, index)
}"""
FEEDS = {"x": np.array([[-1, 0, 2]], np.float32), "index": np.array([7])}


def converted(text: str, folder: Path) -> Artifact:
    onnx.save(
        parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}'), folder / "m.onnx"
    )
    return convert(folder / "m.onnx", folder, inputs=(), parent="p")


@pytest.fixture(scope="module")
def process() -> Iterator[MindSporeProcess]:
    with MindSporeProcess(Limits(threads=1)) as process:
        yield process


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return converted(NET, tmp_path_factory.mktemp("net"))


def test_answers_by_name_and_in_order(artifact: Artifact, process: MindSporeProcess) -> None:
    found = MindSporeRunner(artifact, process=process).run(dict(reversed(FEEDS.items())))
    assert [(name, y.dtype.name, y.tolist()) for name, y in found.items()] == [
        ("y", "float32", [[0, 0, 2]]),
        ("next", "int64", [14]),
    ]


def test_answers_the_same_again(artifact: Artifact, process: MindSporeProcess) -> None:
    runner = MindSporeRunner(artifact, process=process)
    for count in (1, 4, 2, 4):
        x = np.arange(-3, 3 * count - 3, dtype=np.float32).reshape(count, 3)
        found = runner.run({"x": x, "index": np.arange(count)})
        np.testing.assert_array_equal(found["y"], np.maximum(x, 0))


X, INDEX = FEEDS["x"], FEEDS["index"]
UNFIT = {
    "a name is missing": ({"x": X}, "inputs missing: ['index'], not in the graph: []"),
    "a name is unknown": ({**FEEDS, "z": X}, "inputs missing: [], not in the graph: ['z']"),
    "the wrong float": ({**FEEDS, "x": X.astype(np.float64)}, "float32[?,3], got float64[1, 3]"),
    "the wrong integer": ({**FEEDS, "index": INDEX.astype(np.int32)}, "int64[?], got int32[1]"),
    "an integer for a float": ({**FEEDS, "x": X.astype(np.int64)}, "got int64[1, 3]"),
    "the wrong size": ({**FEEDS, "x": np.zeros((1, 4), np.float32)}, "got float32[1, 4]"),
    "a size more": ({**FEEDS, "x": X[None]}, "float32[?,3], got float32[1, 1, 3]"),
    "a size less": ({**FEEDS, "x": X[0]}, "float32[?,3], got float32[3]"),
}


@pytest.mark.parametrize(("feeds", "said"), UNFIT.values(), ids=UNFIT)
def test_feeds_that_do_not_fit(
    feeds: dict[str, np.ndarray], said: str, artifact: Artifact, process: MindSporeProcess
) -> None:
    runner = MindSporeRunner(artifact, process=process)
    with pytest.raises(CheckError, match=re.escape(said)) as caught:
        runner.run(feeds)
    assert str(caught.value).startswith(str(artifact.path))


def test_halves_and_bfloat16(tmp_path: Path, process: MindSporeProcess) -> None:
    net = "net (float16[n] h, bfloat16[n] b) => (float16[n] y, bfloat16[n] z)"
    runner = MindSporeRunner(
        converted(net + "{ y = Add (h, h) z = Mul (b, b) }", tmp_path), process=process
    )
    values = np.array([1.5, -3, 256])
    found = runner.run({"h": values.astype(np.float16), "b": values.astype(ml_dtypes.bfloat16)})
    assert found["y"].dtype == np.float16
    assert found["y"].tolist() == [3, -6, 512]
    # numpy 2 has no bfloat16 that MindSpore knows; float32 holds the same numbers.
    assert found["z"].dtype == np.float32
    assert found["z"].tolist() == [2.25, 9, 65536]


def test_a_type_that_has_no_kernel(tmp_path: Path, process: MindSporeProcess) -> None:
    net = """net (uint8[1, 1, h, 2] x) => (uint8[1, 1, k, 4] y) {
        twice = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
        y = Resize <mode = "nearest"> (x, , twice)
    }"""
    artifact = converted(net, tmp_path)
    runner = MindSporeRunner(artifact, process=process)
    with pytest.raises(
        KernelMissingError, match=r"no kernel of ResizeNearestNeighbor\(uint8"
    ) as caught:
        runner.run({"x": np.ones((1, 1, 2, 2), np.uint8)})
    assert str(artifact.path) in str(caught.value)
    assert "\n" not in str(caught.value)


def renamed_type(model: pb.ModelProto) -> None:
    model.doc_string = model.doc_string.replace(
        '"dtype":"float32","name":"y"', '"dtype":"float64","name":"y"'
    )


def one_output_more(model: pb.ModelProto) -> None:
    more = '"outputs":[{"dtype":"float32","name":"more","shape":[]},'
    model.doc_string = model.doc_string.replace('"outputs":[', more)


def without_signature(model: pb.ModelProto) -> None:
    model.doc_string = ""


def broken_reference(model: pb.ModelProto) -> None:
    model.graph.node[0].input[0] = "main:nowhere"


def unknown_primitive(model: pb.ModelProto) -> None:
    next(p for p in model.primitives if p.op_type == "ReLU").op_type = "NoSuchPrimitive"


TAMPERED: dict[Callable[[pb.ModelProto], None], tuple[type[Exception], str]] = {
    renamed_type: (CheckError, "output 'y' came as float32, the graph says float64; convert"),
    one_output_more: (CheckError, "MindSpore returned 2 outputs, the graph has 3; convert"),
    without_signature: (SourceError, "not a MindIR file written by ascend-migrate"),
    # MindSpore's own message names no cause; the one in brackets is from its log.
    broken_reference: (CheckError, "not loaded: RuntimeError: Load MindIR failed. ("),
    unknown_primitive: (
        CheckError,
        "did not run: RuntimeError: Got null AbstractBasePtr for input",
    ),
}


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda tamper: tamper.__name__)
def test_files_that_are_not_what_they_say(
    tamper: Callable[[pb.ModelProto], None],
    artifact: Artifact,
    tmp_path: Path,
    process: MindSporeProcess,
) -> None:
    kind, said = TAMPERED[tamper]
    model = read_model(artifact.path)
    tamper(model)
    path = tmp_path / "tampered.mindir"
    path.write_bytes(model.SerializeToString(deterministic=True))
    with pytest.raises(kind, match=re.escape(said)) as caught:
        MindSporeRunner(path, process=process).run(FEEDS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ends_its_own_process_and_no_other(artifact: Artifact, process: MindSporeProcess) -> None:
    with MindSporeRunner(artifact) as own, MindSporeRunner(artifact, process=process) as shared:
        assert own.run(FEEDS)["next"].tolist() == [14]
        assert own._process is not shared._process
        folder = own._process._folder
        assert folder.is_dir()
    assert not folder.exists()
    assert MindSporeRunner(artifact, process=process).run(FEEDS)["next"].tolist() == [14]


def test_a_file_that_is_not_loaded_leaves_no_process(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "cut.mindir"
    path.write_bytes(artifact.path.read_bytes()[:-20])
    before = set(children())
    with pytest.raises(CheckError, match="please check the correctness of the file"):
        MindSporeRunner(path)
    assert set(children()) <= before


def children() -> list[str]:
    return Path("/proc/thread-self/children").read_text().split()
