"""Branches and loops: every path, at every size, gives what onnxruntime gives."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser
from tests.converters.mindir.cases_control import (
    IF_CASES,
    LOOP_CASES,
    ControlCase,
    b,
    n,
    x,
)
from tests.converters.mindir.cases_scan import SCAN_CASES
from tests.converters.oracle import assert_same, run_onnx

from ascend_migrate.converters.mindir.load import load
from ascend_migrate.converters.mindir.lower import lower
from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.errors import UnsupportedOperatorError
from ascend_migrate.pipeline.mindir_format import read_model
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

CASES = [*IF_CASES, *LOOP_CASES, *SCAN_CASES]


def converted(model: onnx.ModelProto, folder: Path) -> Artifact:
    onnx.save(model, folder / "model.onnx")
    return convert(folder / "model.onnx", folder, inputs=(), parent="p")


@pytest.mark.mindspore
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_control_flow(
    case: ControlCase, tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    model = case.model()
    artifact = converted(model, tmp_path)
    written = read_model(artifact.path)
    called = {entry.op_type for entry in written.primitives}
    assert case.primitives <= called
    assert not case.absent & called
    graphs = [written.graph, *written.functions]
    taken = {ref for g in graphs for node in g.node for ref in (*node.input, node.op_type[5:])}
    # Functions that were tried with narrower sizes first are not kept.
    assert {function.name for function in written.functions} <= taken
    runner = MindSporeRunner(artifact, process=mindspore_process)
    for feeds in case.feeds:
        found = runner.run(feeds)
        assert_same(list(found.values()), run_onnx(model, feeds))


WEIGHTS = """<ir_version: 8, opset_import: ["" : 17]> weights
    (float[N, 4] x, bool p, int64 trips) => (float[N, 4] y, float[N, 4] z)
    <float[4, 4] w = {1, 2, 3, 4, 0, 1, 0, 1, 9, 8, 7, 6, -1, 0, 1, 2},
     float[4] bias = {0.1, 0.2, 0.3, 0.4}, float[4] unused = {1, 2, 3, 4}> {
    z = MatMul (x, w)
    yes = Constant <value = bool {1}> ()
    y = Loop (trips, yes, x) <
        body = step (int64 i, bool c, float[N, 4] s) => (bool d, float[N, 4] t) {
            d = Identity (c)
            t = If (p) <
                then_branch = th () => (float[N, 4] a) {
                    m = MatMul (s, w)
                    a = Add (m, bias) },
                else_branch = el () => (float[N, 4] e) { e = Sub (s, bias) }> }>
}"""


@pytest.mark.mindspore
def test_captured_weights_stay_parameters(
    tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    model = parser.parse_model(WEIGHTS)
    artifact = converted(model, tmp_path)
    stored = {
        tensor.ref_key: tensor.raw_data for tensor in read_model(artifact.path).graph.parameter
    }
    given = {tensor.name: tensor.raw_data for tensor in normalised(model).graph.initializer}
    assert stored == {name: given[name] for name in ("w", "bias")}
    runner = MindSporeRunner(artifact, process=mindspore_process)
    for size, p, trips in ((2, True, 2), (5, False, 3), (3, True, 0)):
        feeds = {"x": x(size, 4), "p": b(p), "trips": n(trips)}
        assert_same(list(runner.run(feeds).values()), run_onnx(model, feeds))


@pytest.mark.mindspore
def test_captured_weights_in_a_file_of_their_own(
    tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    model = parser.parse_model(WEIGHTS)
    onnx.save(model, tmp_path / "model.onnx")
    paths, _ = lower(load(tmp_path / "model.onnx"), tmp_path, "m.mindir", inline_limit=1)
    assert paths == ["m.mindir", "m_variables/data_0"]
    runner = MindSporeRunner(tmp_path / "m.mindir", process=mindspore_process)
    feeds = {"x": x(2, 4), "p": b(True), "trips": n(3)}
    assert_same(list(runner.run(feeds).values()), run_onnx(model, feeds))


def normalised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with its initializers as raw bytes."""
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return model


def branch(name: str, operator: str, weight: np.ndarray) -> onnx.GraphProto:
    """Returns a branch with a weight of its own, always called ``w``."""
    node = helper.make_node(operator, ["x", "w"], [f"{name}_y"], f"{name}_node")
    output = helper.make_tensor_value_info(f"{name}_y", onnx.TensorProto.FLOAT, [3])
    return helper.make_graph([node], name, [], [output], [numpy_helper.from_array(weight, "w")])


@pytest.mark.mindspore
def test_weights_inside_branches(tmp_path: Path, mindspore_process: MindSporeProcess) -> None:
    weights = [x(3, start=1), x(3, start=7)]
    node = helper.make_node(
        "If",
        ["p"],
        ["y"],
        "if_1",
        then_branch=branch("t", "Mul", weights[0]),
        else_branch=branch("e", "Add", weights[1]),
    )
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("p", onnx.TensorProto.BOOL, []),
    ]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, [output]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    artifact = converted(model, tmp_path)
    stored = {t.ref_key: t.raw_data for t in read_model(artifact.path).graph.parameter}
    assert sorted(stored.values()) == sorted(weight.tobytes() for weight in weights)
    assert set(stored) == {"w", "if_1/w"}
    runner = MindSporeRunner(artifact, process=mindspore_process)
    for p in (True, False):
        feeds = {"x": x(3), "p": b(p)}
        assert_same(list(runner.run(feeds).values()), run_onnx(model, feeds))


