"""docs/torch-npu.md: its tables are those of the rules; run as a module this writes them."""

from collections.abc import Iterator
from pathlib import Path

from ascend_migrate.pipeline.rule import Rule
from ascend_migrate.pipeline.torch_npu.rules import load_rules

PAGE = Path(__file__).parents[2] / "docs" / "torch-npu.md"

_FIRST = "## Before answers are compared\n"
"""Where the tables begin; what stands before is written by hand."""

_SETTINGS = """
| set | because | source |
| --- | --- | --- |
"""

_TENSORS = """
## Rules about tensors

| rule | types | effect | chips | what | to do | source |
| --- | --- | --- | --- | --- | --- | --- |
"""

_CODE = """
## Rules about code

The first that matches a piece of code is the one that counts. A row is one object in
`pipeline/torch_npu/rules.json`, with its patterns; a new one needs a case in
`tests/converters/torch_npu_cases.py`.

| rule | effect | chips | what | to do | source |
| --- | --- | --- | --- | --- | --- |
"""


def page() -> str:
    """Returns the page with its own prose."""
    prose, _, _ = PAGE.read_text(encoding="utf-8").partition(_FIRST)
    rules = load_rules()
    settings = [_row(f"`{row['set']}`", row["says"], row["source"]) for row in rules.settings]
    tensors = [
        _row(f"`{item.rule.id}`", ", ".join(sorted(item.dtypes)), *_cells(item.rule))
        for item in rules.tensors
    ]
    code = [_row(f"`{item.rule.id}`", *_cells(item.rule)) for item in rules.code]
    return "".join([prose, _FIRST, _SETTINGS, *settings, _TENSORS, *tensors, _CODE, *code])


def _cells(rule: Rule) -> Iterator[str]:
    yield str(rule.effect)
    yield ", ".join(rule.families)
    yield rule.says
    yield rule.remedy
    yield f"{rule.certainty}: {rule.source}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
