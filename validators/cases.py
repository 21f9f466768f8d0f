"""The inputs of a judgement: seeded, structured, and real ones given by the user.

Structured cases come first: the shortest and longest size of every dynamic dimension, zeros,
constants and extremes, ids that walk through the whole range, masks that pad on either side.
What they leave out, the random cases draw.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.inputs import (
    COMBINATIONS,
    Dim,
    InputSpec,
    combinations,
    dynamic_dims,
)
from ascend_migrate.pipeline.printable import in_one_line

Array = NDArray[Any]
Feeds = dict[str, Array]
Draw = Callable[[InputSpec, tuple[int, ...], np.random.Generator], Array]
"""Draws the values of one input, given its sizes."""

_WALKS = 4
"""Cases that walk through an integer range: together they reach four times the elements of one
input, which covers small vocabularies whole; the rest of a large table is the ledger's to prove."""

_WIDE = 8.0
"""Standard deviations that count as extreme where a float input has no range: past the ends of
every saturating activation, far below overflow."""

_UNRANGED = (0, 1)
"""What an integer input without a range is fed: valid as an index, a mask and a length."""


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
    sizes = _sizes(inputs, rng)
    middle = sizes[-1]
    cases = [
        _case("shortest", inputs, sizes[0], rng, _random),
        _case("longest", inputs, sizes[1], rng, _random),
        _case("zeros", inputs, middle, rng, _constant(0.0)),
        _case("ones", inputs, middle, rng, _constant(1.0)),
        _case("extremes", inputs, middle, rng, _extremes),
        _case("tiny", inputs, middle, rng, _tiny),
    ]
    cases += [
        _case(f"walk-{block}", inputs, sizes[1], rng, _walk(block))
        for block in range(_blocks(inputs, sizes[1]))
    ]
    cases += [
        _case(f"random-{index}", inputs, sizes[index % len(sizes)], rng, _random)
        for index in range(count)
    ]
    fed = [*sizes[:2], middle, *(sizes[index % len(sizes)] for index in range(count))]
    cases += [
        _case(f"listed-{index}", inputs, found, rng, _random)
        for index, found in enumerate(_unfed(inputs, fed, rng))
    ]
    return tuple(_distinct(cases))


def widened_array(array: Array) -> Array:
    """Returns floats as float64, complex numbers as complex128, and everything else as it is."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    return array if array.dtype.kind in "biu" else array.astype(np.float64)


def load_samples(path: Path, inputs: Sequence[InputSpec]) -> tuple[Case, ...]:
    """Reads one case from a file with an array for each input.

    Args:
        path: .npz or .safetensors, keyed by input name.
        inputs: what the model is fed; element types and sizes must fit.

    Raises:
        SourceError: the file is unreadable, or an array is missing or does not fit.
    """
    arrays = _arrays(path)
    feeds: Feeds = {}
    faults = [f"{name!r} is no input" for name in arrays if name not in {i.name for i in inputs}]
    dims: dict[str, int] = {}
    for item in inputs:
        array = arrays.get(item.name)
        if array is None:
            faults.append(f"{item.name!r} is missing")
        elif array.dtype != numpy_dtype(item.dtype) or not _fits(array.shape, item, dims):
            faults.append(
                f"{item.name!r} is {array.dtype.name}{list(array.shape)}, which is not {item}"
            )
        else:
            feeds[item.name] = array
    if faults:
        raise SourceError(f"sample {path}: {'; '.join(faults)}")
    return (Case(f"sample {path.name}{_said(dims)}", feeds),)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    # numpy and safetensors raise errors of their own kinds for damaged files.
    except Exception as error:
        reason = in_one_line(error)
        raise SourceError(f"sample {path}: not a readable .npz or .safetensors: {reason}") from None


def _fits(shape: tuple[int, ...], item: InputSpec, dims: dict[str, int]) -> bool:
    """Compares sizes with the declaration; a named dimension has one size in all inputs."""
    if len(shape) != len(item.shape):
        return False
    for size, wanted in zip(shape, item.shape, strict=True):
        if isinstance(wanted, int):
            if size != wanted:
                return False
        elif size not in wanted.sizes or dims.setdefault(wanted.name, size) != size:
            return False
    return True


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
    """A size above 2 and unlike its neighbours' where the range allows that."""
    return dim.sizes[min(bisect_left(dim.sizes, 3 + 2 * place), len(dim.sizes) - 1)]


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


