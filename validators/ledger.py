"""The weight ledger: every tensor of the source is found, bit for bit, in the artifact.

Outputs alone do not see a wrong weight that no input exercises; bytes do. A tensor counts as
found under its own name, or else anywhere in the artifact with the same type and bytes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.digest import bytes_digest
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.cases import Array

CHECK = "weights.ledger"
EQUAL = "weights.equal"
FINITE = "weights.finite"


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of the source.

    Attributes:
        dtype: our spelling of the element type.
        shape: sizes.
        digest: of its contiguous little-endian bytes.
        used: whether a call of the original reads it.
        nan: whether it holds NaN.
    """

    dtype: str
    shape: tuple[int, ...]
    digest: str
    used: bool
    nan: bool

    @classmethod
    def of(cls, dtype: str, array: Array, *, used: bool) -> "Weight":
        """Describes a tensor."""
        return cls(dtype, array.shape, content_digest(array), used, holds_nan(array))

    def to_json(self) -> dict[str, Any]:
        """Returns the description as plain JSON data."""
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "digest": self.digest,
            "used": self.used,
            "nan": self.nan,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Weight":
        """Inverse of `to_json`."""
        return cls(
            str(data["dtype"]),
            tuple(int(size) for size in data["shape"]),
            str(data["digest"]),
            bool(data["used"]),
            bool(data["nan"]),
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
    checkpoint: Checkpoint, used: Collection[str] | None = None
) -> dict[str, Weight]:
    """Describes every tensor of a checkpoint, one in memory at a time.

    Args:
        checkpoint: the source.
        used: names that a call of the original reads; None where nothing is called.
    """
    return {
        name: Weight.of(entry.dtype, checkpoint.read(name), used=used is None or name in used)
        for name, entry in checkpoint.tensors.items()
    }


def check_ledger(
    form: Form, source: Mapping[str, Weight], stored: Iterable[Stored]
) -> tuple[Finding, ...]:
    """Looks for every used tensor of the source in a graph.

    Integers may be missing: converters compute with them in advance, and what that came to is in
    the outputs. A floating tensor may be missing only if the original does not read it.
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
    for name, weight in source.items():
        wanted = (weight.dtype, weight.digest)
        named = by_name.get(name)
        if named == wanted or (named is None and wanted in everything):
            equal += 1
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
    return (*_summary(CHECK, form, faults, note, equal), *check_finite(form, nan, source))


def check_equal(
    form: Form, source: Mapping[str, Weight], stored: Iterable[Stored]
) -> tuple[Finding, ...]:
    """Compares a file of weights with the source: the same names, types, sizes and bytes."""
    faults: list[Finding] = []
    nan: list[str] = []
    found: dict[str, tuple[str, tuple[int, ...], str]] = {}
    for item in stored:
        found[item.name] = (item.dtype, item.array.shape, content_digest(item.array))
        if holds_nan(item.array):
            nan.append(item.name)
    equal = 0
    for name, weight in source.items():
        have = found.get(name)
        if have is None:
            faults.append(_fault(EQUAL, form, name, "the source has it; the artifact lacks it"))
        elif have != (weight.dtype, weight.shape, weight.digest):
            faults.append(_fault(EQUAL, form, name, _difference(weight, (have[0], have[2]))))
        else:
            equal += 1
    faults += [
        _fault(EQUAL, form, name, "the artifact has it; the source does not")
        for name in found
        if name not in source
    ]
    note = f"{equal} of {len(source)} tensors bit-equal"
    return (*_summary(EQUAL, form, faults, note, equal), *check_finite(form, nan, source))


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
