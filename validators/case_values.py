"""What one input is filled with: at random, constant, extreme, walking, padded.

Every draw takes the input, its sizes and a generator, and stays within the declared range.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.inputs import InputSpec

Array = NDArray[Any]
Draw = Callable[[InputSpec, tuple[int, ...], np.random.Generator], Array]
"""Draws the values of one input, given its sizes."""

WALKS = 4
"""Cases that walk through an integer range: together they reach four times the elements of one
input, which covers small vocabularies whole; the rest of a large table is the ledger's to prove."""

_WIDE = 8.0
"""Standard deviations that count as extreme where a float input has no range: past the ends of
every saturating activation, far below overflow."""

_NARROW = 3.0
"""Decades: the narrowest part of a range that a case wanders to is a thousandth of it."""

_UNRANGED = (0, 1)
"""What an integer input without a range is fed: valid as an index, a mask and a length."""

_MASKS = ("attention_mask", "padding_mask", "mask")
_IDS = ("input_ids", "token_ids", "ids", "tokens")
"""How names end that belong together: ``decoder_attention_mask`` masks ``decoder_input_ids``."""


def is_mask(item: InputSpec) -> bool:
    """Whether an input says by its name and range which elements of another one count."""
    return "mask" in item.name.lower() and (item.high is None or item.high == 1)


def has_floats(inputs: Iterable[InputSpec]) -> bool:
    """Whether an input takes numbers that are neither integers nor a mask."""
    return any(_kind(item) == "float" and not is_mask(item) for item in inputs)


