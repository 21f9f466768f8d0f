"""The grammar of --input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline.inputs import Dim, InputSpec, dynamic_dims, parse_inputs


def test_reads_the_example_of_the_documentation() -> None:
    inputs, faults = parse_inputs(["x=int64[batch=1..8,2,time=16..64]:0..138"])
    assert faults == ()
    batch, time = Dim("batch", 1, 8), Dim("time", 16, 64)
    assert inputs == (InputSpec("x", "int64", (batch, 2, time), 0.0, 138.0),)
    assert inputs[0].sizes({"batch": 3, "time": 20}) == (3, 2, 20)


def test_inputs_share_a_dimension_by_name() -> None:
    inputs, faults = parse_inputs(["a=float32[n=1..4]", "b=float32[n,3]"])
    assert faults == ()
    assert inputs[1].shape == (Dim("n", 1, 4), 3)
    assert dynamic_dims(inputs) == {"n": Dim("n", 1, 4)}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x", "expected NAME=DTYPE"),
        ("x=int65[2]", "unknown dtype 'int65'"),
        ("x=int64[0]", "dimension 0 must be at least 1"),
        ("x=int64[-1]", "neither a number nor name=LOW..HIGH"),
        ("x=int64[n]", "dimension 'n' has no range"),
        ("x=int64[n=4..2]", "must have 1 <= LOW <= HIGH"),
        ("x=int64[n=1..2,n=1..3]", "has two ranges"),
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
        lambda name, low, more: Dim(name, low, low + more),
        names,
        st.integers(1, 9),
        st.integers(0, 9),
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
