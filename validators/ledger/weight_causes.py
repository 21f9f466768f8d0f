"""What was done to a weight: the cause of a difference, in a few words.

Each question is put to the source's tensor and the one found in its place, from the most telling
to the least; the first that is answered is the cause.
"""

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.ledger.weight_bytes import oddities
from ascend_migrate.validators.ledger.weights import floating

Tensors = Callable[[str], Array]
"""Reads a tensor of the source by its name."""

_AXES = 4
"""Dimensions of a tensor whose axes are tried in every order; more have no kernel to be of."""

_SAMPLE = 1 << 14
"""Elements that show whether two tensors have anything to do with each other."""

_BLOCK = 1 << 18
"""Elements computed with at a time: tensors may be large."""

_ALIKE = 0.99
"""Correlation above which they have: those of trained weights with each other are near zero."""


def cause_of(source: Array | None, found: Array) -> str:
    """Says how ``found`` came of ``source``.

    Args:
        source: the source's tensor; None where only its digest is known.
        found: the tensor in its place.
    """
    if source is None:
        return next(_of_itself(found), "")
    if source.size != found.size:
        return f"is {_sizes(source)} in the source and {_sizes(found)} in the artifact"
    if source.dtype != found.dtype:
        return _cast(source, found)
    return next(_causes(_real(source), _real(found)))


def altered(source: Array, found: Array) -> str:
    """Says how ``found`` is a changed copy of ``source``; empty where it is none, or unchanged."""
    if source.dtype != found.dtype or source.dtype.kind == "c":
        return ""
    for view, turn in ((source, ""), (source.T, "transposed, and ")):
        if view.shape == found.shape and _alike(view, found):
            if same_bits(view, found):
                return ""
            return turn + next(_causes(view, found))
    return ""


