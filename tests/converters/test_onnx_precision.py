"""Lowering: the right type in the right place, few casts, and constants said in full."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser, shape_inference

from ascend_migrate.converters.onnx_precision import lower_precision
from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.precision import KEPT_OPERATORS, MOVES, Precision

HALF = Precision("float16")
F32, F16 = TensorProto.FLOAT, TensorProto.FLOAT16
RNG = np.random.default_rng(3)


def model_of(
    body: str, weights: Mapping[str, np.ndarray] | None = None, head: str = "float[2,4] x"
) -> onnx.ModelProto:
    """Returns the model whose main graph is ``body``, from x to y."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (' + head + ") => (float y) {" + body + "}"
    model = parser.parse_model(text)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    for name, array in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    # The size of y is inferred; what lies between is left without types, as files often are.
    model = shape_inference.infer_shapes(model)
    del model.graph.value_info[:]
    return model


def lowered(
    model: onnx.ModelProto, policy: Precision = HALF, weights: Sequence[str] = ()
) -> tuple[onnx.ModelProto, list[str]]:
    graph = ir.from_proto(model)
    notes = lower_precision(graph, policy, weights)
    made = ir.to_proto(graph)
    if policy.dtype == "float16":
        onnx.checker.check_model(made, full_check=True)
    return made, notes


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model).graph
    found = {t.name: t.data_type for t in graph.initializer}
    infos = (*graph.input, *graph.value_info, *graph.output)
    return found | {i.name: i.type.tensor_type.elem_type for i in infos}


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: np.ndarray = session.run(["y"], feeds)[0]
    return found


def test_callers_see_the_same_types_and_the_inside_is_lower() -> None:
    w = RNG.normal(size=(4, 4)).astype(np.float32)
    made, notes = lowered(model_of("h = MatMul (x, w) y = Relu (h)", {"w": w}), weights=["w"])
    types = types_of(made)
    assert (types["x"], types["w"], types["h"], types["y"]) == (F32, F16, F16, F32)
    assert operators(made) == ["Cast", "MatMul", "Relu", "Cast"]
    np.testing.assert_array_equal(
        numpy_helper.to_array(made.graph.initializer[0]), w.astype(np.float16)
    )
    assert notes == ["Computes in float16, as asked for: 2 operations."]
    x = RNG.normal(size=(2, 4)).astype(np.float32)
    wide = np.maximum(x.astype(np.float16).astype(float) @ w.astype(np.float16).astype(float), 0)
    np.testing.assert_allclose(run(made, x=x), wide, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("a = Exp (x) y = Log (a)", ["Exp", "Log"]),
        ("a = Exp (x) b = Relu (a) y = Log (b)", ["Exp", "Cast", "Relu", "Cast", "Log"]),
        ("a = Exp (x) b = Transpose (a) y = Log (b)", ["Exp", "Transpose", "Log"]),
        ("a = Relu (x) y = Transpose (a)", ["Cast", "Relu", "Transpose", "Cast"]),
        ("a = Relu (x) b = Exp (a) y = Add (a, b)", ["Cast", "Relu", "Cast", "Exp", "Cast"]),
        ("i = Shape (x) y = Cast <to = 1> (i)", ["Shape", "Cast"]),
        ("b = Cast <to = 9> (x) y = Cast <to = 1> (b)", ["Cast", "Cast", "Cast"]),
        ("a = Relu (x) y = Identity (x)", ["Cast", "Relu", "Identity"]),
    ],
)
def test_casts_lie_only_where_the_types_meet(body: str, wanted: list[str]) -> None:
    made, _ = lowered(model_of(body))
    assert operators(made)[: len(wanted)] == wanted
    assert types_of(made)["y"] == F32


@pytest.mark.parametrize("name", sorted(KEPT_OPERATORS))
def test_every_operator_kept_by_default_has_a_reason(name: str) -> None:
    assert len(KEPT_OPERATORS[name].split()) > 5
    assert name not in MOVES


def test_patterns_name_types_nodes_and_modules_with_all_inside() -> None:
    model = model_of("a = Relu (x) b = Relu (a) c = Tanh (b) y = Neg (c)")
    for node, module in zip(model.graph.node, ("enc.0", "enc.0.act", "dec", "dec"), strict=True):
        node.metadata_props.add(key="ascend_migrate.module", value=module)
    model.graph.node[3].name = "last"

    def kept(*patterns: str) -> list[str]:
        types = types_of(lowered(model, Precision("float16", patterns))[0])
        return [n for n in ("a", "b", "c") if types[n] == F32]

    assert kept("enc.0") == ["a", "b"]
    assert kept("enc.0.*") == ["b"]
    assert kept("Tanh") == ["c"]
    made, _ = lowered(model, Precision("float16", ("la?t",)))
    assert operators(made)[-2:] == ["Cast", "Neg"]


