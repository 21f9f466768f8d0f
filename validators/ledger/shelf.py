"""An artifact's tensors, as the ledger looks for them: by name, and by content."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ascend_migrate.validators.ledger.weight_bytes import Digests, is_mask, oddities
from ascend_migrate.validators.ledger.weights import Content, Stored, Weight


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of the artifact; the array is kept only where the source has no such content."""

    name: str
    content: Content
    shape: tuple[int, ...]
    read: bool
    item: Stored | None


class Shelf:
    """The artifact's tensors, by name and by content.

    Args:
        source: what arrays need not be kept of.
        stored: the artifact's tensors.
        digests: remembers those of the files that artifacts share.

    Attributes:
        names: by name.
        owners: names in the source by content.
        nan: names of those that hold NaN.
        infinite: names of those that hold infinities, and not as a mask does.
    """

    def __init__(
        self, source: Mapping[str, Weight], stored: Iterable[Stored], digests: Digests
    ) -> None:
        self.owners: dict[Content, list[str]] = defaultdict(list)
        for name, weight in source.items():
            for content in weight.contents:
                self.owners[content].append(name)
        self.names: dict[str, Held] = {}
        self.nan: list[str] = []
        self.infinite: list[str] = []
        self._places: dict[Content, list[Held]] = defaultdict(list)
        for given in stored:
            item = replace(given, name=_free(given.name, self.names))
            content = (item.dtype, digests.of(item.array))
            owners = self.owners.get(content, ())
            # A lone NaN is what a graph answers on purpose, as softmax does of a row that is masked
            # all over; where it took the place of a weight, that weight is missed.
            lone = item.array.size == 1
            odd = oddities(item.array) if not owners else None
            if (odd.nan and not lone) if odd else any(source[name].nan for name in owners):
                self.nan.append(item.name)
            if odd and odd.infinite and not is_mask(item.array):
                self.infinite.append(item.name)
            kept = None if owners else item
            held = Held(item.name, content, item.array.shape, item.read, kept)
            self.names[item.name] = held
            self._places[content].append(held)

    def places(self, weight: Weight) -> list[Held]:
        """Returns where the tensor, or what the declared cast makes of it, is; read ones first."""
        found = [held for content in weight.contents for held in self._places.get(content, ())]
        return sorted(found, key=lambda held: not held.read)

    def unknown(self) -> Iterator[Stored]:
        """Yields the tensors that no source's tensor is."""
        return (held.item for held in self.names.values() if held.item is not None)

    def drop(self, names: Iterable[str]) -> None:
        """Forgets tensors that are explained."""
        for name in names:
            held = self.names[name]
            self.names[name] = replace(held, item=None)


def _free(name: str, taken: Collection[str]) -> str:
    """Returns a name that no other tensor has: a damaged file may use one twice."""
    while name in taken:
        name += " (again)"
    return name
