"""The inputs of a judgement: seeded and structured. Real ones come from `samples`.

Structured cases come first: the shortest and longest size of every dynamic dimension, a row of a
batch alone, constants and extremes, ids that walk through their range, masks that pad on both
sides. What they leave out, the random cases draw.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as counted

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.inputs import (
    COMBINATIONS,
    Dim,
    InputSpec,
    combinations,
    dynamic_dims,
)
from ascend_migrate.validators import case_values as values

Array = values.Array
Feeds = dict[str, Array]

_BATCHES = ("batch", "batch_size", "n", "b", "bs")
"""Names of the dimension along which rows do not know of each other."""


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the model.

    Attributes:
        name: what is special about it, then the sizes of the dynamic dimensions.
        feeds: one array for each input.
    """

    name: str
    feeds: Feeds


def make_cases(inputs: Sequence[InputSpec], *, seed: int, count: int) -> tuple[Case, ...]:
    """Returns the structured cases, then ``count`` random ones; same arguments, same bytes.

    Args:
        inputs: what the model is fed; sizes and values stay within their ranges.
        seed: of everything random.
        count: random cases; they take turns through the sizes.

    Where sizes are listed, each combination of them is fed at least once: it may be served by a
    graph of its own.
    """
    rng = np.random.default_rng(seed)
    shortest, longest, *others, middle = _sizes(inputs, rng)
    cases = [
        _case("shortest", inputs, shortest, rng, values.random),
        _case("longest", inputs, longest, rng, values.random),
    ]
    cases += _alone(inputs, longest, cases[-1])
    cases += [
        _case("zeros", inputs, middle, rng, values.constant(0.0)),
        _case("ones", inputs, middle, rng, values.constant(1.0)),
        _case("extremes", inputs, middle, rng, values.extremes),
    ]
    if values.has_floats(inputs):
        cases += [
            _case("one-hot", inputs, middle, rng, values.one_hot),
            _case("tiny", inputs, middle, rng, values.tiny),
        ]
    if any(map(values.is_mask, inputs)):
        # At the longest size: two elements cannot be padded on both sides.
        padded = _case("padded", inputs, longest, rng, values.padded)
        values.blank_what_is_masked(inputs, padded.feeds)
        cases.append(padded)
    cases += [
        _case(f"walk-{block}", inputs, longest, rng, values.walk(block))
        for block in range(values.walks(inputs, longest))
    ]
    turns = [*others, middle, shortest, longest]
    drawn = [turns[index % len(turns)] for index in range(count)]
    cases += [
        _case(f"random-{index}", inputs, sizes, rng, values.random)
        for index, sizes in enumerate(drawn)
    ]
    cases += [
        _case(f"listed-{index}", inputs, found, rng, values.random)
        for index, found in enumerate(_unfed(inputs, [shortest, longest, middle, *drawn], rng))
    ]
    return tuple(_distinct(cases))


def wandering_cases(inputs: Sequence[InputSpec], *, seed: int) -> Iterator[Case]:
    """Yields ever new cases that differ more from each other than random ones do.

    Args:
        inputs: what the model is fed; sizes and values stay within their ranges.
        seed: same arguments, same bytes.
    """
    rng = np.random.default_rng(seed)
    dims = dynamic_dims(inputs).values()
    for index in counted():
        sizes = {dim.name: _drawn(dim, rng) for dim in dims}
        yield _case(f"wandering-{index}", inputs, sizes, rng, values.wandering)


def fed_integers(feeds: Iterable[Feeds]) -> Iterator[str]:
    """Yields for each integer input how much of its range, end to end, the cases have fed."""
    seen: dict[str, Array] = {}
    for case in feeds:
        for name, array in case.items():
            if array.dtype.kind in "iu" and array.size:
                before = seen.get(name, array.reshape(-1)[:0])
                seen[name] = np.union1d(before, array)
    for name, found in seen.items():
        low, high = int(found[0]), int(found[-1])
        yield f"{name}: {found.size} of the {high - low + 1} integers from {low} to {high}"


def widened_array(array: Array) -> Array:
    """Returns floats as float64, complex numbers as complex128, and everything else as it is."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind in "biu":
        return array
    with np.errstate(invalid="ignore"):  # a signalling NaN, as a flipped bit makes, becomes a NaN
        return array.astype(np.float64)


def said(dims: Mapping[str, int]) -> str:
    """Returns sizes of dynamic dimensions as a case's name ends with them."""
    return "".join(f" {name}={size}" for name, size in dims.items())


