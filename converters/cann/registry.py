"""Which rewrite answers which rule of pipeline/cann/, and on which operators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType

import onnx_ir as ir

Rewrite = Callable[[ir.Node], bool]
"""Rewrites a node where its rule concerns it, and returns whether it did.

It raises `NoExactRuleError` where the rule concerns the node and nothing means exactly the same.
"""

_SUBJECTS = (
    *("attributes", "control", "decompositions", "integers", "padding", "pooling", "quantised"),
    *("recurrent", "refusals", "resize", "spectrum"),
)
_BY_OPERATOR: dict[str, list[Rewrite]] = {}
_ANSWERS: list["Answer"] = []


@dataclass(frozen=True, slots=True)
class Answer:
    """What surgery does about a rule.

    Attributes:
        rule: its id in the rule data.
        operators: that the rewrite looks at.
        says: what becomes of them, in words.
    """

    rule: str
    operators: tuple[str, ...]
    says: str


def surgery(rule: str, *operators: str) -> Callable[[Rewrite], Rewrite]:
    """Registers a rewrite as the answer to ``rule``, an id of the rule data, for ``operators``."""

    def register(rewrite: Rewrite) -> Rewrite:
        said = (rewrite.__doc__ or "").strip().partition("\n")[0]
        _ANSWERS.append(Answer(rule, operators, said))
        for operator in operators:
            known = _BY_OPERATOR.setdefault(operator, [])
            if rewrite not in known:
                known.append(rewrite)
        return rewrite

    return register


@cache
def rewrites() -> Mapping[str, list[Rewrite]]:
    """Returns the rewrites of each operator."""
    for subject in _SUBJECTS:
        import_module(f"ascend_migrate.converters.cann.{subject}")
    return MappingProxyType(_BY_OPERATOR)


def answers() -> tuple[Answer, ...]:
    """Returns what surgery does, by rule."""
    rewrites()
    return tuple(sorted(_ANSWERS, key=lambda answer: (answer.rule, answer.operators)))
