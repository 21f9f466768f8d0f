"""The weight ledger: every tensor of the source is found, bit for bit, in the artifact.

Outputs alone do not see a wrong weight that no input exercises; bytes do. A tensor counts as
found under its own name, or else anywhere in the artifact with the same type and bytes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.digest import bytes_digest
from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.cases import Array

CHECK = "weights.ledger"
EQUAL = "weights.equal"
FINITE = "weights.finite"


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
        with np.errstate(over="ignore", under="ignore"):
            low = array.astype(numpy_dtype(dtype))
        pairs = zip(_blocks(array), _blocks(low), strict=True)
        lost = [_lost(one, other.astype(np.float32)) for one, other in pairs]
        overflowed, vanished, change = zip(*lost, strict=True) if lost else ((), (), ())
        return cls(
            dtype, content_digest(low), sum(overflowed), sum(vanished), max(change, default=0.0)
        )


_BLOCK = 1 << 20
"""Elements looked at together: what is computed on the way then needs little memory."""


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
    """

    dtype: str
    shape: tuple[int, ...]
    digest: str
    used: bool
    nan: bool
    cast: Cast | None = None

    @classmethod
    def of(
        cls, dtype: str, array: Array, *, used: bool, precision: Precision | None = None
    ) -> "Weight":
        """Describes a tensor, and what the policy's cast makes of it if it is float32."""
        lowers = precision is not None and dtype == "float32"
        cast = Cast.of(array, precision.dtype) if precision is not None and lowers else None
        return cls(dtype, array.shape, content_digest(array), used, holds_nan(array), cast)

    def to_json(self) -> dict[str, Any]:
        """Returns the description as plain JSON data."""
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "digest": self.digest,
            "used": self.used,
            "nan": self.nan,
        } | ({} if self.cast is None else {"cast": asdict(self.cast)})

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
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of an artifact; ``array`` may be mapped from the file."""

    name: str
    dtype: str
    array: Array


def content_digest(array: Array) -> str:
    """Returns the digest of the array's contiguous bytes; its shape does not count."""
    return bytes_digest(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def holds_nan(array: Array) -> bool:
    """Whether a floating array holds NaN."""
    if array.dtype.kind in "biu" or not array.size:
        return False
    return bool(np.isnan(array).any())


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


def check_ledger(
    form: Form, source: Mapping[str, Weight], stored: Iterable[Stored]
) -> tuple[Finding, ...]:
    """Looks for every used tensor of the source in a graph.

    Integers may be missing: converters compute with them in advance, and what that came to is in
    the outputs. A floating tensor may be missing only if the original does not read it. Under a
    policy of a lower precision a tensor may also be what exactly the declared cast makes of it.
    """
    by_name: dict[str, tuple[str, str]] = {}
    nan: list[str] = []
    for item in stored:
        by_name[item.name] = (item.dtype, content_digest(item.array))
        if holds_nan(item.array):
            nan.append(item.name)
    everything = set(by_name.values())
    faults: list[Finding] = []
    equal, computed, unread = 0, [], 0
    cast: list[tuple[str, Cast]] = []
    for name, weight in source.items():
        wanted = (weight.dtype, weight.digest)
        named = by_name.get(name)
        if named == wanted or (named is None and wanted in everything):
            equal += 1
        elif weight.cast is not None and _is_cast(weight.cast, named, everything):
            cast.append((name, weight.cast))
        elif named is not None:
            faults.append(_fault(CHECK, form, name, _difference(weight, named)))
        elif not weight.used:
            unread += 1
        elif BY_NAME[weight.dtype].epsilon is None:
            computed.append(name)
        else:
            faults.append(_fault(CHECK, form, name, "the original reads it; the artifact lacks it"))
    note = f"{equal} of {len(source)} tensors bit-equal"
    note += f"; {unread} that the original never reads are left out" if unread else ""
    note += f"; integers computed in advance: {', '.join(computed)}" if computed else ""
    note += f"; {_cast_note(cast)}" if cast else ""
    faults += _infinite(CHECK, form, cast)
    found = _summary(CHECK, form, faults, note, equal + len(cast))
    return (*found, *check_finite(form, nan, source))


def _infinite(check: str, form: Form, cast: Sequence[tuple[str, Cast]]) -> list[Finding]:
    """Fails the tensors that the type cannot hold."""
    return [
        _fault(check, form, name, f"the cast to {item.dtype} makes {item.overflowed} infinite")
        for name, item in cast
        if item.overflowed
    ]


def _is_cast(
    cast: Cast, named: tuple[str, str] | None, everything: Collection[tuple[str, str]]
) -> bool:
    wanted = (cast.dtype, cast.digest)
    return named == wanted or (named is None and wanted in everything)


def _cast_note(cast: Sequence[tuple[str, Cast]]) -> str:
    """Says what the cast lost."""
    worst, most = max(cast, key=lambda item: item[1].change)
    note = f"{len(cast)} equal after the cast to {most.dtype}, which changes an element by at most "
    note += f"{most.change:.2g} of itself ({worst})"
    vanished = {name: item.vanished for name, item in cast if item.vanished}
    if vanished:
        name = max(vanished, key=lambda item: vanished[item])
        note += f" and makes {sum(vanished.values())} zero ({vanished[name]} of them in {name})"
    return note


def check_equal(
    form: Form, source: Mapping[str, Weight], stored: Iterable[Stored], *, cast: bool = False
) -> tuple[Finding, ...]:
    """Compares a file of weights with the source: the same names, types, sizes and bytes.

    Args:
        form: of the artifact.
        source: the source's tensors.
        stored: the artifact's.
        cast: whether float32 tensors must be what the declared cast makes of them.
    """
    faults: list[Finding] = []
    nan: list[str] = []
    found: dict[str, tuple[str, tuple[int, ...], str]] = {}
    for item in stored:
        found[item.name] = (item.dtype, item.array.shape, content_digest(item.array))
        if holds_nan(item.array):
            nan.append(item.name)
    equal = 0
    lowered: list[tuple[str, Cast]] = []
    for name, weight in source.items():
        have = found.get(name)
        lower = weight.cast if cast else None
        wanted = (lower.dtype, lower.digest) if lower else (weight.dtype, weight.digest)
        if have is None:
            faults.append(_fault(EQUAL, form, name, "the source has it; the artifact lacks it"))
        elif have != (wanted[0], weight.shape, wanted[1]):
            faults.append(_fault(EQUAL, form, name, _difference(weight, (have[0], have[2]))))
        elif lower is not None:
            lowered.append((name, lower))
        else:
            equal += 1
    faults += [
        _fault(EQUAL, form, name, "the artifact has it; the source does not")
        for name in found
        if name not in source
    ]
    faults += _infinite(EQUAL, form, lowered)
    note = f"{equal} of {len(source)} tensors bit-equal"
    note += f"; {_cast_note(lowered)}" if lowered else ""
    found_all = equal + len(lowered)
    return (*_summary(EQUAL, form, faults, note, found_all), *check_finite(form, nan, source))


def check_finite(
    form: Form, nan: Collection[str], source: Mapping[str, Weight]
) -> Iterator[Finding]:
    """Fails on NaN in a weight: it need not reach any output of this runtime."""
    bad = sorted({*nan, *(name for name, weight in source.items() if weight.nan and weight.used)})
    for name in bad:
        where = "the source" if name in source and source[name].nan else "the artifact"
        yield _fault(FINITE, form, name, f"holds NaN in {where}; get a sound checkpoint")
    if not bad:
        yield Finding(FINITE, form, "all weights", Outcome.PASS, note="no NaN in any weight")


def _difference(weight: Weight, found: tuple[str, str]) -> str:
    if found[0] != weight.dtype:
        return f"is {weight.dtype} in the source and {found[0]} in the artifact"
    return "has other bytes than in the source"


def _fault(check: str, form: Form, name: str, note: str) -> Finding:
    return Finding(check, form, name, Outcome.FAIL, note=note)


def _summary(check: str, form: Form, faults: list[Finding], note: str, equal: int) -> list[Finding]:
    if faults:
        return faults
    if not equal:
        return [_fault(check, form, "all weights", "not one tensor was compared")]
    return [Finding(check, form, "all weights", Outcome.PASS, note=note)]
