"""Kinds of faults in weights, for any form whose tensors can be read."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ascend_migrate.pipeline.digest import bytes_digest
from ascend_migrate.validators.cases import Array, widened_array
from ascend_migrate.validators.power.faults import WeightFault, Weights

Spoil = Callable[[Array, np.random.Generator], Array | None]
"""Returns a wrong tensor; None where this kind of fault cannot happen to such a tensor."""

KINDS: dict[str, Spoil] = {}
"""Kinds that look at one tensor alone, by name; an exchange of two tensors is `SWAPPED`."""

SWAPPED = "two tensors exchanged"

WILD = "exponent bit flipped"
"""The kind whose numbers may be so large that they show whatever takes part in what."""

STALE = "stale"
"""The kind that changes every element of any tensor."""

_NO_SPREAD = 0.1
"""Standard deviation of random numbers that take the place of a constant, such as fresh biases."""


def kind(name: str) -> Callable[[Spoil], Spoil]:
    """Enters a function in `KINDS`."""

    def enter(spoil: Spoil) -> Spoil:
        KINDS[name] = spoil
        return spoil

    return enter


def weight_faults(
    weights: Weights, *, seed: int, names: Sequence[str] | None = None
) -> Iterator[WeightFault]:
    """Yields one fault of every kind that applies to each tensor; same arguments, same faults.

    Args:
        weights: the artifact's floating tensors.
        seed: of everything random.
        names: of the tensors to spoil; all by default.
    """
    for name in weights if names is None else names:
        for label in (*KINDS, SWAPPED):
            fault = weight_fault(label, name, weights, seed)
            if fault is not None:
                yield fault


def weight_fault(label: str, name: str, weights: Weights, seed: int) -> WeightFault | None:
    """Returns the fault of one kind in one tensor; None where it changes nothing there."""
    if label == SWAPPED:
        return _swapped(name, weights)
    wrong = wrong_tensor(label, name, weights[name], seed)
    if wrong is None:
        return None
    note = f"{label}; relative change {relative_change(weights[name], wrong):.2g}"
    return WeightFault(label, name, {name: wrong}, note)


def wrong_tensor(label: str, name: str, array: Array, seed: int) -> Array | None:
    """Returns what a fault of a kind makes of a tensor; None where it changes nothing there.

    Args:
        label: the kind, of `KINDS`.
        name: of the tensor; what is random differs from one to another.
        array: the right tensor.
        seed: same arguments, same bytes.
    """
    entropy = int(bytes_digest(f"{label}/{name}".encode()).removeprefix("sha256:")[:16], 16)
    with np.errstate(all="ignore"):
        wrong = KINDS[label](array, np.random.default_rng([seed, entropy]))
    # By value: a zero of the other sign is no fault.
    return None if wrong is None or np.array_equal(wrong, array) else wrong


def relative_change(array: Array, wrong: Array) -> float:
    """Returns the norm of the difference over the norm of the tensor, at most 1e30."""
    with np.errstate(all="ignore"):
        right, other = widened_array(array), widened_array(wrong)
        share = float(np.linalg.norm(other - right) / (np.linalg.norm(right) or 1.0))
    return min(share, 1e30) if share == share else 1e30  # noqa: PLR0124  NaN is a large change


def _swapped(name: str, weights: Weights) -> WeightFault | None:
    """Exchanges the tensor with the next one of the same type and sizes, as of another layer."""
    array = weights[name]
    names = list(weights)
    later = names.index(name) + 1
    for other in (*names[later:], *names[: later - 1]):
        found = weights[other]
        same = found.dtype == array.dtype and found.shape == array.shape
        if same and not np.array_equal(_octets(found), _octets(array)):
            note = f"exchanged with {other}"
            return WeightFault(SWAPPED, name, {name: found, other: array}, note)
    return None


def _scaled(factor: float) -> Spoil:
    return lambda array, _rng: (widened_array(array) * factor).astype(array.dtype)


KINDS["scaled by 1.01"] = _scaled(1.01)
KINDS["scaled by 1.001"] = _scaled(1.001)
KINDS["sign flipped"] = lambda array, _rng: -array


@kind("rows permuted")
def _permuted(array: Array, rng: np.random.Generator) -> Array | None:
    if array.ndim == 0 or array.shape[0] < 2:  # noqa: PLR2004  one row has no order
        return None
    return np.ascontiguousarray(array[rng.permutation(array.shape[0])])


@kind("transposed")
def _transposed(array: Array, _rng: np.random.Generator) -> Array | None:
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:  # noqa: PLR2004  a matrix has two
        return None
    return np.ascontiguousarray(np.swapaxes(array, -1, -2))


@kind("zeroed")
def _zeroed(array: Array, _rng: np.random.Generator) -> Array | None:
    return np.zeros_like(array) if array.ndim > 1 else None


@kind("bias dropped")
def _dropped(array: Array, _rng: np.random.Generator) -> Array | None:
    return np.zeros_like(array) if array.ndim == 1 else None


@kind(WILD)
def _exponent(array: Array, rng: np.random.Generator) -> Array | None:
    return _flipped(array, rng, _mantissa_bits(array), array.dtype.itemsize * 8 - 1)


@kind("mantissa bit flipped")
def _mantissa(array: Array, rng: np.random.Generator) -> Array | None:
    """One of the three highest bits: the element changes by a sixteenth to a half of itself.

    Zero has no such bit: the smallest numbers that there are change nothing.
    """
    if not np.any(array):
        return None
    mantissa = _mantissa_bits(array)
    return _flipped(array, rng, mantissa - 3, mantissa, nonzero=True)


@kind(STALE)
def _stale(array: Array, rng: np.random.Generator) -> Array | None:
    """Random numbers with its mean and spread, as a checkpoint of another training would have."""
    wide = widened_array(array)
    if not np.isfinite(wide).all():
        return None
    spread = float(wide.std()) or _NO_SPREAD
    return rng.normal(float(wide.mean()), spread, array.shape).astype(array.dtype)


@kind("cast to float16")
def _cast(array: Array, _rng: np.random.Generator) -> Array | None:
    if array.dtype.itemsize <= np.dtype(np.float16).itemsize:
        return None
    return array.astype(np.float16).astype(array.dtype)


def _octets(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _mantissa_bits(array: Array) -> int:
    import ml_dtypes

    return int(ml_dtypes.finfo(array.dtype).nmant)  # type: ignore[no-untyped-call]


def _flipped(
    array: Array, rng: np.random.Generator, low: int, high: int, *, nonzero: bool = False
) -> Array | None:
    """Flips one bit from ``low`` to below ``high`` in one element, as a bad memory cell does."""
    if not array.size:
        return None
    wrong = np.array(array, order="C")
    values = wrong.reshape(-1)
    place = rng.integers(values.size)
    if nonzero and not values[place]:
        others = np.flatnonzero(values)
        place = others[rng.integers(others.size)]
    bits = values.view(f"u{array.dtype.itemsize}")
    bits[place] ^= bits.dtype.type(1 << int(rng.integers(low, high)))
    return wrong
