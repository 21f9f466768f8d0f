from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.inputs import Dim, InputSpec, combinations, dynamic_dims, parse_inputs
from ascend_migrate.validators.cases import load_samples, make_cases

IDS = "ids=int64[batch=1..4,time=2..16]:5..70"
MASK = "attention_mask=int64[batch,time]"
PIXELS = "x=float32[batch,3]"


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
    for case in make_cases(inputs, seed=seed, count=3):
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
    assert all(mask[0].all() for mask in masks)


def test_no_two_cases_feed_the_same() -> None:
    cases = make_cases(specs("x=int64[1]:0..0"), seed=0, count=8)
    assert len(cases) == 1


def test_floats_without_a_range_reach_far_and_stay_near() -> None:
    made = make_cases(specs(IDS, PIXELS), seed=0, count=1)
    cases = {case.name.split()[0]: case.feeds["x"] for case in made}
    assert np.abs(cases["extremes"]).min() == 8.0
    assert 0 < np.abs(cases["tiny"]).max() < 0.01
    assert not cases["zeros"].any()
    assert (cases["ones"] == 1).all()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_samples_become_cases(tmp_path: Path, suffix: str) -> None:
    arrays = {"ids": np.full((2, 9), 7), "x": np.ones((2, 3), np.float32)}
    path = tmp_path / f"sample{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes only arrays by position
    else:
        save_file(arrays, path)
    (case,) = load_samples(path, specs(IDS, PIXELS))
    assert case.name == f"sample {path.name} batch=2 time=9"
    assert {name: array.tolist() for name, array in case.feeds.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"ids": np.full((2, 9), 7)}, "'x' is missing"),
        ({"ids": np.full((2, 9), 7), "x": np.ones((3, 3), np.float32)}, "'x' is float32[3, 3]"),
        ({"ids": np.full((2, 17), 7), "x": np.ones((2, 3), np.float32)}, "'ids' is int64[2, 17]"),
        ({"ids": np.ones((2, 9)), "x": np.ones((2, 3), np.float32)}, "'ids' is float64"),
        ({"ids": np.full((2, 9), 7), "x": np.ones((2, 3)), "y": np.ones(1)}, "'y' is no input"),
    ],
)
def test_a_sample_that_does_not_fit_is_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], said: str
) -> None:
    path = tmp_path / "sample.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(SourceError) as caught:
        load_samples(path, specs(IDS, PIXELS))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N."])
def test_a_damaged_or_pickled_sample_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sample.npz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"not a readable"):
        load_samples(path, specs(IDS))