def test_a_pattern_that_keeps_nothing_is_refused_by_name() -> None:
    with pytest.raises(ConversionError, match=r"Tanhh, nowhere matches"):
        lowered(model_of("y = Tanh (x)"), Precision("float16", ("Tanh", "nowhere", "Tanhh")))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-3])
def test_a_constant_that_is_not_exact_is_said_in_full(value: float) -> None:
    constant = {"c": np.array([value], np.float32)}
    made, _ = lowered(model_of("y = Mul (x, c)", constant))
    assert types_of(made)["c"] == F32
    assert operators(made) == ["Cast", "Cast", "Mul", "Cast"]
    exact, _ = lowered(model_of("y = Mul (x, c)", {"c": np.array([0.25], np.float32)}))
    assert types_of(exact)["c"] == F16


def test_a_mask_stays_float32_until_the_softmax_brings_it_back() -> None:
    least = np.array(np.finfo(np.float32).min)
    body = "g = Mul (x, least) m = Unsqueeze (g, axis) s = Add (m, x) p = Softmax (s) y = Relu (p)"
    model = model_of(body, {"least": least, "axis": np.array([0])})
    made, notes = lowered(model)
    types = types_of(made)
    assert [types[n] for n in ("g", "m", "s", "p")] == [F32] * 4
    assert "3.403e+38, above float16's largest number" in notes[1]
    hidden = run(made, x=np.ones((2, 4), np.float32))
    np.testing.assert_array_equal(hidden, np.full((1, 2, 4), 0.25, np.float32))


def test_an_epsilon_that_float16_cannot_hold_keeps_its_reader() -> None:
    made, notes = lowered(model_of("y = Add (x, e)", {"e": np.array([1e-12], np.float32)}))
    assert operators(made) == ["Add"]
    assert "holds 1e-12" in notes[1]
    assert run(made, x=np.zeros((2, 4), np.float32)).max() == np.float32(1e-12)


def test_a_weight_out_of_range_keeps_its_reader() -> None:
    w = np.full((4, 4), 70000, np.float32)
    made, notes = lowered(model_of("y = MatMul (x, w)", {"w": w}), weights=["w"])
    assert operators(made) == ["MatMul"]
    assert types_of(made)["w"] == F32
    assert "'w' holds 7e+04" in notes[1]
    wide, _ = lowered(model_of("y = MatMul (x, w)", {"w": w}), Precision("bfloat16"), weights=["w"])
    (tensor,) = wide.graph.initializer
    assert tensor.data_type == TensorProto.BFLOAT16


def test_a_weight_of_both_worlds_stays_float32() -> None:
    w = RNG.normal(size=(4, 4)).astype(np.float32)
    model = model_of("a = MatMul (x, w) b = ReduceSum (w) y = Add (a, b)", {"w": w})
    made, _ = lowered(model, weights=["w"])
    np.testing.assert_array_equal(numpy_helper.to_array(made.graph.initializer[0]), w)


def test_branches_and_loops_keep_their_borders() -> None:
    body = """
        limit = Constant <value = int64 {3}> ()
        go = Constant <value = bool {1}> ()
        once = Relu (x)
        s = Loop (limit, go, x) <body = b (int64 i, bool c, float[2,4] v) => (bool d, float[2,4] w)
            { d = Identity (c) t = Tanh (v) w = Mul (t, once) }>
        total = ReduceSum <keepdims = 0> (x)
        zero = Constant <value = float {0.0}> ()
        up = Greater (total, zero)
        y = If (up) <then_branch = p () => (float[2,4] o) { o = Neg (s) },
                     else_branch = q () => (float[2,4] o) { o = Sub (s, once) }>
    """
    model = model_of(body)
    made, _ = lowered(model)
    loop = next(node for node in made.graph.node if node.op_type == "Loop")
    (inner,) = (a.g for a in loop.attribute if a.HasField("g"))
    assert [n.op_type for n in inner.node] == ["Identity", "Cast", "Tanh", "Mul", "Cast"]
    for sign in (1, -1):
        x = sign * np.abs(RNG.normal(size=(2, 4))).astype(np.float32)
        np.testing.assert_allclose(run(made, x=x), run(model, x=x), rtol=3e-3, atol=1e-3)


