"""New names for tensors, by patterns: ``{"encoder.*": "model.*"}``.

In a pattern ``*`` stands for any text, also for none; the n-th ``*`` of the new name stands for the
text of the n-th one of the pattern. No other character is special.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rename:
    """One rule.

    Attributes:
        pattern: which names it takes.
        new: what they become.
    """

    pattern: str
    new: str

    def __str__(self) -> str:
        return f"{self.pattern} -> {self.new}"

    def apply(self, name: str) -> str | None:
        """Returns the new name, or None where the pattern does not match the whole of ``name``.

        Of several ``*`` an earlier one takes as little text as it can.
        """
        found = _match(self.pattern.split("*"), name)
        if found is None:
            return None
        head, *rest = self.new.split("*")
        # The new name may have fewer stars than the pattern.
        return head + "".join(f"{text}{piece}" for text, piece in zip(found, rest, strict=False))


def rename_faults(rules: Mapping[str, str]) -> list[str]:
    """Returns what is wrong with rules, a text for each; none for good ones."""
    faults = []
    for pattern, new in rules.items():
        if not pattern or not new:
            faults.append(f"{pattern!r} -> {new!r} lacks a name")
        elif new.count("*") > pattern.count("*"):
            faults.append(f"{pattern!r} -> {new!r} has a * for which the pattern has none")
    return faults


def renamed(
    names: Sequence[str], rules: Sequence[Rename]
) -> tuple[dict[str, str], dict[Rename, int]]:
    """Gives each name the new one of the first rule that matches it, once.

    Returns:
        The new name of every name, and for every rule how many names took it.
    """
    table = {}
    counts = dict.fromkeys(rules, 0)
    for name in names:
        table[name] = name
        for rule in rules:
            new = rule.apply(name)
            if new is not None:
                table[name] = new
                counts[rule] += 1
                break
    return table, counts


def _match(pieces: Sequence[str], name: str) -> list[str] | None:
    """Returns the texts between the pieces, each as short as it can be, in linear time."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return [] if name == first else None
    if not name.startswith(first):
        return None
    at, texts = len(first), []
    for piece in pieces[1:-1]:
        found = name.find(piece, at)
        if found < 0:
            return None
        texts.append(name[at:found])
        at = found + len(piece)
    end = len(name) - len(last)
    if end < at or not name.endswith(last):
        return None
    return [*texts, name[at:end]]
