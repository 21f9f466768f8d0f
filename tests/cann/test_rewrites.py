"""Every rewrite means the same: the same numbers in onnxruntime, and no rule strikes any more."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from tests.cann.attempt import operated
from tests.cann.case import Case, ints, weights
from tests.cann.cases import CASES
from tests.cann.cases_image import resize
from tests.cann.cases_recurrent import LAYOUT, recurrent
from tests.cann.graphs import feeds, one, operators, run

from ascend_migrate.converters.cann.registry import answers
from ascend_migrate.pipeline.cann.generations import load_generation
from ascend_migrate.pipeline.errors import UnsupportedOperatorError
from ascend_migrate.validators.preflight.preflight import BLOCKING, examine

ANSWERED = {answer.rule for answer in answers()}
NEWEST = load_generation("9.1")
CHIP = "Ascend910B"


@cache
def after(case: Case) -> tuple[onnx.ModelProto, int]:
    """Returns a case's model after surgery, and how many nodes were rewritten."""
    return operated(case.model)


def struck(model: onnx.ModelProto) -> set[str]:
    """Returns the rules that would make the graph fail, or change its numbers."""
    return {item.rule for item in examine(model, NEWEST, CHIP) if item.effect in BLOCKING}


def same(wanted: list[Any], found: list[Any], close: float) -> None:
    for want, have in zip(wanted, found, strict=True):
        assert have.shape == want.shape
        assert have.dtype == want.dtype
        if close:
            room = close * max(float(np.abs(want).max(initial=0)), 1.0)
            np.testing.assert_allclose(have, want, rtol=0, atol=room)
        else:
            np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_numbers(case: Case) -> None:
    fed = feeds(case.model, case.sizes) | case.fed
    model, rewritten = after(case)
    onnx.checker.check_model(model, full_check=True)
    assert rewritten > 0 or case.model.opset_import[0].version > 17
    same(
        run(case.model, fed),
        run(model, {i.name: fed[i.name] for i in model.graph.input}),
        case.close,
    )


@pytest.mark.parametrize("case", [*CASES, *LAYOUT], ids=str)
def test_no_rule_strikes_any_more(case: Case) -> None:
    assert struck(after(case)[0]) <= {"no-input"}


@pytest.mark.parametrize("case", LAYOUT, ids=str)
def test_layout_is_a_transposition(case: Case) -> None:
    model = operated(case.model)[0]
    plain = onnx.ModelProto()
    plain.CopyFrom(case.model)
    (node,) = plain.graph.node
    del node.attribute[[a.name for a in node.attribute].index("layout")]
    for info in plain.graph.input:
        first, second = (info.type.tensor_type.shape.dim[i] for i in (0, 1))
        first.dim_value, second.dim_value = second.dim_value, first.dim_value
    del plain.graph.value_info[:]
    fed = feeds(case.model)
    wanted = run(plain, {name: np.swapaxes(value, 0, 1).copy() for name, value in fed.items()})
    found = run(model, fed)
    np.testing.assert_array_equal(found[0], wanted[0].transpose(2, 0, 1, 3))
    for have, want in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_array_equal(have, want.transpose(1, 0, 2))


def test_an_even_window_of_channels() -> None:
    # onnxruntime takes odd ones only: https://onnx.ai/onnx/operators/onnx__LRN.html by hand.
    model = operated(one("LRN", {"x": [1, 6, 3, 3]}, size=4, alpha=0.1, beta=0.7, bias=1.3))[0]
    (x,) = feeds(model).values()
    square = np.pad(x.astype(np.float64) ** 2, [(0, 0), (1, 2), (0, 0), (0, 0)])
    total = sum(square[:, i : i + 6] for i in range(4))
    np.testing.assert_allclose(run(model, {"x": x})[0], x / (1.3 + 0.1 / 4 * total) ** 0.7, 2e-6)


def test_upsample_becomes_resize() -> None:
    old = one("Resize", {"x": [1, 1, 2, 2], "roi": None, "s": np.array([1, 1, 2, 2], np.float32)})
    old.opset_import[0].version = 9
    (node,) = old.graph.node
    node.op_type = "Upsample"
    del node.input[1]
    model = operated(old)[0]
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(run(model, {"x": x})[0], x.repeat(2, 2).repeat(2, 3))


def test_torch_s_nearest_stays_a_resize() -> None:
    model = resize(
        [1, 2, "h", "w"],
        [1, 1, 2, 2],
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    assert operators(operated(model)[0]) == {"Resize"}


def test_what_goes_through_bytes_and_back_is_never_cast() -> None:
    scale, zero = np.array(0.1, np.float32), np.array(3, np.uint8)
    first = one("QuantizeLinear", {"x": [4], "s": scale, "z": zero})
    node = onnx.helper.make_node("DequantizeLinear", ["y", "s", "z"], ["back"])
    first.graph.node.append(node)
    first.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("back", onnx.TensorProto.FLOAT, [4])
    )
    model = operated(first)[0]
    fed = feeds(first)
    np.testing.assert_array_equal(run(model, fed)[0], run(first, fed)[0])
    casts = [n for n in model.graph.node if n.op_type == "Cast" and n.input[0] not in ("z",)]
    assert casts == []


