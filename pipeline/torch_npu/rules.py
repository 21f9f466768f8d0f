"""Reads rules.json: what is different under torch_npu, where that was read, and how sure it is.

A rule for code matches text that stands for a piece of it, as a whole and by regular expression:

- ``names``: a name with all its dots, imports resolved, such as ``torch.cuda.amp.autocast``; an
  attribute of something else is ``.is_cuda``;
- ``calls``: the same with what is in the parentheses, ``torch.autocast('cuda', dtype=...)``, an
  argument that is neither a constant nor a name being ``...``;
- ``texts``: a string constant.

The first rule of the file that matches is the one that counts. A rule for tensors names their
element types, and may ask for names, or for more than one element.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.rule import Rule, said

_FILE = Path(__file__).with_name("rules.json")

_FLAGS = re.DOTALL
"""A call may hold a constant of several lines."""


class Kind(StrEnum):
    """What of the code a pattern is about; the names are those of the file."""

    NAME = "names"
    CALL = "calls"
    TEXT = "texts"


@dataclass(frozen=True, slots=True)
class CodeRule:
    """A rule for code.

    Attributes:
        rule: what it says.
        patterns: what it matches.
        becomes: template of what takes the place of a match; empty where that cannot be said.
    """

    rule: Rule
    patterns: Mapping[Kind, tuple[re.Pattern[str], ...]]
    becomes: str


@dataclass(frozen=True, slots=True)
class TensorRule:
    """A rule for tensors.

    Attributes:
        rule: what it says.
        dtypes: element types that it is about.
        names: what a name has to match; None takes any.
        several: whether a tensor of one element is none of its business.
        compute: the type to compute in; empty where there is no better one.
    """

    rule: Rule
    dtypes: frozenset[str]
    names: re.Pattern[str] | None
    several: bool
    compute: str

    def applies(self, name: str, dtype: str, size: int) -> bool:
        """Whether it is about a tensor of ``size`` elements."""
        named = self.names is None or self.names.fullmatch(name) is not None
        return dtype in self.dtypes and named and (size > 1 or not self.several)


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole file.

    Attributes:
        about: what was read.
        settings: what to set before answers are compared, each with its reason and source.
        tensors: rules for tensors.
        code: rules for code, the most particular first.
    """

    about: str
    settings: tuple[Mapping[str, str], ...]
    tensors: tuple[TensorRule, ...]
    code: tuple[CodeRule, ...]


@cache
def load_rules() -> Rules:
    """Returns the rules."""
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    return Rules(
        about=document["about"],
        settings=tuple(document["settings"]),
        tensors=tuple(map(_tensor_rule, document["tensors"])),
        code=tuple(map(_code_rule, document["code"])),
    )


def _tensor_rule(item: Mapping[str, Any]) -> TensorRule:
    names = item.get("names")
    return TensorRule(
        rule=Rule(**said(item)),
        dtypes=frozenset(item["dtypes"]),
        names=None if names is None else re.compile(names),
        several=bool(item.get("several")),
        compute=item.get("compute", ""),
    )


def _code_rule(item: Mapping[str, Any]) -> CodeRule:
    patterns = {
        kind: tuple(re.compile(text, _FLAGS) for text in item.get(str(kind), ())) for kind in Kind
    }
    return CodeRule(Rule(**said(item)), patterns, item.get("becomes", ""))
