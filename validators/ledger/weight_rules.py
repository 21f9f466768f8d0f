"""How a converter may store a weight otherwise than it was: rules that are computed again.

Each rule looks at tensors of the source that are nowhere in the artifact and at tensors of the
artifact that are nowhere in the source, and explains some of both: bit for bit, but for folded
normalisations, whose rounding depends on the order in which the converter multiplied.

Our own converters keep every weight as it is; these are for artifacts of others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.ledger.weight_causes import Tensors, same_bits, turned
from ascend_migrate.validators.ledger.weights import Weight
from ascend_migrate.validators.tolerances import FOLDED


@dataclass(frozen=True, slots=True)
class Derivation:
    """What one rule explains.

    Attributes:
        rule: its name, told to the user.
        source: names of the source's tensors.
        stored: names of the artifact's tensors that are made of them, and of nothing else.
    """

    rule: str
    source: tuple[str, ...]
    stored: tuple[str, ...]


class Open:
    """The tensors on both sides that nothing explains so far.

    Args:
        source: descriptions of the source's tensors that the artifact lacks.
        tensors: reads them.
        stored: the artifact's tensors that the source lacks.
    """

    def __init__(
        self, source: Mapping[str, Weight], tensors: Tensors, stored: Mapping[str, Array]
    ) -> None:
        self.source, self.stored = dict(source), dict(stored)
        self._tensors = tensors

    def read(self, name: str, dtype: str) -> Array | None:
        """Returns a tensor of the source in an artifact's type, if it is one that it may have."""
        weight = self.source[name]
        if dtype == weight.dtype:
            return self._tensors(name)
        if weight.cast is None or dtype != weight.cast.dtype:
            return None
        with np.errstate(over="ignore", under="ignore"):
            lowered: Array = self._tensors(name).astype(numpy_dtype(dtype))
        return lowered

    def explained(self) -> list[Derivation]:
        """Applies every rule, and returns what they explain together."""
        found: list[Derivation] = []
        for rule in _RULES:
            for item in rule(self):
                found.append(item)
                for name in item.source:
                    self.source.pop(name, None)
                for name in item.stored:
                    self.stored.pop(name, None)
        return found


def _transposed(rest: Open) -> Iterator[Derivation]:
    """As ``x @ w`` wants the weight that ``w @ x`` has."""
    for name, weight in list(rest.source.items()):
        for other, array in list(rest.stored.items()):
            if sorted(array.shape) != sorted(weight.shape):
                continue
            one = rest.read(name, array.dtype.name)
            if one is not None and turned(one, array):
                yield Derivation("transposed", (name,), (other,))
                break


def _merged(rest: Open) -> Iterator[Derivation]:
    """As the weights of query, key and value become one."""
    for other, array in list(rest.stored.items()):
        for whole in _views(array):
            for axis in range(min(whole.ndim, 2)):
                parts = {
                    name: part
                    for name, weight in rest.source.items()
                    if _fits(weight.shape, whole.shape, axis)
                    if (part := rest.read(name, array.dtype.name)) is not None
                }
                names = _tiles(whole, parts, axis)
                if names and other in rest.stored:
                    yield Derivation("merged", names, (other,))


def _split(rest: Open) -> Iterator[Derivation]:
    """As one weight of query, key and value becomes three."""
    for name, weight in list(rest.source.items()):
        kinds = {array.dtype.name for array in rest.stored.values()}
        for dtype, turn, axis in product(sorted(kinds), (False, True), (0, 1)):
            if name not in rest.source or axis >= len(weight.shape):
                continue
            parts = {
                other: array.T if turn else array
                for other, array in rest.stored.items()
                if array.dtype.name == dtype
                if _fits((array.T if turn else array).shape, weight.shape, axis)
            }
            whole = rest.read(name, dtype) if parts else None
            names = () if whole is None else _tiles(whole, parts, axis)
            if names:
                yield Derivation("split", (name,), names)


def _views(array: Array) -> tuple[Array, ...]:
    return (array, array.T) if array.ndim == 2 else (array,)  # noqa: PLR2004 - a matrix


def _fits(part: tuple[int, ...], whole: tuple[int, ...], axis: int) -> bool:
    """Whether sizes are those of a piece cut off along one axis."""
    if len(part) != len(whole) or not 0 < part[axis] < whole[axis]:
        return False
    return all(a == b for i, (a, b) in enumerate(zip(part, whole, strict=True)) if i != axis)