def _alike(source: Array, found: Array) -> bool:
    rows = -(-_SAMPLE // max(1, source[:1].size))
    one, other = (a[:rows].reshape(-1).astype(np.float64) for a in (source, found))
    with np.errstate(all="ignore"):
        return bool(abs(np.corrcoef(one, other)[0, 1]) >= _ALIKE)


def turned(source: Array, found: Array) -> tuple[int, ...] | None:
    """Returns the order of axes that makes ``found`` of ``source``, bit for bit."""
    if source.size != found.size or not 1 < source.ndim <= _AXES:
        return None
    for order in permutations(range(source.ndim)):
        if order == tuple(range(source.ndim)):
            continue
        view = source.transpose(order)
        if view.shape == found.shape and same_bits(view, found):
            return order
    return None


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays of the same type and sizes hold the same bits; stops at the first rows."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    one, other = _bits(one), _bits(other)
    if one.ndim and not np.array_equal(one[:1], other[:1]):
        return False
    return np.array_equal(one, other)


def _of_itself(found: Array) -> Iterator[str]:
    """Yields what can be said without the source."""
    odd = oddities(found)
    if odd.nan:
        yield f"{odd.nan} of {found.size} elements are NaN"
    if odd.infinite:
        yield f"{odd.infinite} of {found.size} elements are infinite"
    if not np.any(found):
        yield "zeroed"


def _causes(source: Array, found: Array) -> Iterator[str]:
    if source.shape != found.shape:
        if same_bits(source.reshape(-1), found.reshape(-1)):
            yield f"is {_sizes(source)} in the source and {_sizes(found)} in the artifact"
        order = turned(source, found)
        if order:
            yield _turned(order)
        found = found.reshape(source.shape)
    if floating(source.dtype.name):
        yield from _of_floats(source, found)
    order = turned(source, found)
    if order:
        yield _turned(order)
    if floating(source.dtype.name):
        yield from _of_arithmetic(source, found)
    yield from _moved(source, found)
    yield _differing(source, found)


def _of_floats(source: Array, found: Array) -> Iterator[str]:
    odd, before = oddities(found), oddities(source)
    differs = _bits(source) != _bits(found)
    count = int(np.count_nonzero(differs))
    if odd.nan > before.nan:
        where = _first(np.isnan(found) & ~np.isnan(source))
        yield f"{odd.nan} of {found.size} elements are NaN, first at {_place(where)}"
    if count == 1:
        yield _one_element(source, found, _first(differs))
    if odd.infinite > before.infinite:
        where = _first(np.isinf(found) & ~np.isinf(source))
        yield f"{odd.infinite} of {found.size} elements are infinite, first at {_place(where)}"
    if not np.any(found):
        yield "zeroed"
    if count and not np.any(found, where=differs):
        yield f"{_rows(differs, count)} zeroed"


def _one_element(source: Array, found: Array, at: tuple[int, ...]) -> str:
    flipped = int(_bits(source)[at]) ^ int(_bits(found)[at])
    became = f"{source[at]:.6g} became {found[at]:.6g}"
    if flipped.bit_count() == 1:
        part = _part(flipped.bit_length() - 1, source.dtype.name)
        return f"one bit flipped in element {_place(at)} ({part}): {became}"
    return f"element {_place(at)} differs: {became}"


def _moved(source: Array, found: Array) -> Iterator[str]:
    """Yields which axis the parts of the tensor changed places along."""
    words = ("elements",) if source.ndim == 1 else ("rows", "columns")[: source.ndim]
    for axis, word in enumerate(words):
        one, other = _keys(source, axis), _keys(found, axis)
        if np.array_equal(np.sort(one), np.sort(other)):
            changed = np.flatnonzero(one != other)
            yield f"{len(changed)} of {len(one)} {word} permuted, first {word[:-1]} {changed[0]}"


def _keys(array: Array, axis: int) -> Array:
    """Returns one number for the bytes of each row or column."""
    return np.array([hash(line.tobytes()) for line in np.moveaxis(array, axis, 0)])


def _pairs(*arrays: Array, wide: bool = True) -> Iterator[list[Array]]:
    """Yields the same elements of several arrays, few at a time; in float64 if wide."""
    flat = [array.reshape(-1) for array in arrays]
    for at in range(0, flat[0].size, _BLOCK):
        parts = [array[at : at + _BLOCK] for array in flat]
        yield [part.astype(np.float64) for part in parts] if wide else parts


def _of_arithmetic(source: Array, found: Array) -> Iterator[str]:
    rounding = BY_NAME[source.dtype.name].epsilon or 0.0
    for name in ("bfloat16", "float16"):
        with np.errstate(all="ignore"):
            if all(
                same_bits(one.astype(numpy_dtype(name)).astype(one.dtype), other)
                for one, other in _pairs(source, found, wide=False)
            ):
                yield f"rounded to {name}"
    one, other = next(_pairs(source, found))
    with np.errstate(all="ignore"):
        factor, middle = float(np.sum(one * other) / np.sum(one * one)), float(np.mean(other - one))
        if factor and all(
            (np.abs(b - factor * a) <= 2 * rounding * np.abs(factor * a)).all()
            for a, b in _pairs(source, found)
        ):
            yield "its sign turned" if factor == -1 else f"scaled by about {factor:.6g}"
        most = 4 * rounding
        if middle and all(
            (np.abs(b - a - middle) <= most * (np.abs(a) + np.abs(b) + abs(middle))).all()
            for a, b in _pairs(source, found)
        ):
            yield f"shifted by about {middle:.3g}"


def _differing(source: Array, found: Array) -> str:
    differs = _bits(source) != _bits(found)
    count = int(np.count_nonzero(differs))
    at = _first(differs)
    said = f"{count} of {source.size} elements differ, first at {_place(at)}: "
    if not floating(source.dtype.name):
        return f"{said}{source[at]} became {found[at]}"
    said += f"{source[at]:.6g} became {found[at]:.6g}"
    with np.errstate(all="ignore"):
        sums = [(np.sum((b - a) ** 2), np.sum(a * a)) for a, b in _pairs(source, found)]
        apart = float(np.sqrt(np.divide(*np.sum(sums, 0))))
    return f"{said}; they are {apart:.2g} apart, relative to the whole"


def _cast(source: Array, found: Array) -> str:
    said = f"is {source.dtype.name} in the source and {found.dtype.name} in the artifact"
    with np.errstate(over="ignore", under="ignore"):
        lowered = source.astype(found.dtype).reshape(found.shape)
    if same_bits(lowered, found):
        return f"{said}, each element as the cast rounds it"
    return said


def _real(array: Array) -> Array:
    """Shows complex numbers as pairs of real ones."""
    if array.dtype.kind != "c":
        return array
    return np.atleast_1d(array).view(np.dtype(f"f{array.dtype.itemsize // 2}"))


def _bits(array: Array) -> Array:
    if array.dtype.kind in "biuc":
        return array
    return array.view(np.dtype(f"u{array.dtype.itemsize}"))


def _first(marked: Array) -> tuple[int, ...]:
    at = np.unravel_index(int(np.argmax(marked)), marked.shape)
    return tuple(int(i) for i in at)


def _rows(differs: Array, count: int) -> str:
    """Names what differs, by rows where that is all of it."""
    some = f"{count} of {differs.size} elements"
    if differs.ndim < 2:  # noqa: PLR2004 - no rows
        return some
    rows = np.flatnonzero(differs.reshape(len(differs), -1).any(1))
    if len(rows) in (0, len(differs)):
        return some
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):
        return f"row {first}" if first == last else f"rows {first} to {last}"
    return f"{len(rows)} of {len(differs)} rows, first {first},"


def _part(bit: int, dtype: str) -> str:
    """Names the part of a float that a bit belongs to."""
    kind = BY_NAME[dtype]
    significand = round(-np.log2(kind.epsilon or 1.0)) - 1
    if bit == 8 * kind.itemsize - 1:
        return "its sign"
    return f"bit {bit} of its " + ("exponent" if bit >= significand else "significand")


def _turned(order: tuple[int, ...]) -> str:
    return "transposed" if order == (1, 0) else f"transposed, axes in the order {_place(order)}"


def _place(at: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, at))}]"


def _sizes(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "a scalar"
