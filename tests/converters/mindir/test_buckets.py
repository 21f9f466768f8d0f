"""Where a node needs a fixed size, listed sizes become a graph each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.converters.mindir.graphs import graph, saved

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.errors import CheckError, ConversionError, UnsupportedOperatorError
from ascend_migrate.pipeline.inputs import parse_inputs
from ascend_migrate.pipeline.mindir_buckets import parts
from ascend_migrate.pipeline.mindir_format import read_model, read_signature
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.buckets import BucketRunner

WEIGHT = np.random.default_rng(0).standard_normal((16, 3, 1, 1)).astype(np.float32)

# A factor of 1.5 cannot be taken of a size that is not known.
ZOOM = graph(
    """net (float[n, 3, h, w] x) => (float[n, 16, p, q] y) <float[4] factors = {1, 1, 1.5, 1}> {
        mixed = Conv (x, mix)
        [grow] big = Resize <mode = "nearest"> (mixed, , factors)
        y = Tanh (big)
    }""",
    {"mix": WEIGHT},
)

BOTH = graph(
    """net (float[n, t] x, float[t] z) => (float[n, t] y) <float[2] factors = {1.5, 1.5}> {
        [back] turned = Resize <mode = "nearest"> (x, , factors)
        [odd] y = RandomNormalLike (turned)
    }"""
)


def converted(folder: Path, *inputs: str, model: onnx.ModelProto = ZOOM) -> Artifact:
    specs, faults = parse_inputs(inputs)
    assert not faults
    return convert(saved(model, folder), folder / "mindir", inputs=specs, parent="p")


def shapes(artifact: Artifact) -> list[Sequence[int | None]]:
    return [read_signature(part.path).inputs[0].shape for part in parts(artifact)]


def test_only_the_dimension_at_fault_becomes_fixed(tmp_path: Path) -> None:
    artifact = converted(tmp_path, "x=float32[n=1..4,3,h=8|16,w=6|9]")
    assert artifact.entry == "model.buckets.json"
    assert [file.path for file in artifact.files] == [
        "model.buckets.json",
        "model.h=16.mindir",
        "model.h=8.mindir",
        "model_variables/data_0",
    ]
    assert shapes(artifact) == [(None, 3, 8, None), (None, 3, 16, None)]
    assert artifact.notes[0].startswith("MindIR cannot keep h dynamic, so it is 2 graphs")
    assert "grow (Resize, opset 17): a factor of 1.5 on dimension 2" in artifact.notes[0]


def test_weights_are_stored_once(tmp_path: Path) -> None:
    artifact = converted(tmp_path, "x=float32[n=1..4,3,h=8|16|24,w=6..9]")
    assert artifact.files[-1].size == 64 + WEIGHT.nbytes
    places = {read_model(p.path).graph.parameter[0].external_data.offset for p in parts(artifact)}
    assert places == {64}


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        made.append(converted(tmp_path / name, "x=float32[n=1..4,3,h=8|16,w=6..9]"))
    assert made[0].files == made[1].files


def test_listed_sizes_stay_dynamic_where_they_can(tmp_path: Path) -> None:
    plain = graph("net (float[n, 3] x) => (float[n, 3] y) { y = Tanh (x) }")
    artifact = converted(tmp_path, "x=float32[n=1|4,3]", model=plain)
    assert (artifact.entry, shapes(artifact)) == ("model.mindir", [(None, 3)])


NUMBERS = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] minus = {-1}"

NEEDS_FIXED = {
    "pads of half the size, reflected": """
        t = Shape <start = 1, end = 2> (x)
        half = Div (t, two)
        pads = Concat <axis = 0> (zero, half, zero, zero, half, zero)
        y = Pad <mode = "reflect"> (x, pads)""",
    "backwards from the middle": """
        t = Shape <start = 1, end = 2> (x)
        half = Div (t, two)
        y = Slice (x, half, zero, one, minus)""",
    "windows rounded up": """
        turned = Transpose <perm = [0, 2, 1]> (x)
        y = MaxPool <kernel_shape = [3], strides = [2], ceil_mode = 1> (turned)""",
    "padding that keeps the size": """
        turned = Transpose <perm = [0, 2, 1]> (x)
        y = MaxPool <kernel_shape = [3], strides = [2], auto_pad = "SAME_UPPER"> (turned)""",
}

STAYS = {
    "as many as half the size": """
        t = Shape <start = 1, end = 2> (x)
        half = Div (t, two)
        y, at = TopK <axis = 1> (x, half)""",
    "as deep as the size": """
        t = Shape <start = 1, end = 2> (x)
        ends = Constant <value_floats = [0.0, 1.0]> ()
        at = Constant <value_ints = [0, 1]> ()
        y = OneHot (at, t, ends)""",
}


@pytest.mark.parametrize("text", NEEDS_FIXED.values(), ids=NEEDS_FIXED)
def test_what_needs_a_fixed_size_gets_it(text: str, tmp_path: Path) -> None:
    model = graph(f"net (float[n, t, 4] x) => (float y) <{NUMBERS}> {{ {text} }}")
    artifact = converted(tmp_path, "x=float32[n=1..4,t=6|8,4]", model=model)
    assert shapes(artifact) == [(None, 6, 4), (None, 8, 4)]


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_what_needs_none_stays_dynamic(text: str, tmp_path: Path) -> None:
    model = graph(f"net (float[n, t, 4] x) => (float y) <{NUMBERS}> {{ {text} }}")
    artifact = converted(tmp_path, "x=float32[n=1..4,t=6|8,4]", model=model)
    assert shapes(artifact) == [(None, None, 4)]


def test_a_signal_must_be_real_or_complex(tmp_path: Path) -> None:
    model = graph("net (float[n, t, parts] x) => (float y) { y = DFT <axis = 1> (x) }")
    artifact = converted(tmp_path, "x=float32[n=1..4,t=6..8,parts=1|2]", model=model)
    assert shapes(artifact) == [(None, None, 1), (None, None, 2)]


def test_a_range_is_refused_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        converted(tmp_path, "x=float32[n=1..4,3,h=8..16,w=6|9]")
    assert str(caught.value) == (
        "1 node(s) have no exact counterpart in MindIR: grow (Resize, opset 17): a factor of 1.5 "
        "on dimension 2, whose size is dynamic (h); with fixed sizes of h there is one: list them "
        "to get a graph for each, as in h=8|12|16"
    )
    assert not list((tmp_path / "mindir").iterdir())


def test_nodes_that_no_size_helps_are_listed_as_well(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        converted(tmp_path, "x=float32[n=1|2,t=4|8]", "z=float32[t]", model=BOTH)
    first, second = caught.value.nodes
    assert first.startswith("back (Resize, opset 17): a factor of 1.5 on dimension 0")
    assert first.endswith("(n, t)")
    assert second.startswith("odd (RandomNormalLike, opset 17)")


def test_too_many_graphs_are_refused(tmp_path: Path) -> None:
    sizes = "|".join(str(size) for size in range(1, 66))
    with pytest.raises(ConversionError, match="which are 65; list fewer sizes, for at most 64"):
        converted(tmp_path, f"x=float32[n=1..4,3,h={sizes},w=6..9]")


def test_a_size_without_a_graph_is_one_error(tmp_path: Path) -> None:
    artifact = converted(tmp_path, "x=float32[n=1..4,3,h=8|16,w=6..9]")
    said = r"no graph for x\[1, 3, 12, 6\]; .* for h=8, h=16$"
    with BucketRunner(artifact) as runner, pytest.raises(CheckError, match=said):
        runner.run({"x": np.zeros((1, 3, 12, 6), np.float32)})