def _tiles(whole: Array, parts: Mapping[str, Array], axis: int) -> tuple[str, ...]:
    """Returns the names of the parts that make up the whole, in order; none if they do not."""
    found: list[str] = []
    at = 0
    while at < whole.shape[axis]:
        for name, part in parts.items():
            end = at + part.shape[axis]
            piece = np.moveaxis(np.moveaxis(whole, axis, 0)[at:end], 0, axis)
            if name not in found and same_bits(piece, part):
                found.append(name)
                at = end
                break
        else:
            return ()
    return tuple(found)


_STATISTICS = ("weight", "bias", "running_mean", "running_var")

_FOLDED = FOLDED.value * 2.0**-24


def _folded(rest: Open) -> Iterator[Derivation]:
    """Batch normalisation, folded into the convolution or the product before it.

    ``kernel * weight / sqrt(running_var + epsilon)``: the epsilon is solved for, and has to be
    one number for all channels.
    """
    for norm in _norms(rest):
        group = [f"{norm}{part}" for part in _STATISTICS]
        gain, shift, mean, variance = (rest.read(n, "float32") for n in group)
        if gain is None or shift is None or mean is None or variance is None:
            continue
        for name, other, scale in _scaled(rest, len(gain)):
            if not _is_norm(scale, gain, variance):
                continue
            moved, bias = _moved_bias(rest, name, shift, mean, scale)
            if moved:
                yield Derivation("folded", (name, *bias, *group), (other, moved))
                break


def _norms(rest: Open) -> list[str]:
    """Returns the prefixes of the normalisations whose four tensors are all missing."""
    ends = [
        name.removesuffix("running_var") for name in rest.source if name.endswith("running_var")
    ]
    return [end for end in ends if all(f"{end}{part}" in rest.source for part in _STATISTICS)]


def _scaled(rest: Open, channels: int) -> Iterator[tuple[str, str, Array]]:
    """Yields kernels of both sides that differ by one factor for each channel."""
    for name, weight in list(rest.source.items()):
        if len(weight.shape) < 2 or weight.shape[0] != channels:  # noqa: PLR2004 - a kernel
            continue
        kernel = rest.read(name, "float32")
        for other, array in list(rest.stored.items()):
            if kernel is None or array.shape != kernel.shape or array.dtype != np.float32:
                continue
            one, found = (a.reshape(channels, -1).astype(np.float64) for a in (kernel, array))
            power = np.sum(one * one, 1)
            scale = np.sum(one * found, 1) / np.where(power > 0, power, 1)
            exact = scale[:, None] * one
            if (np.abs(found - exact) <= _FOLDED * np.abs(exact)).all():
                yield name, other, scale


def _is_norm(scale: Array, gain: Array, variance: Array) -> bool:
    """Whether the factors are those of the normalisation, with some epsilon."""
    with np.errstate(all="ignore"):
        epsilon = np.median((gain.astype(np.float64) / scale) ** 2 - variance)
        wanted = gain / np.sqrt(variance + epsilon)
    near = np.abs(wanted - scale) <= _FOLDED * np.abs(scale)
    return bool(0 <= epsilon + _FOLDED <= 1 and near.all())


def _moved_bias(
    rest: Open, kernel: str, shift: Array, mean: Array, scale: Array
) -> tuple[str, tuple[str, ...]]:
    """Returns the names of the folded bias, and of the kernel's own if it had one."""
    own = f"{kernel.removesuffix('weight')}bias"
    bias = rest.read(own, "float32") if own in rest.source else None
    before = np.zeros_like(mean) if bias is None else bias
    size = np.abs(shift) + (np.abs(before) + np.abs(mean)) * np.abs(scale)
    wanted = shift + (before.astype(np.float64) - mean) * scale
    for other, array in rest.stored.items():
        if array.shape != mean.shape or array.dtype != np.float32:
            continue
        if (np.abs(array - wanted) <= _FOLDED * size).all():
            return other, () if bias is None else (own,)
    return "", ()


_RULES: tuple[Callable[[Open], Iterator[Derivation]], ...] = (
    _transposed,
    _merged,
    _split,
    _folded,
)