def test_what_onnx_has_no_lower_form_of_stays() -> None:
    sizes = {"roi": np.array([], np.float32), "up": np.array([1, 2], np.float32)}
    made, _ = lowered(model_of("a = Relu (x) b = Resize (a, roi, up) y = Relu (b)", sizes))
    assert types_of(made)["b"] == F32
    assert run(made, x=np.ones((2, 4), np.float32)).shape == (2, 8)


def test_integers_and_float64_are_left_alone() -> None:
    body = "d = Cast <to = 11> (x) e = Mul (d, d) i = Cast <to = 7> (e) y = Cast <to = 1> (i)"
    made, notes = lowered(model_of(body))
    assert operators(made) == ["Cast", "Mul", "Cast", "Cast"]
    assert types_of(made)["e"] == TensorProto.DOUBLE
    assert notes[0].startswith("Computes in float16, as asked for: 0 operations")


def test_the_same_bytes_each_time() -> None:
    def bytes_of() -> bytes:
        w = {"w": np.ones((4, 4), np.float32) / 3}
        body = "h = MatMul (x, w) e = Exp (h) t = Tanh (e) y = Add (t, h)"
        made, _ = lowered(model_of(body, w), weights=["w"])
        return made.SerializeToString(deterministic=True)

    assert bytes_of() == bytes_of()


STEPS = {
    "Relu": "Relu (@)",
    "Tanh": "Tanh (@)",
    "Exp": "Exp (@)",
    "Softmax": "Softmax (@)",
    "Transpose": "Transpose (@)",
    "Identity": "Identity (@)",
    "Add": "Add (@, @)",
}


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8), st.sampled_from([0, 1]))
@settings(max_examples=40, deadline=None)
def test_any_chain_has_each_node_in_its_type_and_no_cast_after_a_cast(
    chain: list[str], back: int
) -> None:
    names = ["x", *(f"v{i}" for i in range(len(chain) - 1)), "y"]
    lines = []
    for i, step in enumerate(chain):
        read = names[max(i - back, 0)] if step == "Add" else names[i]
        lines.append(f"{names[i + 1]} = {STEPS[step].replace('@', read)}")
    made, _ = lowered(model_of(" ".join(lines), head="float[3,3] x"))
    types = types_of(made)
    producer = {name: node for node in made.graph.node for name in node.output}
    for node in made.graph.node:
        kinds = {types[name] for name in (*node.input, *node.output)}
        if node.op_type == "Cast":
            before = producer.get(node.input[0])
            assert before is None or before.op_type != "Cast"
        elif node.op_type in KEPT_OPERATORS:
            assert kinds == {F32}
        elif node.op_type not in MOVES:
            assert kinds == {F16}
        else:
            assert len(kinds) == 1


@given(
    st.lists(st.floats(-7e4, 7e4, width=32), min_size=6, max_size=6),
    st.sampled_from(["float16", "bfloat16"]),
)
def test_moving_and_rounding_may_change_places(numbers: list[float], dtype: str) -> None:
    """What `MOVES` rests on."""
    x = np.array(numbers, np.float32).reshape(2, 3)
    low = numpy_dtype(dtype)

    def rounded(array: Any) -> Any:
        with np.errstate(over="ignore"):
            return array.astype(low).astype(np.float32)

    moves: list[Any] = [
        np.transpose,
        np.ravel,
        lambda a: a[:, ::-1],
        lambda a: np.concatenate([a, a]),
    ]
    for move in moves:
        np.testing.assert_array_equal(rounded(move(x)), move(rounded(x)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_range_is_that_of_the_type(dtype: str) -> None:
    import ml_dtypes

    info = ml_dtypes.finfo(numpy_dtype(dtype))  # type: ignore[no-untyped-call]
    policy = Precision(dtype)
    assert (policy.largest, policy.smallest) == (float(info.max), float(info.smallest_normal))
    assert policy.epsilon == float(info.eps) / 2 == BY_NAME[dtype].epsilon
    assert Precision.from_json(policy.to_json()) == policy
    assert helper.tensor_dtype_to_np_dtype(BY_NAME[dtype].onnx or 0) == numpy_dtype(dtype)
