import warnings
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.inputs import Dim, InputSpec, combinations, dynamic_dims, parse_inputs
from ascend_migrate.validators.cases import (
    Case,
    fed_integers,
    make_cases,
    wandering_cases,
    widened_array,
)

IDS = "ids=int64[batch=1..4,time=2..16]:5..70"
MASK = "attention_mask=int64[batch,time]"
PIXELS = "x=float32[batch=1..4,3]"


def specs(*texts: str) -> tuple[InputSpec, ...]:
    inputs, faults = parse_inputs(texts)
    assert not faults
    return inputs


def dims_of(name: str) -> st.SearchStrategy[Dim]:
    ranges = st.builds(
        lambda low, more, step: Dim.between(name, low, low + more * step, step),
        st.integers(1, 4),
        st.integers(0, 5),
        st.integers(1, 3),
    )
    listed = st.sets(st.integers(1, 12), min_size=2, max_size=4)
    return ranges | listed.map(lambda sizes: Dim(name, tuple(sorted(sizes))))


@st.composite
def declared(draw: st.DrawFn) -> tuple[InputSpec, ...]:
    dims = [draw(dims_of("n")), draw(dims_of("t"))]
    sizes: list[int | Dim] = [*dims, 2]
    shape = tuple(draw(st.lists(st.sampled_from(sizes), min_size=1, max_size=3)))
    dtype = draw(st.sampled_from(["float32", "float64", "int64", "int32", "uint8", "bool"]))
    low = float(draw(st.integers(0, 5)))
    bounded = dtype != "bool" and draw(st.booleans())
    high = low + draw(st.integers(0, 9)) if bounded else None
    return (InputSpec("x", dtype, shape, low if bounded else None, high),)


@given(inputs=declared(), seed=st.integers(0, 3))
def test_sizes_and_values_stay_in_their_ranges(inputs: tuple[InputSpec, ...], seed: int) -> None:
    dims = dynamic_dims(inputs)
    wandering = islice(wandering_cases(inputs, seed=seed), 3)
    for case in (*make_cases(inputs, seed=seed, count=3), *wandering):
        for item in inputs:
            array = case.feeds[item.name]
            assert array.dtype == numpy_dtype(item.dtype)
            for size, wanted in zip(array.shape, item.shape, strict=True):
                if isinstance(wanted, Dim):
                    assert size in dims[wanted.name].sizes
                else:
                    assert size == wanted
            if item.low is not None and item.high is not None:
                assert array.min() >= item.low
                assert array.max() <= item.high


@given(inputs=declared(), seed=st.integers(0, 3))
def test_the_same_request_gives_the_same_bytes(inputs: tuple[InputSpec, ...], seed: int) -> None:
    one, other = (make_cases(inputs, seed=seed, count=2) for _ in range(2))
    assert [case.name for case in one] == [case.name for case in other]
    for a, b in zip(one, other, strict=True):
        assert a.feeds["x"].tobytes() == b.feeds["x"].tobytes()


def test_every_dynamic_dimension_is_tried_at_both_ends() -> None:
    shapes = {case.feeds["ids"].shape for case in make_cases(specs(IDS), seed=0, count=8)}
    assert {(1, 2), (4, 16), (1, 16), (4, 2)} <= shapes


@given(inputs=declared(), count=st.integers(0, 4))
def test_every_combination_of_listed_sizes_is_fed(
    inputs: tuple[InputSpec, ...], count: int
) -> None:
    shapes = {case.feeds["x"].shape for case in make_cases(inputs, seed=0, count=count)}
    listed = [dim for dim in dynamic_dims(inputs).values() if dim.listed]
    axes = [inputs[0].shape.index(dim) for dim in listed]
    fed = {tuple(shape[axis] for axis in axes) for shape in shapes}
    assert fed >= {tuple(sizes.values()) for sizes in combinations(listed)}


def test_of_many_combinations_every_size_is_fed() -> None:
    sizes = "|".join(str(size) for size in range(1, 11))
    cases = make_cases(specs(f"x=float32[a={sizes},b={sizes}]"), seed=0, count=0)
    for axis in (0, 1):
        assert {case.feeds["x"].shape[axis] for case in cases} == set(range(1, 11))
    assert len(cases) < 20


def test_ids_walk_through_a_small_vocabulary() -> None:
    cases = make_cases(specs(IDS), seed=0, count=0)
    walked = [case.feeds["ids"] for case in cases if case.name.startswith("walk")]
    assert set(np.concatenate([w.reshape(-1) for w in walked])) == set(range(5, 71))


