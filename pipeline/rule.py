"""What a rule of a rule file says: the same for CANN's compiler and for torch_npu.

Every rule says where it was read and how certain it is, so that a reader can weigh it and a
maintainer mend it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Effect(StrEnum):
    """What a rule foretells."""

    FAILS = "fails"
    CHANGES = "changes numbers"
    SLOW = "slow"
    NOTE = "note"


class Certainty(StrEnum):
    """How a rule is known, the surest first."""

    SOURCE = "source"
    PAGE = "vendor page"
    REPORT = "report"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that Ascend does otherwise.

    Attributes:
        id: its name.
        effect: what happens.
        says: the same in words.
        remedy: what to do about it.
        certainty: how it is known.
        source: where it was read.
        families: chips that it holds for; empty for all.
    """

    id: str
    effect: Effect
    says: str
    remedy: str
    certainty: Certainty
    source: str
    families: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the rule as plain JSON data, its id left out."""
        return {
            "effect": str(self.effect),
            "says": self.says,
            "remedy": self.remedy,
            "certainty": str(self.certainty),
            "source": self.source,
            "chips": list(self.families),
        }


SAID = frozenset({"id", "effect", "says", "remedy", "certainty", "source", "chips"})
"""Keys of a rule file that `said` reads; what else a rule has is its own."""


def said(item: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the fields of a `Rule` from a rule of a file."""
    return {
        "id": item["id"],
        "effect": Effect(item["effect"]),
        "says": item["says"],
        "remedy": item["remedy"],
        "certainty": Certainty(item["certainty"]),
        "source": item["source"],
        "families": tuple(item.get("chips", ())),
    }
