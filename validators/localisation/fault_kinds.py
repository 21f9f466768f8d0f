"""What kind of fault a wrong tensor looks like, beside the right one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.precision import LOWER_TYPES, Precision
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.localisation.sketch import Sketch, distances

WEIGHT = "weight"
OVERFLOW = "overflow"
CAST = "cast"
AXIS = "axis"
CONSTANT = "constant"
ROUNDING = "rounding"
REFUSED = "does not run"
RUNTIME = "runtime"
UNKNOWN = "unknown"

_Wide = NDArray[np.float64]

_EXPLAINS = 1e-3
"""Share of an error that may be left where something is said to explain it."""

_UNITS = 16
"""Unit roundoffs that always may be left: what other kernels round otherwise."""

_RANK = 6
"""Largest rank of which all orders of the axes are tried."""

SAME_SCALE = 1e-6
"""Relative difference of the root mean squares of the same elements in another order."""

_SMALL = 1e-3
"""Relative size up to which an error may be rounding: that of float16 is 5e-4."""


def kind_of(
    expected: Array, found: Array, weights: Sequence[str], attributes: Mapping[str, Any]
) -> tuple[str, str]:
    """Returns the kind of a fault, and the reason in one phrase.

    Args:
        expected: what the original computes, in the type of ``found``.
        found: what the artifact does.
        weights: what the ledger says about the weights that the step reads, if they are wrong.
        attributes: numbers of the step that no ledger has.
    """
    if weights:
        return WEIGHT, "; ".join(weights)
    if found.shape != expected.shape:
        return AXIS, f"has the sizes {list(found.shape)}, the original's {list(expected.shape)}"
    if found.dtype.kind in "biu":
        differing = int(np.count_nonzero(expected != found))
        return UNKNOWN, f"{differing} of {found.size} elements differ"
    right, wrong = _wide(expected), _wide(found)
    strange = int(np.count_nonzero(np.isfinite(right) & ~np.isfinite(wrong)))
    if strange:
        return OVERFLOW, f"{strange} of {wrong.size} elements are infinite or NaN"
    kept = np.isfinite(right) & np.isfinite(wrong)
    right, wrong = np.where(kept, right, 0.0), np.where(kept, wrong, 0.0)
    explained = next(_explanations(right, wrong, found), None)
    if explained is not None:
        return explained
    return _by_size(_rms(wrong - right) / (_rms(right) or 1.0), attributes)


def kind_of_sketches(
    expected: Sketch, found: Sketch, weights: Sequence[str], attributes: Mapping[str, Any]
) -> tuple[str, str]:
    """Returns the same where only sketches are known, as far as they tell.

    Args:
        expected: of what the original computes; of as many elements as ``found``.
        found: of what the artifact does.
        weights: as for `kind_of`.
        attributes: likewise.
    """
    if weights:
        return WEIGHT, "; ".join(weights)
    if sum(found.strange) > sum(expected.strange):
        more = sum(found.strange) - sum(expected.strange)
        return OVERFLOW, f"{more} of {found.size} elements are infinite or NaN"
    right, wrong = expected.sums, found.sums
    factor = float(right @ wrong) / (float(right @ right) or 1.0)
    # A sketch is a sum of elements: that of a multiple is the multiple of it.
    if _rms(wrong - factor * right) <= _EXPLAINS * _rms(wrong - right):
        return CONSTANT, f"{factor:.4g} times the right values"
    error = float(distances(found, right)[0]) / (expected.scale or 1.0)
    if error > _SMALL and abs(found.scale - expected.scale) <= SAME_SCALE * expected.scale:
        return AXIS, "of the right elements' size exactly, as if they were in another order"
    return _by_size(error, attributes)


def _by_size(error: float, attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the kind of an error that nothing explains."""
    said = f"relative error {error:.2g}"
    if attributes:
        told = ", ".join(f"{name} {value}" for name, value in attributes.items())
        return (
            CONSTANT,
            f"{said}; its weights are right, so that a number of its own may be ({told})",
        )
    if error < _SMALL:
        return ROUNDING, f"{said}, as of a lower precision or of another order of summation"
    return UNKNOWN, said


