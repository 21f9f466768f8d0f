"""The forecast: what is rounded where, what is found at each node, and what must be kept."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser
from tests.validators.forecast_models import BY_NAME, Toy, normal, number, positive

from ascend_migrate.pipeline.errors import EvidenceError, SourceError, SpecError
from ascend_migrate.validators.cases import Case
from ascend_migrate.validators.forecast.chips import FAMILIES, MIXED, chip_of
from ascend_migrate.validators.forecast.forecast import Forecast, forecast
from ascend_migrate.validators.forecast.graph import open_graph
from ascend_migrate.validators.forecast.policy import NAMES, POLICIES
from ascend_migrate.validators.forecast.simulation import Simulation

NEW, OLD = "Ascend910B3", "Ascend310P3"


def foreseen(toy: Toy, folder: Path, policy: str = "fp16", soc: str = NEW) -> Forecast:
    return forecast(toy.save(folder), POLICIES[policy], soc, toy.cases())


def names(found: Forecast) -> list[str]:
    assert found.kept is not None
    return [step.name for step in found.kept]


def outputs(
    toy: Toy, folder: Path, policy: str, soc: str, kept: tuple[str, ...] = ()
) -> np.ndarray:
    graph = open_graph(toy.save(folder))
    feeds = [case.feeds for case in toy.cases(1)]
    simulation = Simulation(graph, POLICIES[policy], chip_of(soc), feeds)
    places = [step.index for step in graph.steps if step.name in kept]
    return np.asarray(simulation.run(places)[0]["y"])


LINE = Toy(
    "line", "a = Mul (x, w) y = Add (a, b)", normal(4, 8), {"w": number(0.3), "b": normal(8)}
)
PRODUCT = Toy("product", "p = MatMul (x, w) y = Neg (p)", normal(4, 64), {"w": normal(64, 8)})


def weights(toy: Toy, folder: Path) -> dict[str, np.ndarray]:
    model = onnx.load(toy.save(folder))
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def test_vector_operators_compute_as_numpy_does_in_float16(tmp_path: Path) -> None:
    x = LINE.cases(1)[0].feeds["x"].astype(np.float16)
    held = {name: array.astype(np.float16) for name, array in weights(LINE, tmp_path).items()}
    wanted = x * held["w"] + held["b"]  # each operation rounds once, as IEEE 754 wants it
    found = outputs(LINE, tmp_path, "fp16", NEW)
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_a_kept_node_reads_what_was_rounded_and_rounds_nothing(tmp_path: Path) -> None:
    x = LINE.cases(1)[0].feeds["x"]
    held = weights(LINE, tmp_path)
    product = (x.astype(np.float16) * held["w"].astype(np.float16)).astype(np.float32)
    found = outputs(LINE, tmp_path, "fp16", NEW, ("/y",))
    np.testing.assert_array_equal(found, product + held["b"])


@pytest.mark.parametrize(
    ("policy", "soc", "kept", "reads", "makes"),
    [
        ("fp16", NEW, (), np.float16, np.float16),
        ("fp16", NEW, ("/p", "/y"), np.float32, np.float32),
        # The cube unit of the first chips has no float32: kept means its sums at best.
        ("fp16", OLD, ("/p", "/y"), np.float16, np.float32),
        ("cube_fp16", NEW, (), np.float16, np.float16),
        ("cube_fp16_fp32out", NEW, (), np.float16, np.float32),
        ("mixed", NEW, (), np.float16, np.float16),
        ("mixed", NEW, ("/p",), np.float32, np.float32),
    ],
)
def test_the_cube_unit_adds_in_float32_whatever_it_reads(
    tmp_path: Path, policy: str, soc: str, kept: tuple[str, ...], reads: type, makes: type
) -> None:
    x = PRODUCT.cases(1)[0].feeds["x"].astype(reads).astype(np.float64)
    w = weights(PRODUCT, tmp_path)["w"].astype(reads).astype(np.float64)
    found = outputs(PRODUCT, tmp_path, policy, soc, kept)
    step = 2.0**-11 if makes is np.float16 else 2.0**-24
    bound = step * np.abs(x @ w) + 64 * 2.0**-24 * (np.abs(x) @ np.abs(w))
    assert np.all(np.abs(found + x @ w) <= bound)
    assert np.array_equal(found, found.astype(makes))


def test_hf32_rounds_what_the_cube_unit_reads_and_nothing_else(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        outputs(LINE, tmp_path, "hf32", NEW), outputs(LINE, tmp_path, "hf32", NEW, ("/a", "/y"))
    )
    exact = outputs(PRODUCT, tmp_path, "hf32", NEW, ("/p",))
    found = outputs(PRODUCT, tmp_path, "hf32", NEW)
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert 2.0**-15 < error < 2.0**-11  # 12 digits, of sums of 64 products


def test_mixed_precision_follows_the_chips_lists(tmp_path: Path) -> None:
    body = "p = MatMul (x, w) q = Pow (p, two) r = Neg (q) s = Relu (p) y = Add (r, s)"
    toy = Toy("lists", body, normal(4, 8), {"w": normal(8, 8), "two": number(2.0)})
    found = foreseen(toy, tmp_path, "mixed")
    # Pow is on the list of what is kept, Neg follows it, Relu follows the product.
    assert {harm.name for harm in found.harms} == {"/p", "/s", "/y"}
    lowered = foreseen(toy, tmp_path, "mixed", OLD)  # whose list does not keep Pow
    assert {harm.name for harm in lowered.harms} == {"/p", "/q", "/r", "/s", "/y"}


def test_an_overflow_is_infinite_on_new_chips_and_the_largest_number_on_old(
    tmp_path: Path,
) -> None:
    toy = Toy("loud", "y = Mul (x, w)", positive(2, 3, size=3.0), {"w": number(6e4)})
    assert np.isposinf(outputs(toy, tmp_path, "fp16", NEW)).all()
    np.testing.assert_array_equal(outputs(toy, tmp_path, "fp16", OLD), 65504.0)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("rms_norm", ["/q", "/m", "/e", "/s"]),  # from the square to the root of its mean
        ("tiny_epsilon", ["/e", "/s"]),  # 1e-12 is nothing in float16, its root is something
        ("long_sum", ["/s", "/t"]),  # the sum, and what brings it back
        ("late_scale", ["/p", "/l"]),
        ("logarithm_near_one", ["/b", "/l"]),
        ("cancelling_product", ["/a", "/p", "/c"]),
    ],
)
def test_the_nodes_between_loss_and_cure_must_stay(
    tmp_path: Path, name: str, kept: list[str]
) -> None:
    found = foreseen(BY_NAME[name], tmp_path)
    assert not found.holds
    assert names(found) == kept
    assert found.minimal


def test_what_moves_between_kept_nodes_is_kept_with_them(tmp_path: Path) -> None:
    found = foreseen(BY_NAME["moved_between"], tmp_path)
    assert names(found) == ["/h", "/u"]
    assert [step.name for step in found.carried] == ["/t", "/r"]


def test_no_list_helps_where_the_cube_unit_cannot_read_float32(tmp_path: Path) -> None:
    found = foreseen(BY_NAME["cancelling_product"], tmp_path, soc=OLD)
    assert found.kept is None
    assert not found.holds


def test_each_node_says_what_happens_at_it(tmp_path: Path) -> None:
    found = foreseen(BY_NAME["variance"], tmp_path)
    harms = {harm.name: harm for harm in found.harms}
    largest = max(
        float(np.abs(case.feeds["x"].astype(np.float64) * 800).max())
        for case in BY_NAME["variance"].cases()
    )
    assert harms["/h"].largest == pytest.approx(largest, rel=1e-6)
    assert harms["/h"].overflows == 0
    assert harms["/h"].lost < 2.0**-11 * 2  # reads and makes rounded numbers
    assert harms["/q"].overflows > 0
    assert np.isinf(harms["/q"].lost)
    assert {harm.name for harm in found.harms[:4]} == {"/q", "/v", "/e", "/s"}
    tiny = foreseen(BY_NAME["small_gradients"], tmp_path)
    assert next(h for h in tiny.harms if h.name == "/b").flushed > 0.5
    exact = next(h for h in tiny.harms if h.name == "/a")
    assert exact.noise < 2.0**-22 < exact.error


def test_a_type_of_great_range_holds_where_float16_fails(tmp_path: Path) -> None:
    found = foreseen(BY_NAME["rms_norm"], tmp_path, "bf16")
    assert found.holds
    assert names(found) == []
    assert found.mixed is None


def test_the_list_in_other_words_is_tried_out(tmp_path: Path) -> None:
    found = foreseen(BY_NAME["late_scale"], tmp_path)
    assert found.mixed is not None
    assert found.mixed.names == ("BatchMatMulV2", "Mul")
    assert (found.mixed.kept, found.mixed.passes) == (6, True)
    assert found.spec is not None
    assert found.spec.names == ("/l", "/p")
    assert (found.spec.kept, found.spec.passes) == (3, True)  # and Softmax, which always stays


def graph(folder: Path, body: str, result: str = "float[m, n] y", functions: str = "") -> Path:
    text = (
        f'<ir_version: 8, opset_import: ["" : 17, "own" : 1]> '
        f"g (float[m, n] x, bool c) => ({result}) {{{body}}} {functions}"
    )
    path = folder / "graph.onnx"
    onnx.save(parser.parse_model(text), path)
    return path


def case(rows: int = 2) -> Case:
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((rows, 6)).astype(np.float32)
    return Case(f"rows={rows}", {"x": x, "c": np.array(True)})


def test_sizes_are_asked_anew_in_every_case(tmp_path: Path) -> None:
    path = graph(
        tmp_path,
        "s = Shape (x) r = Shape <start: int = 0, end: int = 1> (x) "
        "t = Transpose <perm: ints = [1, 0]> (x) a = Neg (t) y = Reshape (a, s)",
    )
    found = forecast(path, POLICIES["fp16"], NEW, [case(2), case(5)])
    assert found.holds
    assert {harm.name for harm in found.harms} == {"Neg_3"}  # as the parser numbers them


def test_functions_are_written_out_and_branches_are_said_to_be_left_alone(tmp_path: Path) -> None:
    path = graph(
        tmp_path,
        "a = own.double (x) y = If (c) <then_branch = t () => (float[m, n] u) {u = Exp (a)}, "
        "else_branch = e () => (float[m, n] v) {v = Neg (a)}>",
        functions='<domain: "own", opset_import: ["" : 17]> double (z) => (w) {w = Add (z, z)}',
    )
    found = forecast(path, POLICIES["fp16"], NEW, [case()])
    assert [harm.op_type for harm in found.harms] == ["Add"]
    assert len(found.opaque) == 1


def test_whole_numbers_pass_where_as_many_differ_as_rounding_explains(tmp_path: Path) -> None:
    path = graph(tmp_path, "a = Neg (x) y = ArgMax <axis: int = 1> (a)", "int64[m, k] y")
    found = forecast(path, POLICIES["fp16"], NEW, [case()])
    assert found.holds


def test_weights_beside_the_graph_are_mapped(tmp_path: Path) -> None:
    model = onnx.load(PRODUCT.save(tmp_path))
    onnx.save(
        model, tmp_path / "out.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    opened = open_graph(tmp_path / "out.onnx")
    assert isinstance(opened.weights["w"].base, np.memmap | np.ndarray)
    np.testing.assert_array_equal(opened.weights["w"], weights(PRODUCT, tmp_path)["w"])


@pytest.mark.parametrize(
    ("policy", "soc", "said"),
    [
        ("bf16", OLD, "does not compute in bfloat16"),
        ("hf32", OLD, "does not compute in hf32"),
        ("fp16", "Ascend910B", "first training chip"),
        ("fp16", "A100", "is not known"),
    ],
)
def test_chips_are_known_by_their_exact_names(
    tmp_path: Path, policy: str, soc: str, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        foreseen(LINE, tmp_path, policy, soc)


def test_inputs_that_are_not_the_graphs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="input 'x'"):
        forecast(LINE.save(tmp_path), POLICIES["fp16"], NEW, [Case("other", {})])


def test_a_graph_that_is_float16_already_is_refused(tmp_path: Path) -> None:
    path = graph(tmp_path, "h = Cast <to: int = 10> (x) y = Neg (h)", "float16[m, n] y")
    with pytest.raises(SourceError, match="no float32 arithmetic"):
        forecast(path, POLICIES["fp16"], NEW, [case()])


def test_every_family_has_its_lists_and_every_mode_of_atc_a_policy() -> None:
    assert MIXED.keys() == FAMILIES.keys()
    atc = {
        *("force_fp16", "force_fp32", "cube_fp16in_fp32out", "allow_fp32_to_fp16"),
        *("must_keep_origin_dtype", "allow_mix_precision", "allow_mix_precision_fp16"),
        *("allow_mix_precision_bf16", "fp16", "origin", "mixed_float16", "mixed_bfloat16"),
    }
    assert atc <= NAMES.keys()
