"""Intermediates of an original in its golden file: a sketch of each, and the small ones whole.

Kept of one case::

    intermediates/own         sums of the sketches in the original's own precision, end to end
    intermediates/noise       what must be added for those in float64; 0 where there is no twin
    intermediates/whole/N     values of the N-th, where it has more elements than a sketch
    intermediates/about       the rest, as canonical JSON

Who only judges reads none of it, and a release that does not know it finds the golden file as it
was. (One key of the metadata for all, because safetensors writes several in any order.)
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.errors import ModelError
from ascend_migrate.pipeline.evidence import recorded
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.printable import in_one_line, plain
from ascend_migrate.validators.cases import Array, Case, Feeds
from ascend_migrate.validators.localisation.alignment import Intermediate, intermediates
from ascend_migrate.validators.localisation.sketch import BUCKETS, Sketch, restored
from ascend_migrate.validators.original import NoTraceError, Original, Traced

PREFIX = "intermediates/"
"""Of the names of the tensors in the golden file."""

_ABOUT = f"{PREFIX}about"

LIMIT = 32 << 20
"""Bytes that intermediates may add to a golden file. A sketch and its noise are 12 KiB, so that
2,700 intermediates fit, more than a transformer of 24 layers has, and a golden file stays one that
is copied by hand; the rest is thinned out."""

WHOLE = 64 * BUCKETS
"""Elements up to which values are kept whole while there is room: only they can be put in the
place of a suspect. Larger ones would leave room for few."""

_BYTES = 12
"""Of each sum of a sketch: float64, and its noise as float32."""


@dataclass(frozen=True, slots=True)
class OnRecord:
    """The intermediates of one case, as a golden file holds them.

    Attributes:
        case: its name.
        items: in the order in which they were computed.
        whole: values of those that were kept whole, by name.
        complete: whether none was left out for want of room.
    """

    case: str
    items: Sequence[Intermediate]
    whole: Mapping[str, Array]
    complete: bool

    @property
    def coarse(self) -> str:
        """What a search misses that has this alone."""
        said = "by what the golden file holds of this one case"
        return said if self.complete else f"{said}, thinned out to what fits"

    def intermediates(self) -> Sequence[Intermediate]:
        """Returns them."""
        return self.items

    def values(self, names: Collection[str]) -> Mapping[str, Array]:
        """Returns the values of those of ``names`` that are known, small ones as float64."""
        found = {name: self.whole[name] for name in names if name in self.whole}
        for item in self.items:
            if item.name in names and item.name not in found:
                small = restored(item.own)
                if small is not None:
                    found[item.name] = small
        return found


def telling(cases: Sequence[Case]) -> Case:
    """Returns the case with the most different numbers in its inputs: it hides least."""
    return max(cases, key=lambda case: _variety(case.feeds))


def record(original: Original, case: Case, precision: Precision | None) -> OnRecord | str:
    """Runs the original on a case, in its own precision and in float64; or says why it cannot."""
    whole: dict[str, Array] = {}
    held = 0

    def keep(item: Traced) -> None:
        nonlocal held
        if item.array.dtype.kind == "c":
            return  # which safetensors does not have
        if BUCKETS < item.array.size <= WHOLE and held + item.array.nbytes <= LIMIT:
            whole[item.name] = item.array.copy()
            held += item.array.nbytes

    try:
        found = intermediates(original, case.feeds, precision, keep)
    except (NoTraceError, ModelError) as error:
        return in_one_line(error)
    kept = _fitting(found)
    room = LIMIT - sum(map(_bytes, kept))
    names = {item.name for item in kept}
    chosen = {}
    for name, array in sorted(whole.items(), key=lambda item: item[1].nbytes):
        if name in names and array.nbytes <= room:
            chosen[name] = array
            room -= array.nbytes
    return OnRecord(case.name, kept, chosen, len(kept) == len(found))


def tensors_of(found: OnRecord | str) -> dict[str, Array]:
    """Returns what a golden file holds of a record."""
    if isinstance(found, str):
        return {_ABOUT: np.frombuffer(canonical_json({"note": found}), np.uint8)}
    own = [item.own.sums for item in found.items]
    noise = [item.exact.sums - item.own.sums for item in found.items]
    places = {item.name: place for place, item in enumerate(found.items)}
    tensors = {
        f"{PREFIX}own": np.concatenate([np.zeros(0), *own]),
        f"{PREFIX}noise": np.concatenate([np.zeros(0), *noise]).astype(np.float32),
    }
    for name, array in found.whole.items():
        tensors[f"{PREFIX}whole/{places[name]}"] = np.asarray(array, order="C")
    document = {
        "case": found.case,
        "complete": found.complete,
        "items": [
            [
                *(i.name, i.module, list(i.own.shape), list(i.own.strange)),
                *(i.own.floating, i.own.scale, i.exact.scale, i.epsilon),
            ]
            for i in found.items
        ],
    }
    return tensors | {_ABOUT: np.frombuffer(canonical_json(document), np.uint8)}


def read_record(path: Path) -> OnRecord | str:
    """Reads what a golden file holds of intermediates, or why it holds none.

    Raises:
        EvidenceError: it is damaged.
    """
    with recorded(path, "damaged intermediates", "record it again with `capture`") as file:
        if _ABOUT not in file.keys():  # noqa: SIM118
            return "it was recorded without intermediates"
        document = json.loads(file.get_tensor(_ABOUT).tobytes())
        if "items" not in document:
            return plain(str(document["note"]))
        own, noise = (file.get_tensor(f"{PREFIX}{kind}") for kind in ("own", "noise"))
        head = f"{PREFIX}whole/"
        whole = {
            str(document["items"][int(name.removeprefix(head))][0]): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name.startswith(head)
        }
        items, first = [], 0
        for fields in document["items"]:
            size = math.prod(map(int, fields[2]))
            last = first + min(BUCKETS, size)
            if not 0 < size < 1 << 63 or last > own.size:
                raise ValueError(f"{size} elements of {fields[0]!r}")
            items.append(_item(fields, own[first:last], noise[first:last]))
            first = last
        return OnRecord(plain(str(document["case"])), items, whole, bool(document["complete"]))


def _item(fields: Sequence[Any], own: Array, noise: Array) -> Intermediate:
    name, module, shape, strange, floating, scale, exact_scale, epsilon = fields
    nan, above, below = map(int, strange)
    sketch = Sketch(tuple(map(int, shape)), own, (nan, above, below), float(scale), bool(floating))
    exact = replace(sketch, sums=own + noise.astype(np.float64), scale=float(exact_scale))
    return Intermediate(str(name), str(module), sketch, exact, float(epsilon))


def _fitting(found: Sequence[Intermediate]) -> Sequence[Intermediate]:
    """Thins intermediates out to what fits: of each module the last one, then evenly."""
    if sum(map(_bytes, found)) <= LIMIT:
        return found
    following = [*(item.module for item in found[1:]), None]
    kept = [item for item, after in zip(found, following, strict=True) if item.module != after]
    most = LIMIT // (_BYTES * BUCKETS)
    if len(kept) <= most:
        return kept
    return [kept[place] for place in np.linspace(0, len(kept) - 1, most).astype(int)]


def _bytes(item: Intermediate) -> int:
    return _BYTES * item.own.sums.size


def _variety(feeds: Feeds) -> int:
    return sum(int(np.unique(array).size) for array in feeds.values())