def _explanations(right: _Wide, wrong: _Wide, found: Array) -> Iterator[tuple[str, str]]:
    error = _rms(wrong - right)
    left = max(_EXPLAINS * error, _UNITS * (BY_NAME[found.dtype.name].epsilon or 0) * _rms(right))
    for name in LOWER_TYPES:
        if found.dtype.name != name and _is_rounded(right, wrong, name):
            yield CAST, f"every element is what rounding to {name} makes of the right one"
    if _rms(np.sort(wrong, axis=None) - np.sort(right, axis=None)) <= left:
        yield AXIS, f"the right elements in another order{_order(right, wrong, left)}"
    factor, offset = _line(right, wrong)
    if _rms(wrong - factor * right) <= left:
        yield CONSTANT, f"{factor:.4g} times the right values"
    if _rms(wrong - right - np.mean(wrong - right)) <= left:
        yield CONSTANT, f"the right values plus {np.mean(wrong - right):.4g}"
    if _rms(wrong - factor * right - offset) <= left:
        yield CONSTANT, f"{factor:.4g} times the right values, plus {offset:.4g}"
    for axis in range(right.ndim):
        others = tuple(n for n in range(right.ndim) if n != axis)
        if right.shape[axis] == 1 or not others:
            continue
        difference = wrong - right
        if _rms(difference - difference.mean(others, keepdims=True)) <= left:
            yield CONSTANT, f"off by an amount for each place on axis {axis}, as of a wrong bias"
        squares = np.square(right).sum(others, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = np.nan_to_num((right * wrong).sum(others, keepdims=True) / squares)
        if _rms(wrong - factors * right) <= left:
            yield CONSTANT, f"off by a factor for each place on axis {axis}, as of a wrong scale"


def _is_rounded(right: _Wide, wrong: _Wide, name: str) -> bool:
    low = numpy_dtype(name)
    epsilon = BY_NAME[name].epsilon or 0.0
    with np.errstate(over="ignore"):
        on_grid = bool(np.all(wrong.astype(low).astype(np.float64) == wrong))
        was = bool(np.all(right.astype(low).astype(np.float64) == right))
    # Below the smallest normal number the lower type has fewer digits.
    sizes = np.maximum(np.abs(right), Precision(name).smallest)
    near = np.abs(wrong - right) <= 2 * epsilon * sizes
    return on_grid and not was and bool(np.mean(near) > 1 - _EXPLAINS)


def _order(right: _Wide, wrong: _Wide, left: float) -> str:
    if right.ndim <= _RANK:
        for order in permutations(range(right.ndim)):
            turned = right.transpose(order)
            if turned.shape == wrong.shape and _rms(wrong - turned) <= left:
                return f", those of the axes {list(order)}"
            if turned.size == wrong.size and _rms(wrong - turned.reshape(wrong.shape)) <= left:
                return f", read along the axes {list(order)}"
    for axis in range(right.ndim):
        if _rms(wrong - np.flip(right, axis)) <= left:
            return f", reversed on axis {axis}"
    return ""


def _line(right: _Wide, wrong: _Wide) -> tuple[float, float]:
    """Returns the factor and the offset that make most of one of the other."""
    spread = right - right.mean()
    square = float(np.sum(spread * spread))
    factor = float(np.sum(spread * (wrong - wrong.mean()))) / square if square else 1.0
    return factor, float(wrong.mean() - factor * right.mean())


def _rms(array: _Wide) -> float:
    return float(np.sqrt(np.mean(np.square(array)))) if array.size else 0.0


def _wide(array: Array) -> _Wide:
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], -1).astype(np.float64)
    return array.astype(np.float64)
