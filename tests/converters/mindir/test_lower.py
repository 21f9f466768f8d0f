"""What holds for every graph: nothing half-written, weights kept, shapes followed, same bytes."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from tests.converters.exporting import specs
from tests.converters.mindir.graphs import converted, graph, saved
from tests.converters.oracle import assert_same, run_onnx

from ascend_migrate.converters.mindir.load import load
from ascend_migrate.converters.mindir.lower import lower
from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.errors import ConversionError, SourceError, UnsupportedOperatorError
from ascend_migrate.pipeline.mindir_format import read_model, read_signature
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

RNG = np.random.default_rng(3)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_every_fault_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    model = graph(
        """net (float[2, 3] x, bool train) => (float[2, 3] y) {
            noise = RandomNormalLike (x)
            half = Constant <value_float = 0.5> ()
            kept = Dropout (x, half, train)
            sum = Add (noise, kept)
            y = Relu (sum)
        }"""
    )
    with pytest.raises(UnsupportedOperatorError) as caught:
        converted(model, tmp_path)
    assert [node.split(":")[0] for node in caught.value.nodes] == [
        "noise (RandomNormalLike, opset 17)",
        "kept (Dropout, opset 17)",
    ]
    assert "training_mode is not false" in caught.value.nodes[1]
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mindir", "model.onnx"]


def test_an_operator_that_onnx_does_not_know(tmp_path: Path) -> None:
    model = graph("net (float[2] x) => (float[2] y) { y = com.example.Swirl (x) }")
    model.opset_import.add(domain="com.example", version=3)
    with pytest.raises(UnsupportedOperatorError, match=r"\(com.example::Swirl, opset 3\)"):
        converted(model, tmp_path)


def test_weights_keep_their_names_and_bytes(tmp_path: Path) -> None:
    weights = {
        "encoder.0/weight:0": floats(4, 3),
        "half": floats(3).astype(np.float16),
        "brain": floats(3).astype(ml_dtypes.bfloat16),
        "table": RNG.integers(0, 9, (5, 3)),
        "onnx::Add_12": floats(3),
        "unused": floats(3),
        "scalar": np.array(2.5, np.float32),
    }
    model = graph(
        """net (float[4] x, float16[3] h, bfloat16[3] b, int64[2] i)
            => (float[3] y, float16[3] z, bfloat16[3] w, int64[2, 3] rows) {
            p = MatMul (x, "encoder.0/weight:0")
            twice = Add (p, "onnx::Add_12")
            y = Mul (twice, scalar)
            z = Add (h, half)
            w = Add (b, brain)
            rows = Gather (table, i)
        }""".replace('"encoder.0/weight:0"', "W").replace('"onnx::Add_12"', "P"),
    )
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = {"W": "encoder.0/weight:0", "P": "onnx::Add_12"}.get(name, name)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in weights.items())
    found = read_model(converted(model, tmp_path).path).graph.parameter
    kept = {name: array.tobytes() for name, array in weights.items() if name != "unused"}
    assert {p.ref_key: p.raw_data for p in found} == kept
    assert {p.ref_key: tuple(p.dims) for p in found}["encoder.0/weight:0"] == (4, 3)


def test_names_that_mindir_gives_itself(tmp_path: Path) -> None:
    model = graph("net (float[3] x) => (float[3] y) { b = Relu (x) y = Add (b, w) }")
    model.graph.node[1].input[1] = "%0"
    model.graph.initializer.append(onnx.numpy_helper.from_array(floats(3), "%0"))
    with pytest.raises(ConversionError, match="'%0' is the name of two values; rename that"):
        converted(model, tmp_path)


def test_a_weight_used_twice_is_stored_once(tmp_path: Path) -> None:
    model = graph(
        """net (float[2, 3] x) => (float[2, 3] y) {
            same = Identity (w)
            a = MatMul (x, w)
            y = MatMul (a, same)
        }""",
        {"w": floats(3, 3)},
    )
    assert [p.ref_key for p in read_model(converted(model, tmp_path).path).graph.parameter] == ["w"]


NET = """net (float[n, 8] x) => (float[n, 4] y, int64[2] size) {
    a = MatMul (x, first)
    b = Add (a, bias)
    c = Relu (b)
    y = MatMul (c, second)
    size = Shape (y)
}"""
WEIGHTS = {"first": floats(8, 16), "bias": floats(16), "second": floats(16, 4)}


@pytest.mark.mindspore
def test_weights_in_a_file_of_their_own(
    tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    path, feeds = saved(graph(NET, WEIGHTS), tmp_path), {"x": floats(5, 8)}
    whole, split = tmp_path / "whole", tmp_path / "split"
    answers = []
    for folder, limit in ((whole, 1 << 20), (split, 100)):
        folder.mkdir()
        files, _ = lower(load(path), folder, "model.mindir", inline_limit=limit)
        assert sorted(files) == sorted(
            str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()
        )
        runner = MindSporeRunner(folder / "model.mindir", process=mindspore_process)
        answers.append(list(runner.run(feeds).values()))
    assert_same(answers[1], run_onnx(path, feeds))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)
    data = (split / "model_variables/data_0").read_bytes()
    assert data[0] == 1
    for parameter in read_model(split / "model.mindir").graph.parameter:
        external = parameter.external_data
        assert external.offset % 64 == 0
        assert data[external.offset :][: external.length] == WEIGHTS[parameter.ref_key].tobytes()


@pytest.mark.mindspore
def test_outputs_of_every_kind(tmp_path: Path, mindspore_process: MindSporeProcess) -> None:
    model = graph(
        """net (float[n, 3] x)
            => (float[n, 3] x, float[3] w, int64[2] c, float[n, 3] y, float[n, 3] z)
            <int64[2] c = {4, 5}> {
            y = Add (x, w)
            z = Identity (y)
        }""",
        {"w": floats(3)},
    )
    artifact = converted(model, tmp_path)
    runner = MindSporeRunner(artifact, process=mindspore_process)
    feeds = {"x": floats(2, 3)}
    found = runner.run(feeds)
    assert list(found) == ["x", "w", "c", "y", "z"]
    assert_same(list(found.values()), run_onnx(model, feeds))


FUNCTIONS = """net (float[n, 3] x) => (float[n, 3] y, float[n, 3] z) {
    y = local.Twice <by = 3.0> (x)
    z = local.Twice <by = 0.5> (y)
}
<domain: "local", opset_import: ["" : 17, "local" : 1]>
Twice <by> (a) => (b) {
    scale = Constant <value_float : float = @by> ()
    once = local.Scaled (a, scale)
    b = local.Scaled (once, scale)
}
<domain: "local", opset_import: ["" : 17]>
Scaled (a, scale) => (b) {
    inner = Mul (a, scale)
    b = MeanVarianceNormalization <axes = [0]> (inner)
}"""


@pytest.mark.mindspore
def test_functions_of_the_model_and_of_onnx(
    tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    model, feeds = graph(FUNCTIONS), {"x": floats(4, 3)}
    runner = MindSporeRunner(converted(model, tmp_path), process=mindspore_process)
    assert_same(list(runner.run(feeds).values()), run_onnx(model, feeds))


AGAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.converters.mindir.graphs import converted
from tests.converters.mindir.operator_cases import cases
import hashlib
total = hashlib.sha256()
for number, case in enumerate(cases()[::9]):
    folder = Path(sys.argv[2]) / str(number)
    folder.mkdir(parents=True)
    total.update(converted(case.model(), folder).path.read_bytes())
print(total.hexdigest())
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", AGAIN, str(Path(__file__).parents[3]), str(tmp_path / seed)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(digests.pop()) == 65


def test_the_signature_is_that_of_the_graph(tmp_path: Path) -> None:
    signature = read_signature(converted(graph(NET, WEIGHTS), tmp_path).path)
    assert [(i.name, i.dtype, i.shape) for i in signature.inputs] == [("x", "float32", (None, 8))]
    assert [(i.name, i.dtype, i.shape) for i in signature.outputs] == [
        ("y", "float32", (None, 4)),
        ("size", "int64", (2,)),
    ]


def recurrent(time: str) -> onnx.ModelProto:
    weights = {"w": floats(1, 20, 3), "r": floats(1, 20, 5)}
    text = f"net (float[{time}, 2, 3] x) => (float y) {{ y = LSTM <hidden_size = 5> (x, w, r) }}"
    return graph(text, weights)


def test_a_loop_over_a_dynamic_time_is_noted(tmp_path: Path) -> None:
    for time, said in (("t", 1), ("4", 0)):
        folder = tmp_path / time
        folder.mkdir()
        notes = converted(recurrent(time), folder).notes
        assert [("set_inputs" in note) for note in notes] == [True] * said


REFUSED = {
    "a type that MindIR lacks": (
        "net (string[2] x) => (string[2] y) { y = Identity (x) }",
        "graph input 'x' is no tensor of a type that MindIR has",
    ),
    "two sizes that differ": (
        "net (float[2, 3] x, float[4, 3] z) => (float[2, 3] y) { y = Add (x, z) }",
        "sizes 2 and 4 do not broadcast",
    ),
    "an output that nothing computes": (
        "net (float[2] x) => (float[2] y) { z = Relu (x) }",
        "graph output 'y' is computed by no node",
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_graphs_that_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        converted(graph(text), tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_inputs_that_are_not_those_of_the_graph(tmp_path: Path) -> None:
    inputs = specs(["x=int64[2,8]", "z=float32[2]"])
    with pytest.raises(ConversionError) as caught:
        convert(saved(graph(NET, WEIGHTS), tmp_path), tmp_path, inputs=inputs, parent="p")
    for said in ("no input 'z'", "'x' is float32 in the graph, not int64"):
        assert said in str(caught.value)
    strings = graph("net (string[2] x) => (string[2] y) { y = Identity (x) }")
    with pytest.raises(ConversionError, match="'x' is no tensor in the graph, not int64"):
        convert(saved(strings, tmp_path), tmp_path, inputs=inputs[:1], parent="p")


def external(entries: Mapping[str, str]) -> onnx.ModelProto:
    model = graph("net (float[2] x) => (float[2] y) { y = Add (x, w) }", {"w": floats(2)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"location": "../secret"}, "leaves the model's folder"),
        ({"location": "/etc/passwd"}, "leaves the model's folder"),
        ({"location": "gone"}, "is missing"),
        ({"location": "data", "length": "4"}, "needs 8 bytes, the model says 4"),
        ({"location": "data", "offset": "6"}, "too short for tensor 'w'"),
    ],
    ids=str,
)
def test_weights_that_are_not_read(entries: dict[str, str], said: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(8))
    with pytest.raises(SourceError, match=said):
        converted(external(entries), tmp_path)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(SourceError, match="not an ONNX"):
        load(tmp_path / "model.onnx")


@pytest.mark.parametrize(("mode", "said"), [("nearest", 0), ("linear", 0), ("cubic", 1)])
def test_a_resize_that_is_no_resize_on_the_device_is_said(
    mode: str, said: int, tmp_path: Path
) -> None:
    model = graph(
        f"""net (float[1, 2, 4, 4] x) => (float[1, 2, 8, 8] y) {{
            twice = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
            y = Resize <mode = "{mode}"> (x, , twice)
        }}"""
    )
    notes = converted(model, tmp_path).notes
    assert [note.split(" for which")[0] for note in notes] == ["A Resize"] * said
