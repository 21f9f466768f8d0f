"""What is said of a weight without its numbers: type, sizes, digest, and what is odd in it."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.ledger.weight_bytes import Oddities, integers_digest, is_mask, octets

Content = tuple[str, str]
"""Element type and digest: two tensors with the same content hold the same numbers, in order."""

ACCOUNTED_FROM = 256
"""Elements from which on a float of the artifact has to come from somewhere. Below are the
constants that converters make: axes, epsilons, the scales of a resize."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of an artifact; ``array`` may be mapped from the file.

    Attributes:
        name: of the initializer or parameter; of a constant, that of its node's result.
        dtype: our spelling of the element type.
        array: its numbers.
        read: whether a node of the graph takes it, as far as there is a graph.
        inner: whether it is held by a node, or by a graph within one.
    """

    name: str
    dtype: str
    array: Array
    read: bool = True
    inner: bool = False


@dataclass(frozen=True, slots=True)
class Cast:
    """A tensor of the source after the declared cast to a lower type.

    Attributes:
        dtype: the lower type.
        digest: of its bytes then.
        overflowed: elements that are infinite only then.
        vanished: elements that are zero only then.
        change: the largest relative change of an element that is neither.
    """

    dtype: str
    digest: str
    overflowed: int
    vanished: int
    change: float

    @classmethod
    def of(cls, array: Array, dtype: str) -> "Cast":
        """Casts a float32 tensor, rounding to nearest, and says what that loses."""
        state = hashlib.sha256()
        overflowed, vanished, change = 0, 0, 0.0
        for block in _blocks(array):
            with np.errstate(over="ignore", under="ignore"):
                low = block.astype(numpy_dtype(dtype))
            state.update(low.view(np.uint8).data)
            lost = _lost(block, low.astype(np.float32))
            overflowed, vanished = overflowed + lost[0], vanished + lost[1]
            change = max(change, lost[2])
        return cls(dtype, f"sha256:{state.hexdigest()}", overflowed, vanished, change)


_BLOCK = 1 << 18
"""Elements cast together: what is computed on the way then stays in the processor's cache."""


def _blocks(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    return (flat[i : i + _BLOCK] for i in range(0, flat.size, _BLOCK))


def _lost(array: Array, back: Array) -> tuple[int, int, float]:
    """Counts elements that became infinite, or zero; and returns the largest relative change."""
    overflowed = np.isinf(back) & np.isfinite(array)
    vanished = (back == 0) & (array != 0)
    kept = np.isfinite(array) & (array != 0) & ~overflowed & ~vanished
    exact = array[kept].astype(np.float64)
    change = np.abs(back[kept] - exact) / np.abs(exact)
    largest = float(change.max()) if change.size else 0.0
    return int(np.count_nonzero(overflowed)), int(np.count_nonzero(vanished)), largest


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of the source.

    Attributes:
        dtype: our spelling of the element type.
        shape: sizes.
        digest: of its contiguous little-endian bytes.
        used: whether what a call of the original returns depends on it.
        nan: whether it holds NaN.
        cast: what the policy of a lower precision makes of it; None where it lowers nothing.
        infinite: whether it holds infinities, and not as a mask does.
        denormal: elements below the type's normal range.
        index: whether it is positions, counts or a mask: integers that are computed with.
        integers: digest of its numbers as int64; empty for floats.
    """

    dtype: str
    shape: tuple[int, ...]
    digest: str
    used: bool
    nan: bool
    cast: Cast | None = None
    infinite: bool = False
    denormal: int = 0
    index: bool = False
    integers: str = ""

    @classmethod
    def of(
        cls, dtype: str, array: Array, *, used: bool, precision: Precision | None = None
    ) -> "Weight":
        """Describes a tensor, and what the policy's cast makes of it if it is float32."""
        state, odd = hashlib.sha256(), Oddities()
        for piece in octets(array):
            state.update(piece)
            odd.add(np.frombuffer(piece, array.dtype))
        lowers = precision is not None and dtype == "float32"
        return cls(
            dtype,
            array.shape,
            f"sha256:{state.hexdigest()}",
            used,
            nan=odd.nan > 0,
            cast=Cast.of(array, precision.dtype) if precision is not None and lowers else None,
            infinite=odd.infinite > 0 and not is_mask(array),
            denormal=odd.denormal,
            index=_is_index(array),
            integers=integers_digest(array),
        )

    @property
    def contents(self) -> tuple[Content, ...]:
        """What the tensor may be in an artifact: itself, or what the declared cast makes of it."""
        own = (self.dtype, self.digest)
        return (own,) if self.cast is None else (own, (self.cast.dtype, self.cast.digest))

    def to_json(self) -> dict[str, Any]:
        """Returns the description as plain JSON data."""
        told: dict[str, Any] = {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "digest": self.digest,
            "used": self.used,
            "nan": self.nan,
        }
        rest = {
            "infinite": self.infinite,
            "denormal": self.denormal,
            "index": self.index,
            "integers": self.integers,
            "cast": None if self.cast is None else asdict(self.cast),
        }
        return told | {key: value for key, value in rest.items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Weight":
        """Inverse of `to_json`."""
        return cls(
            str(data["dtype"]),
            tuple(int(size) for size in data["shape"]),
            str(data["digest"]),
            bool(data["used"]),
            bool(data["nan"]),
            Cast(**data["cast"]) if "cast" in data else None,
            infinite=bool(data.get("infinite", False)),
            denormal=int(data.get("denormal", 0)),
            index=bool(data.get("index", False)),
            integers=str(data.get("integers", "")),
        )


def weights_of_checkpoint(
    checkpoint: Checkpoint,
    used: Collection[str] | None = None,
    precision: Precision | None = None,
) -> dict[str, Weight]:
    """Describes every tensor of a checkpoint, one in memory at a time.

    Args:
        checkpoint: the source.
        used: names that a call of the original reads; None where nothing is called.
        precision: the policy whose cast is described as well.
    """
    return {
        name: Weight.of(
            entry.dtype,
            checkpoint.read(name),
            used=used is None or name in used,
            precision=precision,
        )
        for name, entry in checkpoint.tensors.items()
    }


_NARROW = 2
"""Bytes of integers that may be a quantised weight; positions and counts take more."""


def _is_index(array: Array) -> bool:
    if array.dtype.kind not in "biu":
        return False
    if array.dtype.kind == "b" or array.dtype.itemsize > _NARROW or not array.size:
        return True
    return bool(array.min() >= 0 and array.max() <= 1)


def floating(dtype: str) -> bool:
    """Whether an element type is that of a learned number."""
    return BY_NAME[dtype].epsilon is not None
