"""The grammar of --input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline.inputs import Dim, InputSpec, combinations, dynamic_dims, parse_inputs


def test_reads_the_example_of_the_documentation() -> None:
    inputs, faults = parse_inputs(["x=int64[batch=1..8,2,time=16..64]:0..138"])
    assert faults == ()
    batch, time = Dim.between("batch", 1, 8), Dim.between("time", 16, 64)
    assert inputs == (InputSpec("x", "int64", (batch, 2, time), 0.0, 138.0),)
    assert inputs[0].sizes({"batch": 3, "time": 20}) == (3, 2, 20)


def test_inputs_share_a_dimension_by_name() -> None:
    inputs, faults = parse_inputs(["a=float32[n=1..4]", "b=float32[n,3]"])
    assert faults == ()
    assert inputs[1].shape == (Dim.between("n", 1, 4), 3)
    assert dynamic_dims(inputs) == {"n": Dim.between("n", 1, 4)}


def test_sizes_can_be_listed_or_stepped() -> None:
    inputs, faults = parse_inputs(["x=float32[1,h=64..256/32,w=256|64|128]", "y=float32[w]"])
    assert faults == ()
    h, w = dynamic_dims(inputs).values()
    assert list(h.sizes) == [64, 96, 128, 160, 192, 224, 256]
    assert (w.sizes, w.listed, w.low, w.high, w.step) == ((64, 128, 256), True, 64, 256, 64)
    assert (h.listed, h.low, h.high, h.step) == (False, 64, 256, 32)
    assert inputs[1].shape == (w,)


def test_an_example_of_listed_sizes_is_valid() -> None:
    for dim in (Dim.between("t", 16, 64), Dim.between("t", 3, 4), Dim.between("t", 8, 24, 8)):
        ((item,), faults) = parse_inputs([f"x=float32[{dim.as_list()}]"])
        assert faults == ()
        assert set(dynamic_dims([item])["t"].sizes) <= set(dim.sizes)


def test_combinations_are_all_of_them_in_order() -> None:
    dims = [Dim("n", (1, 2)), Dim("t", (8, 16))]
    made = [(sizes["n"], sizes["t"]) for sizes in combinations(dims)]
    assert made == [(1, 8), (1, 16), (2, 8), (2, 16)]
    assert combinations([]) == [{}]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x", "expected NAME=DTYPE"),
        ("x=int65[2]", "unknown dtype 'int65'"),
        ("x=int64[0]", "dimension 0 must be at least 1"),
        ("x=int64[-1]", "neither a number nor name=LOW..HIGH"),
        ("x=int64[n]", "dimension 'n' has no range"),
        ("x=int64[n=4..2]", "must have 1 <= LOW <= HIGH"),
        ("x=int64[n=1..2,n=1..3]", "is given twice: n=1..2 and n=1..3"),
        ("x=int64[n=1..2,n=1|2]", "is given twice: n=1..2 and n=1|2"),
        ("x=int64[n=8]", "name=SIZE|SIZE"),
        ("x=int64[n=0|8]", "every size must be at least 1"),
        ("x=int64[n=8|16|8]", "names a size twice"),
        ("x=int64[n=8..20/8]", "HIGH must be LOW and some whole steps"),
        ("x=int64[n=8..24/0]", "HIGH must be LOW and some whole steps"),
        ("x=int64[n=8|16/8]", "neither a number nor"),
        ("x=int64[2]:5", "is not LOW..HIGH"),
        ("x=int64[2]:6..5", "is empty"),
        ("x=float32[2]:0..1e999", "has no end"),
    ],
)
def test_says_what_is_wrong(text: str, fault: str) -> None:
    inputs, faults = parse_inputs([text])
    assert inputs == ()
    assert len(faults) == 1
    assert fault in faults[0]
    assert text in faults[0]


def test_reports_every_fault_of_every_input() -> None:
    _, faults = parse_inputs(["x=int65[n]", "y", "z=float32[2]", "z=float32[3]"])
    assert len(faults) == 4
    assert faults[-1] == "input 'z' is given twice"


names = st.from_regex(r"[a-z]{1,4}", fullmatch=True)
dims = st.one_of(
    st.integers(1, 512),
    st.builds(
        lambda name, low, more, step: Dim.between(name, low, low + more * step, step),
        names,
        st.integers(1, 9),
        st.integers(0, 9),
        st.integers(1, 9),
    ),
    st.builds(
        lambda name, sizes: Dim(name, tuple(sorted(sizes))),
        names,
        st.sets(st.integers(1, 512), min_size=2, max_size=5),
    ),
)


@given(
    name=names,
    dtype=st.sampled_from(["float32", "int64", "bfloat16", "bool"]),
    shape=st.lists(dims, max_size=4, unique_by=lambda d: d.name if isinstance(d, Dim) else id(d)),
    bounds=st.none()
    | st.tuples(st.integers(-99, 99), st.integers(100, 2**53)).map(lambda b: tuple(map(float, b)))
    | st.tuples(st.floats(-1e30, 0.0), st.floats(0.0, 1e30)),
)
def test_reads_back_what_it_prints(
    name: str, dtype: str, shape: list[int | Dim], bounds: tuple[float, float] | None
) -> None:
    low, high = (None, None) if bounds is None else bounds
    wanted = InputSpec(name, dtype, tuple(shape), low, high)
    assert parse_inputs([str(wanted)]) == ((wanted,), ())


@given(dim=dims.filter(lambda dim: isinstance(dim, Dim)))
def test_every_size_is_whole_steps_from_the_least(dim: Dim) -> None:
    assert {size % dim.step for size in dim.sizes} == {dim.low % dim.step}
    assert set(dim.sizes) <= set(range(dim.low, dim.high + 1, dim.step))