def _sizes(inputs: Sequence[InputSpec], rng: np.random.Generator) -> list[dict[str, int]]:
    """Returns sizes of the dynamic dimensions: shortest, longest, two mixed ones, a middle."""
    dims = dynamic_dims(inputs)
    shortest = {name: dim.low for name, dim in dims.items()}
    longest = {name: dim.high for name, dim in dims.items()}
    mixed = [
        {n: d.low if (i + flip) % 2 else d.high for i, (n, d) in enumerate(dims.items())}
        for flip in (0, 1)
    ]
    drawn = [{n: _drawn(d, rng) for n, d in dims.items()} for _ in range(2)]
    middle = {name: _middle(dim, place) for place, (name, dim) in enumerate(dims.items())}
    return [shortest, longest, *(mixed if len(dims) > 1 else []), *drawn, middle]


def _middle(dim: Dim, place: int) -> int:
    """An odd size above 2 and the least one, unlike its neighbours', where the range has such."""
    above = dim.sizes[bisect_right(dim.sizes, max(dim.low, 2 + 2 * place)) :]
    return next((size for size in above if size % 2), above[0] if above else dim.high)


def _drawn(dim: Dim, rng: np.random.Generator) -> int:
    return dim.sizes[int(rng.integers(len(dim.sizes)))]


def _unfed(
    inputs: Sequence[InputSpec], fed: Sequence[Mapping[str, int]], rng: np.random.Generator
) -> Iterator[dict[str, int]]:
    """Returns sizes for each combination of listed ones that is not among ``fed``."""
    dims = dynamic_dims(inputs)
    listed = [dim for dim in dims.values() if dim.listed]
    if math.prod(len(dim.sizes) for dim in listed) <= COMBINATIONS:
        wanted = combinations(listed)
    else:
        # Too many for graphs of their own: every size once.
        count = max(len(dim.sizes) for dim in listed)
        wanted = [{d.name: d.sizes[i % len(d.sizes)] for d in listed} for i in range(count)]
    for sizes in wanted:
        if not any(sizes.items() <= other.items() for other in fed):
            yield {name: _drawn(dim, rng) for name, dim in dims.items()} | sizes


def _alone(inputs: Sequence[InputSpec], dims: Mapping[str, int], whole: Case) -> Iterator[Case]:
    """Feeds the last row of the case ``whole`` by itself, if rows of a batch can be told."""
    batch = _batch(inputs)
    if batch is None or batch.low != 1 or batch.high == 1:
        return
    if any(item.shape.count(batch) > 1 for item in inputs):
        return  # a matrix of rows against rows
    feeds = dict(whole.feeds)
    for item in inputs:
        if batch in item.shape:
            axis = item.shape.index(batch)
            feeds[item.name] = np.ascontiguousarray(feeds[item.name].take([-1], axis))
    yield Case(f"alone{said({**dims, batch.name: 1})}", feeds)


def _batch(inputs: Sequence[InputSpec]) -> Dim | None:
    """Returns the dimension that is called a batch or else is the first one of every input."""
    named = [d for name, d in dynamic_dims(inputs).items() if name.lower() in _BATCHES]
    first = {item.shape[0] if item.shape else None for item in inputs}
    if named:
        return named[0]
    lone = first.pop() if len(first) == 1 else None
    return lone if isinstance(lone, Dim) else None


def _case(
    label: str,
    inputs: Sequence[InputSpec],
    dims: Mapping[str, int],
    rng: np.random.Generator,
    draw: values.Draw,
) -> Case:
    feeds = {}
    for item in inputs:
        drawn = draw(item, item.sizes(dims), rng)
        feeds[item.name] = np.asarray(drawn, numpy_dtype(item.dtype), order="C")
    return Case(f"{label}{said(dims)}", feeds)


def _distinct(cases: Sequence[Case]) -> Iterator[Case]:
    """Drops cases that feed the same bytes again, as a model of fixed size with no range has."""
    seen = set()
    for case in cases:
        key = tuple((n, a.shape, a.tobytes()) for n, a in case.feeds.items())
        if key not in seen:
            seen.add(key)
            yield case
