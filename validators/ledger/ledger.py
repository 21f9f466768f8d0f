"""The weight ledger: every tensor of the source is found, bit for bit, in the artifact.

Outputs alone do not see a wrong weight that no input exercises; bytes do. The books are kept on
both sides. A tensor of the source lies under its own name, or under another with the same bytes,
or is made into others by a rule that is computed again, and a node has to read it. Floats of the
artifact that come from no tensor of the source are the model's own constants, or are named.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ascend_migrate.pipeline.records import Finding, Form
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.ledger.books import Books, check_finite
from ascend_migrate.validators.ledger.shelf import Held, Shelf
from ascend_migrate.validators.ledger.weight_bytes import Digests, integers_digest
from ascend_migrate.validators.ledger.weight_causes import Tensors, altered, cause_of, turned
from ascend_migrate.validators.ledger.weight_rules import Derivation, Open
from ascend_migrate.validators.ledger.weights import ACCOUNTED_FROM, Stored, Weight, floating

CHECK = "weights.ledger"
EQUAL = "weights.equal"

_EXPLAINED = 16
"""Tensors whose numbers are looked at for a cause: of a model that differs everywhere, the first
ones tell as much as all."""


def check_ledger(
    form: Form,
    source: Mapping[str, Weight],
    stored: Iterable[Stored],
    *,
    tensors: Tensors | None = None,
    constants: Collection[str] = (),
    digests: Digests | None = None,
) -> tuple[Finding, ...]:
    """Looks for every used tensor of the source in a graph, and for the source of every float.

    A floating tensor may be missing only if the original does not read it. Positions, counts and
    masks may be missing: converters compute with them in advance, and what that came to is in
    every output. Narrow integers may not, which may be a quantised weight. Under a policy of a
    lower precision a tensor may also be what exactly the declared cast makes of it.

    Args:
        form: of the artifact.
        source: the source's tensors.
        stored: the artifact's.
        tensors: reads the source's, for rules and causes that need numbers; None leaves them out.
        constants: digests of the constants that the original's own code holds or makes.
        digests: remembers those of the files that artifacts share.
    """
    sides = _Sides(source, Shelf(source, stored, digests or Digests()), tensors)
    missing = sides.compare()
    sides.find_derived(missing)
    sides.find_integers(missing)
    sides.give_up(missing)
    sides.find_foreign(constants)
    found = sides.books.findings(CHECK, form, len(source))
    return (*found, *check_finite(form, sides.shelf, source))


def check_equal(
    form: Form,
    source: Mapping[str, Weight],
    stored: Iterable[Stored],
    *,
    cast: bool = False,
    tensors: Tensors | None = None,
    digests: Digests | None = None,
) -> tuple[Finding, ...]:
    """Compares a file of weights with the source: the same names, types, sizes and bytes.

    Args:
        form: of the artifact.
        source: the source's tensors.
        stored: the artifact's.
        cast: whether float32 tensors must be what the declared cast makes of them.
        tensors: reads the source's, for causes that need numbers; None leaves them out.
        digests: remembers those of the files that artifacts share.
    """
    sides = _Sides(source, Shelf(source, stored, digests or Digests()), tensors)
    sides.compare_names(cast=cast)
    found = sides.books.findings(EQUAL, form, len(source))
    return (*found, *check_finite(form, sides.shelf, source))


@dataclass(slots=True)
class _Sides:
    """Source and artifact, and what has been found so far.

    Attributes:
        source: the source's tensors.
        shelf: the artifact's.
        tensors: reads the source's; None where they cannot be read.
        books: what has been found.
    """

    source: Mapping[str, Weight]
    shelf: Shelf
    tensors: Tensors | None
    books: Books = field(default_factory=Books)

    def compare(self) -> dict[str, Weight]:
        """Compares what has the same name or the same content; returns what no node reads."""
        missing: dict[str, Weight] = {}
        books = self.books
        for name, weight in self.source.items():
            named, places = self.shelf.names.get(name), self.shelf.places(weight)
            if named is not None and named.content not in weight.contents:
                books.faults.append((name, self._difference(name, weight, named)))
            elif weight.used and not (places and places[0].read):
                missing[name] = weight
            elif not places:
                books.unread += 1
            else:
                place = named or places[0]
                if named is None:
                    books.moved[name] = place.name
                self._found(name, weight, cast=place.content != weight.contents[0])
        return missing

    def compare_names(self, *, cast: bool) -> None:
        """Compares what has the same name, which is all that there may be."""
        faults = self.books.faults
        for name, weight in self.source.items():
            held = self.shelf.names.get(name)
            lowered = cast and weight.cast is not None
            if held is None:
                faults.append((name, "the source has it; the artifact lacks it"))
            elif held.content != weight.contents[-1 if lowered else 0]:
                faults.append((name, self._difference(name, weight, held)))
            elif held.shape != weight.shape:
                sizes = f"{list(weight.shape)} in the source and {list(held.shape)}"
                faults.append((name, f"is {sizes} in the artifact"))
            else:
                self._found(name, weight, cast=lowered)
        more = [name for name in self.shelf.names if name not in self.source]
        faults += [(name, "the artifact has it; the source does not") for name in more]

    def find_derived(self, missing: dict[str, Weight]) -> None:
        """Takes away what rules explain."""
        floats = {name: weight for name, weight in missing.items() if floating(weight.dtype)}
        if self.tensors is None or not floats:
            return
        spare = {
            item.name: item.array
            for item in self.shelf.unknown()
            if item.read and floating(item.dtype) and item.name not in self.source
        }
        for item in Open(floats, self.tensors, spare).explained():
            self._derived(item, missing)

    def find_integers(self, missing: dict[str, Weight]) -> None:
        """Takes away whole numbers that only have another type, and those that may be missing."""
        whole = {name: weight for name, weight in missing.items() if not floating(weight.dtype)}
        sizes = {int(np.prod(weight.shape)) for weight in whole.values()}
        known: dict[str, str] = {}
        for item in self.shelf.unknown() if whole else ():
            if item.read and item.array.size in sizes:
                known.setdefault(integers_digest(_whole(item.array)), item.name)
        for name, weight in whole.items():
            if weight.integers in known:
                place = known[weight.integers]
                self._derived(Derivation("of another integer type", (name,), (place,)), missing)
            elif weight.index:
                self.books.computed.append(name)
                del missing[name]

    def give_up(self, missing: Mapping[str, Weight]) -> None:
        """Fails what is still missing; says where a changed copy is."""
        for name, weight in missing.items():
            cause = "the original reads it; the artifact lacks it"
            for place in self.shelf.places(weight):
                where = "" if place.name == name else f" as {place.name}"
                cause = f"is in the artifact{where}, but no node reads it"
            for item in self.shelf.unknown():
                change = self._change(name, weight, item)
                if change:
                    self.shelf.drop([item.name])
                    cause += f"; {item.name} is a changed copy: {change}"
                    break
            self.books.faults.append((name, cause))

    def find_foreign(self, constants: Collection[str]) -> None:
        """Names the artifact's large floats that come from nowhere; fails on a changed copy.

        A constant that a converter computed may differ in its last bits from what the original
        computes, and so cannot be told from another: the outputs judge it.
        """
        for item in self.shelf.unknown():
            if item.name in self.source or item.array.size < ACCOUNTED_FROM:
                continue
            known = self.shelf.names[item.name].content[1] in constants
            if known or not floating(item.dtype) or _uniform(item) or self._turned(item):
                continue
            for name, weight in self.source.items():
                change = self._change(name, weight, item)
                if change:
                    cause = f"is no tensor of the source, but a changed copy of {name}: {change}"
                    self.books.faults.append((item.name, cause))
                    break
            else:
                self.books.foreign.append(item.name)

    def _turned(self, item: Stored) -> bool:
        """Whether it is a tensor of the source, transposed: a tied one may be there both ways."""
        if self.tensors is None:
            return False
        return any(
            weight.dtype == item.dtype
            and sorted(weight.shape) == sorted(item.array.shape)
            and turned(self.tensors(name), item.array) is not None
            for name, weight in self.source.items()
        )

    def _found(self, name: str, weight: Weight, *, cast: bool) -> None:
        if cast and weight.cast is not None:
            self.books.cast.append((name, weight.cast))
        else:
            self.books.equal += 1

    def _derived(self, item: Derivation, missing: dict[str, Weight]) -> None:
        self.books.derived.append(item)
        self.shelf.drop(item.stored)
        for name in item.source:
            del missing[name]

    def _change(self, name: str, weight: Weight, item: Stored) -> str:
        """Says how one tensor is a changed copy of another; empty where it is not."""
        alike = weight.dtype == item.dtype and sorted(weight.shape) == sorted(item.array.shape)
        if self.tensors is None or not alike or not floating(weight.dtype):
            return ""
        return altered(self.tensors(name), item.array)

    def _difference(self, name: str, weight: Weight, held: Held) -> str:
        """Says why the artifact's tensor of a name is not the source's."""
        owners = [other for other in self.shelf.owners.get(held.content, ()) if other != name]
        for other in owners:
            there = self.shelf.names.get(other)
            if there is not None and there.content in weight.contents:
                return f"swapped with {other}: each holds the other's bytes"
        if owners:
            return f"holds the bytes of {owners[0]}"
        few = len(self.books.faults) < _EXPLAINED
        known = self.tensors(name) if self.tensors is not None and few else None
        cause = cause_of(known, held.item.array) if held.item is not None and few else ""
        if held.content[0] != weight.dtype:
            said = f"is {weight.dtype} in the source and {held.content[0]} in the artifact"
            return cause if cause.startswith(said) else said
        if cause.startswith("is "):
            return cause
        return f"has other bytes than in the source{': ' if cause else ''}{cause}"


def _whole(array: Array) -> Array:
    """Returns whole numbers as integers; other numbers as they are."""
    if array.dtype.kind in "biuc":
        return array
    wide = array.astype(np.float64)
    return wide.astype(np.int64) if np.array_equal(wide, np.rint(wide)) else array


def _uniform(item: Stored) -> bool:
    flat = item.array.reshape(-1)
    return bool((flat == flat[0]).all())
