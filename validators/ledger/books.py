"""What a ledger found, and how it is said: notes of what passes, findings of what fails."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ascend_migrate.pipeline.records import Finding, Form, Outcome
from ascend_migrate.validators.ledger.shelf import Shelf
from ascend_migrate.validators.ledger.weight_rules import Derivation
from ascend_migrate.validators.ledger.weights import Cast, Weight

FINITE = "weights.finite"

ALL = "all weights"
"""Subject of what is found of the weights together."""

_SHOWN = 3
"""Names shown in a note before the rest is counted."""


@dataclass(slots=True)
class Books:
    """What has been found so far.

    Attributes:
        equal: how many are bit-equal.
        moved: where those lie that have another name in the artifact.
        cast: those equal after the declared cast.
        derived: what rules explain.
        computed: integers that are nowhere: they were computed with in advance.
        unread: how many are left out because the original never reads them.
        faults: subject and cause.
        foreign: floats of the artifact that come from nowhere.
    """

    equal: int = 0
    moved: dict[str, str] = field(default_factory=dict)
    cast: list[tuple[str, Cast]] = field(default_factory=list)
    derived: list[Derivation] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    unread: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        """How many tensors of the source were found in the artifact."""
        return self.equal + len(self.cast) + sum(len(item.source) for item in self.derived)

    def findings(self, check: str, form: Form, total: int) -> list[Finding]:
        """Returns one finding for each fault, or one that passes and says what was found.

        Args:
            check: its name.
            form: of the artifact.
            total: how many tensors the source has.
        """
        failed = [
            Finding(check, form, name, Outcome.FAIL, note=cause) for name, cause in self._failed()
        ]
        if failed:
            return failed
        return [Finding(check, form, ALL, Outcome.PASS, note=self.note(total))]

    def _failed(self) -> Iterator[tuple[str, str]]:
        """Yields subject and cause; what the lower type cannot hold fails as well."""
        yield from self.faults
        for name, item in self.cast:
            if item.overflowed:
                yield name, f"the cast to {item.dtype} makes {item.overflowed} infinite"
        if not self.faults and not self.found:
            yield ALL, "not one tensor was compared"

    def note(self, total: int) -> str:
        """Says in one line what was found."""
        parts = [f"{self.equal} of {total} tensors bit-equal"]
        if self.cast:
            parts.append(_cast_note(self.cast))
        if self.moved:
            told = [f"{name} as {other}" for name, other in self.moved.items()]
            parts.append(f"{len(told)} under another name ({_some(told)})")
        for rule in dict.fromkeys(item.rule for item in self.derived):
            items = [item for item in self.derived if item.rule == rule]
            told = [f"{' + '.join(i.source)} as {' + '.join(i.stored)}" for i in items]
            parts.append(f"{sum(len(i.source) for i in items)} {rule} ({_some(told)})")
        if self.unread:
            parts.append(f"{self.unread} that the original never reads are left out")
        if self.computed:
            parts.append(
                "integers computed in advance, which the outputs alone prove: "
                + _some(self.computed)
            )
        if self.foreign:
            parts.append(
                "floats that are neither the source's nor known constants of its code, which the "
                f"outputs alone prove: {_some(self.foreign)}"
            )
        return "; ".join(parts)


def check_finite(form: Form, shelf: Shelf, source: Mapping[str, Weight]) -> Iterator[Finding]:
    """Fails on NaN and on infinity in a weight: neither need reach any output of this runtime.

    Infinity passes where it switches off what it is added to, as in a mask.
    """
    used = {name: weight for name, weight in source.items() if weight.used}
    bad = dict.fromkeys((*shelf.nan, *(n for n, w in used.items() if w.nan)), "NaN")
    endless = (*shelf.infinite, *(n for n, w in used.items() if w.infinite))
    bad |= {name: "infinity" for name in endless if name not in bad}
    for name in sorted(bad):
        weight = source.get(name)
        sound = weight is None or not (weight.nan or weight.infinite)
        where = "the artifact" if sound else "the source"
        then = "convert the model again" if sound else "get a sound checkpoint"
        note = f"holds {bad[name]} in {where}; {then}"
        yield Finding(FINITE, form, name, Outcome.FAIL, note=note)
    if not bad:
        note = "no NaN and no infinity in any weight"
        low = {name: weight.denormal for name, weight in used.items() if weight.denormal}
        if low:
            name = max(low, key=lambda item: low[item])
            note += f"; {sum(low.values())} elements are denormal ({low[name]} of them in {name}),"
            note += " which a device that flushes them reads as zero"
        yield Finding(FINITE, form, ALL, Outcome.PASS, note=note)


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


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
