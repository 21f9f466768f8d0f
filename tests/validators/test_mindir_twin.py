"""Low precision is judged through a float32 twin that rounds where the graph itself would."""

import re
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from ascend_migrate.converters.mindir.load import load
from ascend_migrate.converters.mindir.lower import lower
from ascend_migrate.converters.mindir.writer import GraphWriter
from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.errors import KernelMissingError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.mindir_twin import write_twin
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

pytestmark = pytest.mark.mindspore

LOW = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


@pytest.fixture(scope="module")
def process() -> Iterator[MindSporeProcess]:
    with MindSporeProcess(Limits(threads=1)) as process:
        yield process


def converted(text: str, folder: Path, weights: dict[str, np.ndarray] | None = None) -> Artifact:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    for name, array in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, folder / "m.onnx")
    return convert(folder / "m.onnx", folder, inputs=(), parent="p")


def test_rounds_after_every_operator(tmp_path: Path, process: MindSporeProcess) -> None:
    """1 + 2**-9 is no bfloat16: added in float32 throughout, the last digit would survive."""
    net = """net (bfloat16[n] x, bfloat16[n] y) => (bfloat16[n] z) {
        sum = Add (x, y)
        z = Sub (sum, x)
    }"""
    runner = MindSporeRunner(converted(net, tmp_path), process=process)
    x = np.array([1, 1, 256], np.float32).astype(ml_dtypes.bfloat16)
    y = np.array([2**-9, 2**-7, 3], np.float32).astype(ml_dtypes.bfloat16)
    # By the definition of the type: 8 bits of significand, ties to even.
    assert runner.run({"x": x, "y": y})["z"].tolist() == [0, 2**-7, 4]
    assert re.match(
        "judged by a float32 twin, because MindSpore's CPU back end has no kernel of "
        r"(Add|Sub)\(bfloat16, bfloat16\): ",
        runner.twin,
    )


def test_weights_branches_and_casts(tmp_path: Path, process: MindSporeProcess) -> None:
    net = """net (float[n, 4] x, bool wide) => (float[n, 2] z) {
        low = Cast <to: int = 16> (x)
        y = MatMul (low, w)
        chosen = If (wide) <
            then_branch = yes () => (bfloat16[n, 2] a) { a = Add (y, b) },
            else_branch = no () => (bfloat16[n, 2] c) { c = Mul (y, b) }
        >
        z = Cast <to: int = 1> (chosen)
    }"""
    generator = np.random.default_rng(0)
    low = ml_dtypes.bfloat16
    w, b = generator.normal(size=(4, 2)).astype(low), generator.normal(size=2).astype(low)
    artifact = converted(net, tmp_path, {"w": w, "b": b})
    x = generator.normal(size=(3, 4)).astype(np.float32)
    y = (x.astype(low).astype(np.float32) @ w.astype(np.float32)).astype(low)
    runner = MindSporeRunner(artifact, process=process)
    for wide, want in ((True, y + b), (False, y * b)):
        found = runner.run({"x": x, "wide": np.array(wide)})["z"]
        assert found.tolist() == want.astype(np.float32).tolist()


@pytest.mark.parametrize("name", LOW)
def test_overflow_is_seen(name: str, tmp_path: Path, process: MindSporeProcess) -> None:
    """float16 ends at 65504; bfloat16 reaches as far as float32."""
    net = f"net ({name}[n] x) => ({name}[n] z) {{ big = Mul (x, x)  z = Sub (big, x) }}"
    folder = tmp_path / "twin"
    folder.mkdir()
    twin = write_twin(converted(net, tmp_path).path, folder)
    assert twin is not None
    found = MindSporeRunner(twin, process=process).run({"x": np.array([300], LOW[name])})["z"]
    assert np.isinf(found).tolist() == [False] if name == "bfloat16" else [True]
    assert found.dtype == (np.float16 if name == "float16" else np.float32)


def test_weights_in_a_file_of_their_own_are_linked(
    tmp_path: Path, process: MindSporeProcess
) -> None:
    net = "net (bfloat16[n, 4] x) => (bfloat16[n, 2] z) { z = MatMul (x, w) }"
    w = np.arange(8, dtype=np.float32).reshape(4, 2).astype(ml_dtypes.bfloat16)
    converted(net, tmp_path, {"w": w})
    paths, _ = lower(load(tmp_path / "m.onnx"), tmp_path, "model.mindir", inline_limit=1)
    artifact = Artifact.of(Form.MINDIR, tmp_path, paths, parent="p")
    x = np.ones((1, 4), ml_dtypes.bfloat16)
    with MindSporeRunner(artifact, process=process) as runner:
        assert runner.run({"x": x})["z"].tolist() == [[12, 16]]
        assert runner.twin
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.onnx",
        "model.mindir",
        "model_variables",
    ]


def test_a_graph_in_float32_has_no_twin(tmp_path: Path) -> None:
    artifact = converted("net (float[n] x) => (float[n] y) { y = Relu (x) }", tmp_path)
    assert write_twin(artifact.path, tmp_path) is None


def test_a_kernel_that_no_type_has_is_named(tmp_path: Path, process: MindSporeProcess) -> None:
    writer = GraphWriter()
    x = writer.input("x", "float32", (2, 4))
    gamma = writer.constant(np.ones(4, np.float32))
    whole = writer.call("RmsNorm", [x, gamma, writer.constant(1e-6)], {}, "norm")
    y = writer.call("TupleGetItem", [whole, writer.constant(0)], {}, "norm")
    paths = writer.write(tmp_path, "m.mindir", [(TensorInfo("y", "float32", (2, 4)), y)])
    artifact = Artifact.of(Form.MINDIR, tmp_path, paths, parent="p")
    runner = MindSporeRunner(artifact, process=process)
    with pytest.raises(KernelMissingError, match=r"no kernel of RmsNorm$") as caught:
        runner.run({"x": np.ones((2, 4), np.float32)})
    assert caught.value.kernel == "RmsNorm"
    assert runner.twin == ""
