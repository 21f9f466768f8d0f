"""The golden file: inputs, the original's outputs, and what is needed to judge against them.

One safetensors file, so that an original recorded on one machine is judged against on another,
without its code::

    CASE/input/NAME       what the model was fed
    CASE/own/NAME         what it returned, in its own precision
    CASE/again/NAME       what it returned to the same inputs later; only where that differs
    CASE/exact/NAME       what its float64 twin returned; absent where there is none
    CASE/low/NAME         what it returned under the policy of a lower precision; absent without one
    intermediates/...     what it computed on the way in one case; see `localisation.on_record`

CASE is the case's number; the metadata hold the rest as canonical JSON.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.apart import Doing
from ascend_migrate.pipeline.digest import canonical_json, file_digest
from ascend_migrate.pipeline.errors import EvidenceError, ModelError
from ascend_migrate.pipeline.evidence import recorded
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.printable import plain
from ascend_migrate.validators.cases import Array, Case, Feeds
from ascend_migrate.validators.ledger.weights import Weight
from ascend_migrate.validators.localisation import on_record
from ascend_migrate.validators.original import REDUCED, NoExactTwinError, Original, Outputs

SCHEMA = "ascend-migrate/golden/2"
_KEY = "ascend_migrate.golden"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One case as the original answered it.

    Attributes:
        name: of the case.
        feeds: inputs.
        own: outputs in the original's own precision.
        again: outputs of a later call with the same inputs; equal to ``own`` bit for bit unless
            the model remembers something.
        exact: outputs of the float64 twin; None where there is none.
        low: outputs with the rounding of the policy of a lower precision; None without one.
    """

    name: str
    feeds: Feeds
    own: Outputs
    again: Outputs
    exact: Outputs | None
    low: Outputs | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """What an artifact is judged against.

    Attributes:
        source: digest of the source.
        digest: of the golden file.
        cases: what was fed and returned.
        weights: every tensor of the source.
        constants: digests of those that its code holds or makes; see `Original.weights`.
        about: library versions, device, precision flags.
        no_exact: why there is no float64 twin; empty where there is one.
        precision: the policy of a lower precision; None where the artifacts keep the types.
        overflows: operations that leave the lower type's range, with the largest number there.
    """

    source: str
    digest: str
    cases: tuple[Recorded, ...]
    weights: Mapping[str, Weight]
    about: Mapping[str, str]
    no_exact: str
    precision: Precision | None = None
    overflows: Mapping[str, float] = field(default_factory=dict)
    constants: frozenset[str] = frozenset()


def capture(  # noqa: PLR0913 - what a golden file depends on
    original: Original,
    cases: Sequence[Case],
    path: Path,
    *,
    source: str,
    precision: Precision | None = None,
    intermediates: bool = False,
    doing: Doing = lambda _text: None,
) -> list[str]:
    """Runs the original and writes the golden file ``path``.

    Args:
        original: what to run.
        cases: what to feed it.
        path: file to write, atomically.
        source: digest of the source.
        precision: what the artifacts will be lowered to; None if they keep the model's types.
        intermediates: records those of one case as well: without the original at hand, they tell
            where an artifact goes wrong.
        doing: told what is about to be done.

    Returns:
        The names of the cases.

    Raises:
        ModelError: the original cannot be built, fails on a case, or computes in less than its
            types promise although no lower precision is asked for.
        StoreError: the file cannot be written.
    """
    from safetensors.numpy import save

    own, again = _twice(original, cases, doing)
    exact, no_exact = _exact(original, cases, own, doing)
    low, overflows = _low(original, cases, precision, doing)
    doing("reading its weights")
    constants: set[str] = set()
    weights = original.weights(cases[0].feeds, precision, constants)
    about = _about(original, precision)
    tensors: dict[str, Array] = {}
    if intermediates:
        doing("recording its intermediates")
        case = on_record.telling(cases)
        tensors |= on_record.tensors_of(on_record.record(original, case, precision))
    doing("writing the golden file")
    for index, case in enumerate(cases):
        differing = {n: a for n, a in again[index].items() if not same_bits(a, own[index][n])}
        groups = {"input": case.feeds, "own": own[index], "again": differing}
        if exact is not None:
            groups["exact"] = exact[index]
        if low is not None:
            groups["low"] = low[index]
        for group, arrays in groups.items():
            tensors |= {
                f"{index}/{group}/{name}": np.asarray(array, order="C")
                for name, array in arrays.items()
            }
    document = {
        "schema": SCHEMA,
        "source": source,
        "cases": [case.name for case in cases],
        "weights": {n: w.to_json() for n, w in weights.items()},
        "constants": sorted(constants),
        "about": about,
        "no_exact": no_exact,
        "precision": precision.to_json() if precision is not None else None,
        "overflows": list(overflows.items()),  # in the order of the model, which a table loses
    }
    durable.write_file(path, save(tensors, {_KEY: canonical_json(document).decode()}))
    return [case.name for case in cases]


