"""What ATC said, made one line: the code, what it means, the operator, what to do.

Both generations of messages are read: until 8.5 values stand in brackets (``Op [x, optype [y]]``),
from 2026 they do not (``Op: x, optype: y``), and file and parser errors were renumbered. So only
the code and what looks like ``domain::opset::type`` are searched for, never a sentence.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from ascend_migrate.pipeline.errors import (
    ConversionError,
    MigrationError,
    SpecError,
    ToolchainError,
)
from ascend_migrate.pipeline.printable import in_one_line

SUCCESS = "ATC run success"
"""The line that ends a compilation that went well (hicann/ge api/atc/main_impl.cc)."""

_CODE = re.compile(r"\b(E[0-9Z]\d{4})\b")
_OPERATOR = re.compile(r"[\w.]+::\d+::\w+")
_QUOTED = 200
"""Characters of ATC's own words that are passed on."""


@cache
def _codes() -> Mapping[str, Mapping[str, Any]]:
    text = files("ascend_migrate.pipeline.cann").joinpath("atc-codes.json").read_text("utf-8")
    return {code: row for row in json.loads(text)["codes"] for code in row["codes"]}


def failure(subject: str, output: str, log: str) -> MigrationError:
    """Returns the error that a failed run of ATC comes to.

    Args:
        subject: what was compiled.
        output: what ATC printed.
        log: where that is kept, for the reader.

    Returns:
        SpecError, ConversionError or ToolchainError, by whose fault it is.
    """
    line = next((found for found in output.splitlines() if _CODE.search(found)), "")
    match = _CODE.search(line)
    if match is None:
        spoken = [found for found in output.splitlines() if found.strip()]
        said = in_one_line(spoken[-1])[:_QUOTED] if spoken else "nothing"
        return ToolchainError(f"{subject}: atc failed without a code, and said: {said}; see {log}")
    code = match[1]
    known = _codes().get(code)
    operators = sorted(set(_OPERATOR.findall(output)))
    where = f" ({', '.join(operators)})" if operators else ""
    if known is None:
        said = in_one_line(line[match.end() :].lstrip(": "))[:_QUOTED]
        return ToolchainError(f"{subject}: atc {code}{where}: {said}; see {log}")
    text = f"atc {code}{where}: {known['means']}; {known['remedy']}; see {log}"
    if known["fault"] == "request":
        return SpecError(subject, [text])
    kind = ConversionError if known["fault"] == "model" else ToolchainError
    return kind(f"{subject}: {text}")