def _blocks(inputs: Sequence[InputSpec], dims: Mapping[str, int]) -> int:
    """How many walks it takes to feed every value of every bounded integer input."""
    needed = 0
    for item in inputs:
        if _kind(item) == "integer" and item.high is not None and not _is_mask(item):
            low, high = _bounds(item)
            elements = int(np.prod(item.sizes(dict(dims)), dtype=np.int64))
            needed = max(needed, -(-int(high - low + 1) // elements))
    return min(needed, _WALKS)


def _random(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    kind = _kind(item)
    if kind == "bool" or _is_mask(item):
        return _mask(item, shape, rng)
    if kind == "integer":
        low, high = _bounds(item)
        return rng.integers(int(low), int(high), shape, np.int64, endpoint=True)
    if item.low is None or item.high is None:
        return rng.standard_normal(shape)
    return rng.uniform(item.low, item.high, shape)


def _constant(value: float) -> Draw:
    """One value everywhere, as near to ``value`` as the range allows."""

    def draw(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        del rng
        # A mask of zeros hides everything, which no caller means.
        wanted = 1.0 if _is_mask(item) else value
        if _kind(item) == "float" and item.low is None:
            return np.full(shape, wanted)
        low, high = _bounds(item)
        return np.full(shape, min(max(wanted, low), high))

    return draw


def _extremes(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Either end of the range, at random."""
    if _is_mask(item):
        return _mask(item, shape, rng)
    return rng.choice(np.array(_bounds(item)), shape)


def _tiny(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Floats of a thousandth of their usual size, where an epsilon shows; integers at random."""
    drawn = _random(item, shape, rng)
    if _kind(item) != "float" or _is_mask(item):
        return drawn
    low, high = _bounds(item)
    centre = min(max(0.0, low), high)
    return centre + (drawn - centre) * 1e-3


def _walk(block: int) -> Draw:
    """Consecutive integers, beginning where the walk before ended."""

    def draw(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        if _kind(item) != "integer" or _is_mask(item) or item.high is None:
            return _random(item, shape, rng)
        low, high = _bounds(item)
        elements = int(np.prod(shape, dtype=np.int64))
        steps = np.arange(elements, dtype=np.int64) + block * elements
        return (int(low) + steps % int(high - low + 1)).reshape(shape)

    return draw


def _mask(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Rows of ones, padded with zeros on the left in half of the calls, else on the right."""
    if not _is_mask(item):
        return rng.integers(0, 1, shape, np.int64, endpoint=True)
    length = shape[-1] if shape else 1
    kept = rng.integers(1, length, (*shape[:-1], 1), np.int64, endpoint=True)
    places = np.arange(length)
    if rng.integers(2):
        places = places[::-1]
    row = np.broadcast_to(places < kept, shape)
    # The first row is never padded: what only full rows reach is reached as well.
    if len(shape) > 1:
        row = row.copy()
        row[0] = True
    return row.astype(np.int64)


def _is_mask(item: InputSpec) -> bool:
    return "mask" in item.name.lower() and (item.high is None or item.high == 1)


def _kind(item: InputSpec) -> str:
    dtype = numpy_dtype(item.dtype)
    if dtype.kind == "b":
        return "bool"
    return "integer" if dtype.kind in "iu" else "float"


def _bounds(item: InputSpec) -> tuple[float, float]:
    if item.low is not None and item.high is not None:
        return item.low, item.high
    return (-_WIDE, _WIDE) if _kind(item) == "float" else _UNRANGED


def _case(
    label: str,
    inputs: Sequence[InputSpec],
    dims: Mapping[str, int],
    rng: np.random.Generator,
    draw: Draw,
) -> Case:
    feeds = {}
    for item in inputs:
        drawn = draw(item, item.sizes(dict(dims)), rng)
        feeds[item.name] = np.asarray(drawn, numpy_dtype(item.dtype), order="C")
    return Case(f"{label}{_said(dims)}", feeds)


def _said(dims: Mapping[str, int]) -> str:
    return "".join(f" {name}={size}" for name, size in dims.items())


def _distinct(cases: Sequence[Case]) -> Iterator[Case]:
    """Drops cases that feed the same bytes again, as a model of fixed size with no range has."""
    seen = set()
    for case in cases:
        key = tuple((n, a.shape, a.tobytes()) for n, a in case.feeds.items())
        if key not in seen:
            seen.add(key)
            yield case