def read_golden(path: Path) -> Golden:
    """Reads a golden file.

    Raises:
        EvidenceError: it is missing, damaged, or of a version that this release does not know.
    """
    digest = _digest(path)
    with recorded(path, "damaged golden file", "record it again with `capture`") as file:
        document = json.loads((file.metadata() or {}).get(_KEY, "{}"))
        arrays = {
            name: file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if not name.startswith(on_record.PREFIX)
        }
        if document.get("schema") != SCHEMA:
            raise EvidenceError(
                f"{path}: not a golden file of this release ({SCHEMA}); record it with `capture`"
            )
        names = document["cases"]
        if not names:
            raise ValueError("no case")
        return Golden(
            source=str(document["source"]),
            digest=digest,
            cases=tuple(_recorded(i, plain(str(name)), arrays) for i, name in enumerate(names)),
            weights={n: Weight.from_json(w) for n, w in document["weights"].items()},
            about={str(k): str(v) for k, v in document["about"].items()},
            no_exact=str(document["no_exact"]),
            precision=_policy(document["precision"]),
            overflows={str(where): float(most) for where, most in document["overflows"]},
            constants=frozenset(map(str, document.get("constants", ()))),
        )


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays have the same type, sizes and bytes; NaN equals itself."""
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def _twice(
    original: Original, cases: Sequence[Case], doing: Doing
) -> tuple[list[Outputs], list[Outputs]]:
    """Runs one loaded model on all cases, and again: what calls leave behind shows then."""
    doing("building the model")
    session = original.session()
    own = [_called(session, case, doing) for case in cases]
    return own, [_called(session, case, doing) for case in cases]


def _about(original: Original, precision: Precision | None) -> dict[str, str]:
    """Refuses outputs in whose noise a fault of an artifact could hide, unless it was asked for."""
    about = dict(original.about())
    found = about.get(REDUCED)
    if found and precision is None:
        raise ModelError(
            f"the original computes in less than the types of its weights: {found}; switch that "
            "off in its code, or say what precision the artifacts shall have ([precision])"
        )
    return {**about, "libraries": f"python {platform.python_version()}, numpy {np.__version__}"}


def _called(session: Any, case: Case, doing: Doing) -> Outputs:
    doing(f"case {case.name!r}")
    try:
        outputs: Outputs = session(case.feeds)
    except ModelError as error:
        raise ModelError(f"case {case.name!r}: {error}") from error
    return outputs


def _exact(
    original: Original, cases: Sequence[Case], own: Sequence[Outputs], doing: Doing
) -> tuple[list[Outputs] | None, str]:
    """Runs the float64 twin on every case; None and the reason where there is none."""
    try:
        doing("building its float64 twin")
        session = original.exact()
        found = []
        for case, outputs in zip(cases, own, strict=True):
            doing(f"case {case.name!r} in float64")
            found.append(session(case.feeds))
            if _sizes(found[-1]) != _sizes(outputs):
                return None, f"in case {case.name} its outputs have other sizes"
        return found, ""
    except NoExactTwinError as error:
        return None, str(error)
    except ModelError as error:
        # The original itself ran: only its twin fails, for want of a float64 kernel.
        return None, str(error)


def _low(
    original: Original, cases: Sequence[Case], precision: Precision | None, doing: Doing
) -> tuple[list[Outputs] | None, dict[str, float]]:
    """Runs the original with the rounding of the policy, if there is one."""
    if precision is None:
        return None, {}
    overflows: dict[str, float] = {}
    session = original.lowered(precision, overflows)
    return [_called(session, case, doing) for case in cases], overflows


def _policy(document: Mapping[str, Any] | None) -> Precision | None:
    return None if document is None else Precision.from_json(document)


def _recorded(index: int, name: str, arrays: Mapping[str, Array]) -> Recorded:
    def group(label: str) -> dict[str, Array]:
        prefix = f"{index}/{label}/"
        return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

    own = group("own")
    exact, low = group("exact") or None, group("low") or None
    if any(other is not None and _sizes(other) != _sizes(own) for other in (exact, low)):
        raise ValueError(f"the outputs of case {name!r} are not of one size")
    return Recorded(name, group("input"), own, own | group("again"), exact, low)


def _sizes(outputs: Outputs) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in outputs.items()}


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from error