def walks(inputs: Iterable[InputSpec], dims: Mapping[str, int]) -> int:
    """Returns how many walks feed every value of every bounded integer input, at most `WALKS`."""
    needed = 0
    for item in inputs:
        if _walkable(item):
            low, high = _bounds(item)
            elements = int(np.prod(item.sizes(dims), dtype=np.int64))
            needed = max(needed, -(-int(high - low + 1) // elements))
    return min(needed, WALKS)


def random(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Uniform in the range, normal where a float has none; of a mask, rows padded on one side."""
    if is_mask(item):
        return _one_sided(shape, rng)
    if _kind(item) == "bool":
        return rng.integers(0, 1, shape, np.int64, endpoint=True)
    if _kind(item) == "integer":
        low, high = _bounds(item)
        return rng.integers(int(low), int(high), shape, np.int64, endpoint=True)
    if item.low is None or item.high is None:
        return rng.standard_normal(shape)
    return rng.uniform(item.low, item.high, shape)


def constant(value: float) -> Draw:
    """One value everywhere, as near to ``value`` as the range allows."""

    def draw(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        del rng
        # A mask of zeros hides everything, which no caller means.
        return np.full(shape, _within(item, 1.0 if is_mask(item) else value))

    return draw


def one_hot(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Zeros with a single one in each row of the last axis; integers and masks at random."""
    if _kind(item) != "float" or is_mask(item) or not shape:
        return random(item, shape, rng)
    chosen = rng.integers(0, shape[-1], (*shape[:-1], 1))
    return np.where(np.arange(shape[-1]) == chosen, _within(item, 1.0), _within(item, 0.0))


def extremes(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Either end of the range, at random."""
    if is_mask(item):
        return _one_sided(shape, rng)
    return rng.choice(np.array(_bounds(item)), shape)


def tiny(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Floats of a thousandth of their usual size, where an epsilon shows; integers at random."""
    drawn = random(item, shape, rng)
    if _kind(item) != "float" or is_mask(item):
        return drawn
    centre = _within(item, 0.0)
    return centre + (drawn - centre) * 1e-3


def wandering(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """A part of the range, narrow or wide, at a place of its own along some axes or along none.

    Independent elements of one wide range have the same averages in every call; what is reached by
    an average alone, such as an expert behind a gate, needs calls that differ as wholes.
    """
    if is_mask(item):
        return _one_sided(shape, rng)
    if _kind(item) == "bool":
        drawn: Array = rng.random(shape) < rng.random()
        return drawn
    low, high = _bounds(item)
    places = tuple(size if rng.integers(2) else 1 for size in shape)
    width = (high - low) * 10.0 ** -rng.uniform(0, _NARROW)
    drawn = rng.uniform(low, high, places) + width * rng.uniform(-0.5, 0.5, shape)
    drawn = np.clip(drawn, low, high)
    return np.rint(drawn) if _kind(item) == "integer" else drawn


def walk(block: int) -> Draw:
    """Consecutive integers, beginning where the walk before ended."""

    def draw(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        if not _walkable(item):
            return random(item, shape, rng)
        low, high = _bounds(item)
        elements = int(np.prod(shape, dtype=np.int64))
        steps = np.arange(elements, dtype=np.int64) + block * elements
        return (int(low) + steps % int(high - low + 1)).reshape(shape)

    return draw


def padded(item: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """A mask whose rows are padded on both sides at once; everything else at random."""
    if not is_mask(item):
        return random(item, shape, rng)
    length = shape[-1] if shape else 1
    before = rng.integers(0, (length - 1) // 2, (*shape[:-1], 1), endpoint=True)
    after = rng.integers(0, (length - 1) // 2, (*shape[:-1], 1), endpoint=True)
    places = np.arange(length)
    if length > 2:  # noqa: PLR2004 - a row of two cannot be padded on both sides
        before, after = np.maximum(before, 1), np.maximum(after, 1)
    return _with_a_full_row((places >= before) & (places < length - after), shape)


def blank_what_is_masked(inputs: Iterable[InputSpec], feeds: dict[str, Array]) -> None:
    """Sets ids to the padding id, 0 or the nearest in range, where the mask of that name is 0."""
    given = {item.name: item for item in inputs}
    for name, mask in ((n, feeds[n]) for n, item in given.items() if is_mask(item)):
        stem = _stem(name, _MASKS)
        for other, item in given.items():
            same_sizes = feeds[other].shape == mask.shape
            if stem is not None and stem == _stem(other, _IDS) and same_sizes and _walkable(item):
                blank = np.asarray(_within(item, 0.0), feeds[other].dtype)
                feeds[other] = np.where(mask.astype(bool), feeds[other], blank)


def _stem(name: str, endings: tuple[str, ...]) -> str | None:
    """Returns what stands before the first of ``endings`` that the name has; None without one."""
    found = (name.removesuffix(end) for end in endings if name.endswith(end))
    return next(found, None)


def _one_sided(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Rows of ones, padded with zeros on the left in half of the calls, else on the right."""
    length = shape[-1] if shape else 1
    kept = rng.integers(1, length, (*shape[:-1], 1), np.int64, endpoint=True)
    places = np.arange(length)
    if rng.integers(2):
        places = places[::-1]
    return _with_a_full_row(places < kept, shape)


def _with_a_full_row(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> Array:
    """The first row is never padded: what only full rows reach is reached as well."""
    rows = np.broadcast_to(mask, shape).astype(np.int64)
    if len(shape) > 1:
        rows[0] = 1
    return rows


def _walkable(item: InputSpec) -> bool:
    return _kind(item) == "integer" and item.high is not None and not is_mask(item)


def _kind(item: InputSpec) -> str:
    dtype = numpy_dtype(item.dtype)
    if dtype.kind == "b":
        return "bool"
    return "integer" if dtype.kind in "iu" else "float"


def _within(item: InputSpec, value: float) -> float:
    """Returns the number of the range that is nearest to ``value``."""
    if _kind(item) == "float" and item.low is None:
        return value
    low, high = _bounds(item)
    return min(max(value, low), high)


def _bounds(item: InputSpec) -> tuple[float, float]:
    if item.low is not None and item.high is not None:
        return item.low, item.high
    return (-_WIDE, _WIDE) if _kind(item) == "float" else _UNRANGED
