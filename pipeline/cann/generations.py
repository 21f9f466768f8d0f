"""Reads the rule files of this folder; what they say is theirs, how it is asked is not here.

A file holds what is known of one generation of CANN, and may be based on another.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.rule import SAID, Rule, said

_FOLDER = Path(__file__).parent
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\w+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class NodeRule(Rule):
    """One thing that CANN does otherwise than ONNX says; its id is the same in all generations.

    Attributes:
        operators: types that it concerns; empty where it concerns the graph.
        when: the condition on a node (`validators.preflight.conditions`), or for the graph
            ``{"check": name, ...}`` (`validators.preflight.graph`).
    """

    operators: tuple[str, ...]
    when: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operator:
    """A standard operator that the parser knows.

    Attributes:
        opsets: versions of ai.onnx at which it is registered.
        source: where that was read.
        kernels: element types of its first input by family of chips, where they are listed.
        aicpu: whether the AI CPU computes what the AI core does not.
    """

    opsets: frozenset[int]
    source: str
    kernels: Mapping[str, frozenset[str]]
    aicpu: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything that is known of one generation.

    Attributes:
        name: its version, such as ``8.1``.
        about: what was read, and what it stands for.
        opsets: first and last documented version of ai.onnx.
        chips: family by exact name.
        confused: names that look like a chip and mean another, with the reason.
        operators: the standard ones.
        custom: opsets of the parser's own operators, by ``domain::type``, ``ai.onnx`` included.
        newer: standard operators that only later generations have.
        rules: for nodes.
        graph_rules: for the graph.
    """

    name: str
    about: str
    opsets: tuple[int, int]
    chips: Mapping[str, str]
    confused: Mapping[str, str]
    operators: Mapping[str, Operator]
    custom: Mapping[str, frozenset[int]]
    newer: frozenset[str]
    rules: tuple[NodeRule, ...]
    graph_rules: tuple[NodeRule, ...]

    def family(self, chip: str) -> str:
        """Returns the family of a chip.

        Raises:
            SpecError: there is no such chip, or the name means another one than it seems to.
        """
        if chip in self.confused:
            raise SpecError(f"chip {chip}", [self.confused[chip]])
        meant = next((name for name in self.chips if name.lower() == chip.lower()), None)
        if chip not in self.chips and meant is not None:
            raise SpecError(f"chip {chip}", [f"is not known; it is written {meant}"])
        if chip not in self.chips:
            raise SpecError(f"chip {chip}", [f"is not known; there are {', '.join(self.chips)}"])
        return self.chips[chip]

    def registered(self, domain: str, opset: int, op_type: str) -> bool:
        """Whether the parser has an entry for exactly this domain, opset and operator."""
        if domain == "":
            known = self.operators.get(op_type)
            if op_type == "Constant" or (known is not None and opset in known.opsets):
                return True
        return opset in self.custom.get(f"{domain or 'ai.onnx'}::{op_type}", frozenset())


def versions() -> tuple[str, ...]:
    """Returns the generations that there are files for, the oldest first."""
    return tuple(
        sorted((p.stem.removeprefix("cann-") for p in _FOLDER.glob("cann-*.json")), key=_number)
    )


def load_generation(version: str) -> Generation:
    """Returns what is known of a version of CANN: its generation's, or else the one before it.

    Raises:
        SpecError: it is no version, or older than everything that is known.
    """
    if not _VERSION.fullmatch(version):
        raise SpecError(f"CANN {version}", ["is not a version such as 8.1 or 8.3.RC1"])
    found = [name for name in versions() if _number(name) <= _number(version)]
    if not found:
        raise SpecError(f"CANN {version}", [f"is older than {versions()[0]}, the oldest known"])
    return _load(found[-1])


def _number(version: str) -> tuple[int, int]:
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(version)
    return int(found[1]), int(found[2])


@cache
def _load(name: str) -> Generation:
    document = _document(name)
    custom = {f"ai.onnx::{k}": v for k, v in document["custom_operators"].items()}
    custom |= document["other_domains"]
    low, high = document["opsets"]
    return Generation(
        name=name,
        about=document["about"],
        opsets=(low, high),
        chips=document["chips"],
        confused=document["confused_chips"],
        operators={k: _operator(v) for k, v in document["operators"].items()},
        custom={k: frozenset(_opsets(v)) for k, v in custom.items()},
        newer=frozenset(_document(versions()[-1])["operators"]) - set(document["operators"]),
        rules=tuple(_rule(item, item["op"], item["when"]) for item in document["rules"]),
        graph_rules=tuple(
            _rule(item, (), {k: v for k, v in item.items() if k not in SAID})
            for item in document["graph_rules"]
        ),
    )


def _document(name: str) -> dict[str, Any]:
    """Reads one file on top of the one that it is based on."""
    own: dict[str, Any] = json.loads((_FOLDER / f"cann-{name}.json").read_text(encoding="utf-8"))
    if own["based_on"] is None:
        return own
    whole = _document(own["based_on"])
    operators = {**whole["operators"], **own.get("operators", {})}
    for absent in own.get("without", ()):
        del operators[absent]
    return {**whole, **own, "operators": operators}


def _operator(item: Mapping[str, Any]) -> Operator:
    kernels = {family: frozenset(types) for family, types in item.get("kernels", {}).items()}
    return Operator(
        frozenset(_opsets(item["opsets"])), item["source"], kernels, item.get("aicpu", False)
    )


def _opsets(text: str) -> list[int]:
    """Reads ``8-9,11-16``."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


def _rule(item: Mapping[str, Any], operators: Sequence[str], when: Mapping[str, Any]) -> NodeRule:
    return NodeRule(**said(item), operators=tuple(operators), when=when)