FUNCTIONS = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]> calls
    (float[3] x, bool p) => (float[3] y) {
    first = local.Choose (x, p)
    y = If (p) <
        then_branch = t () => (float[3] a) { q = Not (p)  a = local.Choose (first, q) },
        else_branch = e () => (float[3] b) { b = local.Choose (first, p) }>
}
<domain: "local", opset_import: ["" : 17]> Choose (s, c) => (r) {
    twice = Add (s, s)
    r = If (c) <
        then_branch = t () => (float[3] a) { k = Mul (twice, s)  a = Neg (k) },
        else_branch = e () => (float[3] b) { k = Sub (s, twice)  b = Abs (k) }>
}"""

BODY_OF_AN_OPERATOR = """<ir_version: 9, opset_import: ["" : 20]> expanded
    (float[2, 2, 3] theta, bool p) => (float[2, 4, 5, 2] y) {
    y = If (p) <
        then_branch = t () => (float[2, 4, 5, 2] a) {
            size = Constant <value_ints = [2, 1, 4, 5]> ()
            a = AffineGrid <align_corners = 1> (theta, size) },
        else_branch = e () => (float[2, 4, 5, 2] b) {
            size = Constant <value_ints = [2, 1, 4, 5]> ()
            k = AffineGrid (theta, size)
            b = Neg (k) }>
}"""


@pytest.mark.mindspore
@pytest.mark.parametrize(
    ("text", "feeds"),
    [(FUNCTIONS, {"x": x(3)}), (BODY_OF_AN_OPERATOR, {"theta": x(2, 2, 3)})],
    ids=["local-functions", "operator"],
)
def test_functions_with_branches(
    text: str,
    feeds: dict[str, np.ndarray],
    tmp_path: Path,
    mindspore_process: MindSporeProcess,
) -> None:
    model = parser.parse_model(text)
    runner = MindSporeRunner(converted(model, tmp_path), process=mindspore_process)
    for p in (True, False):
        given = {**feeds, "p": b(p)}
        assert_same(list(runner.run(given).values()), run_onnx(model, given))


UNSUPPORTED = """<ir_version: 8, opset_import: ["" : 17, "other" : 1]> faulty
    (float[3] x, bool p, int64 trips) => (float[3] y, float[3] z) {
    [top] bad = other.Magic (x)
    [if_12] y = If (p) <
        then_branch = t () => (float[3] a) { [conv_3] a = other.Conv (x) },
        else_branch = e () => (float[3] b) {
            yes = Constant <value = bool {1}> ()
            [loop_4] b = Loop (trips, yes, x) <
                body = step (int64 i, bool c, float[3] s) => (bool d, float[3] u) {
                    d = Identity (c)
                    [inner] u = other.Step (s) }> }>
    [if_13] z = If (p) <
        then_branch = t2 () => (float[3] a2) { [fine] a2 = Add (bad, bad) },
        else_branch = e2 () => (float[3] b2) {
            k2 = Neg (bad)
            [late] b2 = other.Late (k2) }>
}"""


def test_unsupported_nodes_are_listed_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        converted(parser.parse_model(UNSUPPORTED), tmp_path)
    assert [line.partition(" ")[0] for line in caught.value.nodes] == [
        "top",
        "if_12/then/conv_3",
        "if_12/else/loop_4/body/inner",
        "if_13/else/late",
    ]
    assert caught.value.nodes[1] == ("if_12/then/conv_3 (other::Conv, opset 1): no such operator")


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            """(float[2, 3] x, bool p) => (float[N] y) { [if_1] y = If (p) <
                then_branch = t () => (a) { a = Neg (x) },
                else_branch = e () => (bb) {
                    m = Constant <value_ints = [-1]> ()
                    bb = Reshape (x, m) }> }""",
            "if_1 (If, opset 17): 'y' has 2 or 1 dimensions, depending on the branch; "
            "MindIR needs the same number",
        ),
        (
            """(float[3] x) => (float[3] y) {
                yes = Constant <value = bool {1}> ()
                [loop_1] y = Loop ( , yes, x) <
                    body = s (int64 i, bool c, float[3] s) => (bool d, float[3] t) {
                        d = Identity (c)
                        t = Add (s, x) }> }""",
            "loop_1 (Loop, opset 17): the loop has no limit, and its condition is always true",
        ),
        (
            """(float[3] x, int64 trips) => (float[N] y) {
                yes = Constant <value = bool {1}> ()
                [loop_1] y = Loop (trips, yes, x) <
                    body = s (int64 i, bool c, s) => (bool d, t) {
                        d = Identity (c)
                        z = Constant <value_ints = [0]> ()
                        t = Unsqueeze (s, z) }> }""",
            "loop_1 (Loop, opset 17): a state has 1 dimensions before a trip and 2 after it; "
            "make the trips a constant, so that the loop can be written out",
        ),
    ],
    ids=["ranks", "endless", "growing-rank"],
)
def test_what_cannot_be_written_is_named(graph: str, reason: str, tmp_path: Path) -> None:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {graph}')
    with pytest.raises(UnsupportedOperatorError) as caught:
        converted(model, tmp_path)
    assert caught.value.nodes == (reason,)


def test_same_bytes_in_every_process(tmp_path: Path) -> None:
    onnx.save(parser.parse_model(WEIGHTS), tmp_path / "model.onnx")
    code = (
        "from pathlib import Path; from ascend_migrate.converters.onnx_to_mindir import convert; "
        "convert(Path('model.onnx'), Path('{}'), inputs=(), parent='p')"
    )
    made = []
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-P", "-c", code.format(seed)],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            check=True,
        )
        made.append((tmp_path / seed / "model.mindir").read_bytes())
    assert made[0] == made[1]
    assert len(made[0]) > 1000
