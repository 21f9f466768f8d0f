"""The ledger sees what outputs do not: every wrong, missing, swapped or damaged weight."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.ledger.ledger import check_equal, check_ledger
from ascend_migrate.validators.ledger.weight_bytes import Digests, content_digest, oddities
from ascend_migrate.validators.ledger.weights import Stored, Weight

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = A + 10
STEPS = np.array([3], np.int64)
SOURCE = {
    "a": Weight.of("float32", A, used=True),
    "b": Weight.of("float32", B, used=True),
    "steps": Weight.of("int64", STEPS, used=True),
    "spare": Weight.of("float32", A * 2, used=False),
}
WHOLE = [
    Stored("a", "float32", A),
    Stored("b", "float32", B),
    Stored("steps", "int64", STEPS),
    Stored("spare", "float32", A * 2),
]


def bad(stored: list[Stored], source: dict[str, Weight] = SOURCE) -> list[tuple[str, str]]:
    found = check_ledger(Form.ONNX, source, stored)
    return [(f.check, f.subject) for f in found if f.outcome is not Outcome.PASS]


def without(*names: str) -> list[Stored]:
    return [item for item in WHOLE if item.name not in names]


def test_a_whole_artifact_passes_with_one_finding_each() -> None:
    found = check_ledger(Form.ONNX, SOURCE, WHOLE)
    assert [(f.check, f.outcome) for f in found] == [
        ("weights.ledger", Outcome.PASS),
        ("weights.finite", Outcome.PASS),
    ]
    assert found[0].note == "4 of 4 tensors bit-equal"


def test_an_unread_tensor_and_a_computed_integer_may_be_missing() -> None:
    found = check_ledger(Form.ONNX, SOURCE, without("spare", "steps"))
    assert found[0].outcome is Outcome.PASS
    assert "1 that the original never reads" in found[0].note
    assert "steps" in found[0].note


def test_a_renamed_or_reshaped_tensor_is_found_by_its_bytes() -> None:
    renamed = [*without("b"), Stored("other", "float32", B.reshape(3, 2))]
    assert bad(renamed) == []


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (without("b"), ["b"]),
        ([*without("b"), Stored("b", "float32", B + 1)], ["b"]),
        ([*without("b"), Stored("b", "float16", B.astype(np.float16))], ["b"]),
        ([*without("a", "b"), Stored("a", "float32", B), Stored("b", "float32", A)], ["a", "b"]),
        ([*without("steps"), Stored("steps", "int64", STEPS + 1)], ["steps"]),
        ([*without("spare"), Stored("spare", "float32", A)], ["spare"]),
    ],
    ids=["missing", "changed", "cast", "swapped", "integer", "unread but changed"],
)
def test_what_is_wrong_is_named(stored: list[Stored], names: list[str]) -> None:
    assert bad(stored) == [("weights.ledger", name) for name in names]


def test_nan_in_either_fails_though_the_bytes_are_equal() -> None:
    broken = A.copy()
    broken[0, 0] = np.nan
    source = SOURCE | {"a": Weight.of("float32", broken, used=True)}
    stored = [*without("a"), Stored("a", "float32", broken)]
    assert bad(stored, source) == [("weights.finite", "a")]
    # An extra tensor of the artifact alone counts as well.
    assert bad([*WHOLE, Stored("extra", "float32", broken)]) == [("weights.finite", "extra")]


def test_a_lone_nan_is_what_a_graph_answers_on_purpose_but_no_weight() -> None:
    lone = np.full((1,), np.nan, np.float32)
    assert bad([*WHOLE, Stored("masked", "float32", lone)]) == []
    sound = np.ones((1,), np.float32)
    source = SOURCE | {"scale": Weight.of("float32", sound, used=True)}
    assert bad([*WHOLE, Stored("scale", "float32", sound)], source) == []
    assert bad([*WHOLE, Stored("scale", "float32", lone)], source) == [("weights.ledger", "scale")]
    source = SOURCE | {"scale": Weight.of("float32", lone, used=True)}
    assert bad([*WHOLE, Stored("scale", "float32", lone)], source) == [("weights.finite", "scale")]


def test_nothing_compared_is_no_pass() -> None:
    assert bad([], {}) == [("weights.ledger", "all weights")]


def test_equal_wants_names_types_sizes_and_no_more() -> None:
    def faults(stored: list[Stored]) -> set[str]:
        found = check_equal(Form.SAFETENSORS, SOURCE, stored)
        return {f.subject for f in found if f.outcome is not Outcome.PASS}

    assert faults(WHOLE) == set()
    assert faults(without("spare")) == {"spare"}
    assert faults([*WHOLE, Stored("more", "float32", A)]) == {"more"}
    assert faults([*without("a"), Stored("a", "float32", A.reshape(3, 2))]) == {"a"}
    assert faults([*without("a"), Stored("a", "float32", -A)]) == {"a"}


# Causes, rules and both sides of the books; `tensors` reads the source's numbers.

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def weighed(**arrays: np.ndarray) -> dict[str, Weight]:
    return {n: Weight.of(a.dtype.name, a, used=True) for n, a in arrays.items()}


def kept(**arrays: np.ndarray) -> list[Stored]:
    return [Stored(name, array.dtype.name, array) for name, array in arrays.items()]


def ledger(
    source: dict[str, np.ndarray], stored: list[Stored], constants: tuple[str, ...] = ()
) -> Finding:
    found = check_ledger(
        Form.ONNX,
        weighed(**source),
        stored,
        tensors=source.__getitem__,
        constants=constants,
    )
    return found[0]


M = normal(16, 16)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (M.T.copy(), "transposed"),
        (M * 0, "zeroed"),
        (-M, "its sign turned"),
        (M * np.float32(0.5), "scaled by about 0.5"),
        (M[::-1].copy(), "16 of 16 rows permuted, first row 0"),
        (np.roll(M, 3, 1), "16 of 16 columns permuted, first column 0"),
        (M.astype(np.float16).astype(np.float32), "rounded to float16"),
        (M + np.float32(0.25), "shifted by about 0.25"),
    ],
)
def test_the_cause_is_named(found: np.ndarray, cause: str) -> None:
    finding = ledger({"m": M}, kept(m=found))
    assert finding.outcome is Outcome.FAIL
    assert finding.note == f"has other bytes than in the source: {cause}"


@pytest.mark.parametrize(
    ("bit", "part"), [(31, "its sign"), (30, "bit 30 of its exponent"), (0, "bit 0 of its signif")]
)
def test_a_flipped_bit_is_found_in_its_element(bit: int, part: str) -> None:
    flipped = M.copy()
    flipped.view(np.uint32)[3, 5] ^= np.uint32(1 << bit)
    assert f"one bit flipped in element [3, 5] ({part}" in ledger({"m": M}, kept(m=flipped)).note


def test_without_numbers_a_swap_is_named_all_the_same() -> None:
    source = weighed(m=M, n=-M)
    found = check_ledger(Form.ONNX, source, kept(m=-M, n=M))
    assert [(f.subject, f.note) for f in found if f.outcome is Outcome.FAIL] == [
        ("m", "swapped with n: each holds the other's bytes"),
        ("n", "swapped with m: each holds the other's bytes"),
    ]


Q, K, V = normal(8, 16), normal(4, 16), normal(4, 16)
QKV = np.concatenate([Q, K, V])


@pytest.mark.parametrize(
    ("source", "stored", "note"),
    [
        ({"m": M, "q": Q}, {"m": M, "x": Q.T.copy()}, "1 transposed (q as x)"),
        ({"m": M, "q": Q, "k": K, "v": V}, {"m": M, "x": QKV}, "3 merged (q + k + v as x)"),
        (
            {"m": M, "q": Q, "k": K, "v": V},
            {"m": M, "x": QKV.T.copy()},
            "3 merged (q + k + v as x)",
        ),
        ({"m": M, "w": QKV}, {"m": M, "v": V, "q": Q, "k": K}, "1 split (w as q + k + v)"),
        (
            {"m": M, "w": QKV},
            {"m": M, "a": V.T.copy(), "b": Q.T.copy(), "c": K.T.copy()},
            "1 split (w as b + c + a)",
        ),
    ],
    ids=["transposed", "merged", "merged and transposed", "split", "split and transposed"],
)
def test_a_weight_stored_otherwise_is_computed_again(
    source: dict[str, np.ndarray], stored: dict[str, np.ndarray], note: str
) -> None:
    finding = ledger(source, kept(**stored))
    assert (finding.outcome, finding.note) == (
        Outcome.PASS,
        f"1 of {len(source)} tensors bit-equal; {note}",
    )
    # One wrong bit, and the rule explains nothing.
    for name in stored.keys() - source.keys():
        wrong = stored[name].copy()
        wrong.view(np.uint32).reshape(-1)[-1] ^= np.uint32(1)
        assert ledger(source, kept(**{**stored, name: wrong})).outcome is Outcome.FAIL


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_a_folded_normalisation_is_computed_again(epsilon: float) -> None:
    source = {
        "conv.weight": normal(8, 3, 3, 3),
        "conv.bias": normal(8),
        "bn.weight": 1 + normal(8) / 4,
        "bn.bias": normal(8),
        "bn.running_mean": normal(8),
        "bn.running_var": RANDOM.uniform(0.5, 2, 8).astype(np.float32),
    }
    gain = source["bn.weight"] / np.sqrt(source["bn.running_var"] + np.float32(epsilon))
    kernel = source["conv.weight"] * gain[:, None, None, None]
    bias = (source["conv.bias"] - source["bn.running_mean"]) * gain + source["bn.bias"]
    finding = ledger(source, kept(w=kernel, b=bias))
    assert finding.outcome is Outcome.PASS
    assert "6 folded (conv.weight + conv.bias + bn.weight + " in finding.note
    assert ledger(source, kept(w=kernel * np.float32(1.0001), b=bias)).outcome is Outcome.FAIL
    assert ledger(source, kept(w=kernel, b=bias + np.float32(1e-3))).outcome is Outcome.FAIL


def test_a_tensor_that_no_node_reads_is_not_there() -> None:
    stale = [Stored("m", "float32", M, read=False), *kept(x=M * np.float32(1.5))]
    found = check_ledger(Form.ONNX, weighed(m=M), stale, tensors={"m": M}.__getitem__)
    assert {f.subject: f.note for f in found if f.outcome is Outcome.FAIL} == {
        "m": "is in the artifact, but no node reads it; x is a changed copy: scaled by about 1.5",
    }
    beside = ledger({"m": M}, kept(m=M, x=M * np.float32(1.5)))
    assert (beside.subject, beside.note) == (
        "x",
        "is no tensor of the source, but a changed copy of m: scaled by about 1.5",
    )
    assert ledger({"m": M}, [stale[0], *kept(x=M)]).outcome is Outcome.PASS


def test_floats_that_come_from_nowhere_are_named() -> None:
    table = normal(16, 20)
    note = ledger({"m": M}, kept(m=M, t=table)).note
    assert note.endswith("constants of its code, which the outputs alone prove: t")
    known = content_digest(table)
    for extra in (kept(t=table), kept(t=table * 0 + 1), kept(t=M.T.copy()), kept(t=normal(15))):
        finding = ledger({"m": M}, [*kept(m=M), *extra], (known,))
        assert finding.note == "1 of 1 tensors bit-equal"


def test_a_copy_elsewhere_that_was_changed_is_told_of_what_is_missing() -> None:
    note = ledger({"m": M, "q": Q}, kept(m=M, x=Q.T * np.float32(1.25))).note
    assert note == (
        "the original reads it; the artifact lacks it; x is a changed copy: "
        "transposed, and scaled by about 1.25"
    )


INDEX = np.arange(40)


@pytest.mark.parametrize(
    ("source", "stored", "note"),
    [
        (INDEX, None, "integers computed in advance, which the outputs alone prove: i"),
        (INDEX, INDEX.astype(np.int32), "1 of another integer type (i as x)"),
        (INDEX.astype(np.int8), INDEX.astype(np.float32), "1 of another integer type (i as x)"),
        (INDEX > 20, None, "integers computed in advance, which the outputs alone prove: i"),
        ((INDEX > 20).astype(np.uint8), None, "integers computed in advance"),
        (INDEX.astype(np.int8), None, "the original reads it; the artifact lacks it"),
        (INDEX.astype(np.int8), (INDEX + 1).astype(np.float32), "the artifact lacks it"),
    ],
    ids=["positions", "int32", "as floats", "mask", "bytes mask", "quantised", "wrong"],
)
def test_which_integers_may_be_missing(
    source: np.ndarray, stored: np.ndarray | None, note: str
) -> None:
    finding = ledger({"m": M, "i": source}, kept(m=M, **({} if stored is None else {"x": stored})))
    assert note in finding.note
    assert finding.outcome is (Outcome.FAIL if "lacks" in note else Outcome.PASS)


MASK = np.triu(np.full((16, 16), -np.inf, np.float32), 1)


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (MASK, False),
        (M + MASK, False),
        (np.where(np.arange(256).reshape(16, 16) == 7, np.float32(np.inf), M), True),
        (np.where(np.arange(256).reshape(16, 16) == 7, np.float32(-np.inf), M), True),
        (np.full(3, np.inf, np.float32), False),
    ],
    ids=["mask", "mask with slopes", "overflow", "one below", "bounds"],
)
def test_infinity_is_for_masks(array: np.ndarray, *, fault: bool) -> None:
    found = check_ledger(Form.ONNX, weighed(m=array), kept(m=array))
    notes = [f.note for f in found if f.outcome is Outcome.FAIL]
    assert notes == (["holds infinity in the source; get a sound checkpoint"] if fault else [])


def test_denormals_are_counted() -> None:
    low = M.copy()
    low[0, :3] = 1e-40
    note = check_ledger(Form.ONNX, weighed(m=low), kept(m=low))[1].note
    assert "3 elements are denormal (3 of them in m)" in note


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn"])
@given(data=st.binary(min_size=64, max_size=64))
def test_what_is_no_ordinary_number_is_counted_by_its_bits(dtype: str, data: bytes) -> None:
    array = np.frombuffer(data, numpy_dtype(dtype))
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.float64)
    odd = oddities(array)
    assert odd.nan == np.count_nonzero(np.isnan(wide))
    assert odd.infinite == np.count_nonzero(np.isinf(wide))
    if "8" not in dtype:
        least = {"float64": 2.0**-1022, "float16": 2.0**-14}.get(dtype, 2.0**-126)
        assert odd.denormal == np.count_nonzero((wide != 0) & (np.abs(wide) < least))


def test_a_weight_survives_its_golden_file() -> None:
    endless, low = M * np.float32(np.inf), M * np.float32(1e-40)
    for array in (M, MASK, endless, low, M.astype(np.float16), INDEX, INDEX > 3):
        weight = Weight.of(array.dtype.name, array, used=True)
        assert Weight.from_json(json.loads(json.dumps(weight.to_json()))) == weight


def test_a_shared_part_of_a_file_is_hashed_once(tmp_path: Path) -> None:
    save_file({"m": M, "n": -M}, tmp_path / "w.safetensors")
    digests = Digests()
    one, other = (open_checkpoint(tmp_path / "w.safetensors") for _ in range(2))
    known = {name: digests.of(one.read(name)) for name in "mn"}
    assert known == {"m": content_digest(M), "n": content_digest(-M)}
    mapped = {name: other.read(name) for name in "mn"}
    (tmp_path / "w.safetensors").write_bytes(b"")  # what is read now would be cut off
    assert {name: digests.of(array) for name, array in mapped.items()} == known
    with pytest.raises(SourceError, match="changed while it was read"):
        Digests().of(mapped["m"])