def test_a_mask_never_hides_a_whole_row_and_pads_on_both_sides() -> None:
    cases = make_cases(specs(IDS, MASK), seed=0, count=8)
    masks = [case.feeds["attention_mask"] for case in cases]
    assert all(mask.any(axis=-1).all() for mask in masks)
    assert any((mask[:, 0] == 0).any() for mask in masks)
    assert any((mask[:, -1] == 0).any() for mask in masks)
    whole = [case for case in cases if not case.name.startswith("alone")]
    assert all(case.feeds["attention_mask"][0].all() for case in whole)


def test_no_two_cases_feed_the_same() -> None:
    cases = make_cases(specs("x=int64[1]:0..0"), seed=0, count=8)
    assert len(cases) == 1


def labelled(*texts: str, count: int = 0) -> dict[str, Case]:
    """Cases by what is special about them."""
    return {case.name.split()[0]: case for case in make_cases(specs(*texts), seed=0, count=count)}


def test_floats_without_a_range_reach_far_and_stay_near() -> None:
    cases = {name: case.feeds["x"] for name, case in labelled(IDS, PIXELS).items()}
    assert np.abs(cases["extremes"]).min() == 8.0
    assert 0 < np.abs(cases["tiny"]).max() < 0.01
    assert not cases["zeros"].any()
    assert (cases["ones"] == 1).all()
    hot = cases["one-hot"]
    assert (hot.sum(-1) == 1).all()
    assert set(np.unique(hot)) == {0, 1}


@pytest.mark.parametrize(
    "texts",
    [
        (PIXELS,),
        (IDS, MASK),
        ("x=float32[5]",),
        ("x=float32[3,time=2..9]:-1..1",),
        ("ids=int64[rows=1..3,4]:0..9",),
    ],
)
def test_zeros_and_lone_elements_never_come_alone(texts: tuple[str, ...]) -> None:
    cases = make_cases(specs(*texts), seed=0, count=0)
    for item in specs(*texts):
        arrays = [case.feeds[item.name] for case in cases]
        assert sum(bool(array.any()) for array in arrays) > 2
        assert any(array.size > 1 and np.unique(array).size > 1 for array in arrays)


def test_a_row_of_the_longest_batch_is_fed_alone() -> None:
    state = "state=float32[2,batch,3]"
    cases = labelled(IDS, MASK, state, "scale=float32[1]")
    whole, alone = cases["longest"].feeds, cases["alone"].feeds
    for name, axis in (("ids", 0), ("attention_mask", 0), ("state", 1)):
        assert np.array_equal(alone[name], whole[name].take([-1], axis))
    assert np.array_equal(alone["scale"], whole["scale"])
    assert cases["alone"].name == "alone batch=1 time=16"


@pytest.mark.parametrize(
    "text", ["x=float32[4,time=1..9]", "x=float32[batch=2..9,4]", "x=float32[n=1..5,n]"]
)
def test_without_a_batch_of_one_no_row_is_fed_alone(text: str) -> None:
    assert "alone" not in labelled(text)


def test_the_middle_size_is_odd() -> None:
    shape = labelled("x=float32[batch=1..8,height=16..64,width=4..12/4]")["zeros"].feeds["x"].shape
    assert shape == (3, 17, 8)


def test_one_case_pads_on_both_sides_and_blanks_the_ids_below() -> None:
    """Names tell which mask is whose; position_ids are no words, and 5 is the nearest to 0."""
    texts = (
        IDS.replace("ids", "input_ids"),
        MASK,
        "decoder_input_ids=int64[batch,time]:0..70",
        "position_ids=int64[batch,time]:3..9",
    )
    feeds = labelled(*texts)["padded"].feeds
    hidden = feeds["attention_mask"] == 0
    assert hidden[1:, 0].all()
    assert hidden[1:, -1].all()
    assert (feeds["input_ids"][hidden] == 5).all()
    assert (feeds["input_ids"][~hidden] != 5).any()
    for other in ("decoder_input_ids", "position_ids"):
        assert np.unique(feeds[other][hidden]).size > 2


def test_what_was_fed_of_each_range_is_said() -> None:
    texts = (IDS, MASK, "table=int64[batch]:0..99999", PIXELS.replace("=1..4", ""))
    fed = list(fed_integers(case.feeds for case in make_cases(specs(*texts), seed=0, count=2)))
    assert fed[:2] == [
        "ids: 66 of the 66 integers from 5 to 70",
        "attention_mask: 2 of the 2 integers from 0 to 1",
    ]
    ((name, few, many),) = [(w[0], int(w[1]), int(w[4])) for w in (f.split() for f in fed[2:])]
    assert name == "table:"
    assert 16 < few < 64 < many == 100000


def test_a_signalling_nan_is_widened_without_a_warning() -> None:
    signalling = np.array([0x7F800001] * 4, np.uint32).view(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(widened_array(signalling)).all()
