"""Parameters cut out of flat partitions, as ZeRO's ranks hold them."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.streams import stream_view
from ascend_migrate.pipeline.checkpoint.views import View, check_view, extent

Shapes = Mapping[str, tuple[int, ...]]
Pieces = list[View]


@dataclass(frozen=True, slots=True)
class Flat:
    """Several flat tensors, one behind the other."""

    views: tuple[View, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, views: Sequence[View]) -> "Flat":
        """Puts flat tensors in a row."""
        return cls(tuple(views), tuple(accumulate(view.shape[0] for view in views)))

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.ends[-1] if self.ends else 0

    def cut(self, name: str, start: int, count: int) -> Pieces:
        """Returns the pieces that make up ``count`` elements from ``start`` on.

        Raises:
            FormatError: there are fewer; ``name`` is the parameter's.
        """
        if start + count > self.numel:
            raise FormatError(f"has partitions too short for parameter {shown(name)}; damaged")
        pieces = []
        at = bisect_right(self.ends, start)
        while count:
            view = self.views[at]
            skip = start - (self.ends[at] - view.shape[0])
            taken = min(count, view.shape[0] - skip)
            if taken:
                pieces.append(replace(view, shape=(taken,), offset=view.offset + skip))
            start, count, at = start + taken, count - taken, at + 1
        return pieces


def merge_runs(ranks: Sequence[Sequence[View]], groups: Sequence[Shapes]) -> dict[str, Pieces]:
    """ZeRO 1 and 2: the parameters of a group are one run, cut into equal parts for the ranks.

    Raises:
        FormatError: partitions and parameters do not fit together.
    """
    if any(len(rank) != len(groups) for rank in ranks):
        raise FormatError("has partitions of other groups than its parameters; damaged")
    found: dict[str, Pieces] = {}
    for number, shapes in enumerate(groups):
        run = Flat.of([rank[number] for rank in ranks])
        at = 0
        for name, shape in shapes.items():
            _add(found, name, run.cut(name, at, math.prod(shape)))
            at += math.prod(shape)
        # Parameters and parts are both padded, each by less than this.
        align = 2 * len(ranks)
        if math.ceil(at / align) != math.ceil(run.numel / align):
            raise FormatError(f"uses {at} of the {run.numel} elements of a group; damaged")
    return found


def merge_parts(ranks: Sequence[Sequence[View]], groups: Sequence[Shapes]) -> dict[str, Pieces]:
    """ZeRO 3: each parameter is cut into equal parts for the ranks, the last one padded.

    Raises:
        FormatError: partitions and parameters do not fit together.
    """
    flats = [Flat.of(rank) for rank in ranks]
    found: dict[str, Pieces] = {}
    at = 0
    for name, shape in (entry for shapes in groups for entry in shapes.items()):
        numel = math.prod(shape)
        size = -(-numel // len(flats))
        pieces: Pieces = []
        for rank, flat in enumerate(flats):
            pieces += flat.cut(name, at, min(max(numel - rank * size, 0), size))
        _add(found, name, pieces)
        at += size
    if any(flat.numel != at for flat in flats):
        raise FormatError(f"uses {at} elements of partitions of {flats[0].numel}; damaged")
    return found


def _add(found: dict[str, Pieces], name: str, pieces: Pieces) -> None:
    if name in found or len({view.dtype for view in pieces}) > 1:
        raise FormatError(f"holds parameter {shown(name)} twice or in two types; damaged")
    found[name] = pieces


def joined(parts: Sequence[View], source: Contents) -> memoryview:
    """Returns the bytes of flat pieces, one behind the other."""
    if len(parts) == 1:
        storage = source.storage(parts[0].storage)
        check_view(parts[0], len(storage))
        begin, end = extent(parts[0])
        return storage[begin:end]
    return memoryview(b"".join(streamed(parts, source)))


def streamed(parts: Sequence[View], source: Contents) -> Iterator[memoryview]:
    """Yields the bytes of flat pieces, one behind the other."""
    for view in parts:
        check_view(view, source.storages[view.storage].nbytes)
        yield from stream_view(source, view)