IMAGE = [1, 2, 6, 6]
REFUSED: list[tuple[str, onnx.ModelProto, str]] = [
    (
        "roialign-mode",
        one("RoiAlign", {"x": IMAGE, "r": [3, 4], "b": np.zeros(3, np.int64)}, mode="max"),
        "the average",
    ),
    ("unique-axis", one("Unique", {"x": [4, 3]}, axis=0), "axis is never read"),
    ("unique-indices", one("Unique", {"x": [4]}, outputs=("y", "i")), "index outputs"),
    (
        "maxpool-indices",
        one("MaxPool", {"x": IMAGE}, outputs=("y", "i"), kernel_shape=[2, 2]),
        "indices are used",
    ),
    (
        "scatternd-mul",
        one("ScatterND", {"x": [4, 3], "i": ints(1).reshape(1, 1), "u": [1, 3]}, reduction="mul"),
        "reduction",
    ),
    (
        "batchnorm-training",
        one(
            "BatchNormalization",
            {
                "x": [2, 1, 4],
                "s": weights(1),
                "b": weights(1),
                "m": weights(1),
                "v": np.ones(1, np.float32),
            },
            outputs=("y", "mean", "var"),
            training_mode=1,
        ),
        "training mode",
    ),
    (
        "dropout-seed",
        one("Dropout", {"x": [4], "ratio": np.array(0.3, np.float32), "t": np.array(True)}, seed=1),
        "training mode",
    ),
    ("resize-constant", one("Resize", {"x": IMAGE, "roi": None, "s": [4]}), "computed at run time"),
    (
        "resize-inputs",
        one("Resize", {"x": IMAGE, "roi": np.zeros(8, np.float32)}, check=False),
        "neither scales nor sizes",
    ),
    ("randomnormal-dtype", one("RandomNormal", {}, dtype=16, shape=[3]), "draw float32 and cast"),
    (
        "conv-rank",
        one("Conv", {"x": [1, 1, 2, 2, 2, 2], "w": weights(1, 1, 1, 1, 1, 1)}),
        "3, 4 and 5",
    ),
    (
        "gru-linear-before-reset",
        one(
            "GRU",
            {"x": ["t", 2, 3], "w": weights(1, 12, 3), "r": weights(1, 12, 4)},
            hidden_size=4,
            linear_before_reset=1,
        ),
        "dimension 0 of its input is not fixed",
    ),
    (
        "gru-linear-before-reset",
        one(
            "GRU",
            {"x": [1025, 2, 3], "w": weights(1, 12, 3), "r": weights(1, 12, 4)},
            hidden_size=4,
            linear_before_reset=1,
        ),
        "up to 1024 are written out",
    ),
    (
        "resize-nearest-mode",
        resize([1, 2, "h", "w"], [1, 1, 1.5, 1.5], nearest_mode="floor"),
        "is not fixed",
    ),
    ("pad-count", one("Pad", {"x": [4, 3], "p": ints(1, 0, 1)}, check=False), "two for each"),
    ("unregistered", one("Optional", {"x": [3]}), "no such standard operator"),
    (
        "unregistered",
        one(
            "QuantizeLinear",
            {"x": [3], "s": np.array(1, np.float32), "z": np.array(1, np.int16)},
            opset=21,
        ),
        "int16",
    ),
    ("sequence-empty-dtype", one("SequenceEmpty", {}, dtype=7), "dtype is never read"),
]


@pytest.mark.parametrize(
    ("_rule", "model", "reason"), REFUSED, ids=[f"{r}: {why}" for r, _, why in REFUSED]
)
def test_refused_by_name(_rule: str, model: onnx.ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        operated(model)
    (line,) = caught.value.nodes
    assert line.startswith("the_node (")
    assert reason in line


def test_all_refused_nodes_are_listed() -> None:
    model = one("Unique", {"x": [4]}, outputs=("y", "i"))
    node = onnx.helper.make_node("Optional", ["x"], ["maybe"], name="second")
    model.graph.node.append(node)
    with pytest.raises(UnsupportedOperatorError) as caught:
        operated(model)
    assert [line.split(" ")[0] for line in caught.value.nodes] == ["the_node", "second"]


def test_long_sums_of_bytes_are_taken_apart() -> None:
    (case,) = [case for case in CASES if str(case) == "unregistered: MatMulInteger, a long sum"]
    assert operated(case.model)[0].graph.node[-1].op_type == "Add"


def test_names_are_unique() -> None:
    model = operated(recurrent("GRU", linear_before_reset=1))[0]
    names = [node.name for node in model.graph.node]
    others = {info.name for info in model.graph.input}
    others |= {tensor.name for tensor in model.graph.initializer}
    assert len(set(names)) == len(names)
    assert not others & set(names)
