"""The commands that look and change nothing: inspect and doctor."""

from pathlib import Path
from typing import Any

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.printable import plain


@click.command()
@click.argument("path", type=shared.existing)
@shared.as_json
def inspect(path: Path, json_: bool) -> int:
    """Say what a checkpoint or model file holds; run nothing in it."""
    from ascend_migrate.pipeline.checkpoint import describe

    found = describe(path)
    shared.print_result(found, _text(found), json_=json_)
    return ExitCode.OK


def _text(found: dict[str, Any]) -> str:
    said = {key: _plain(value) for key, value in found.items() if key != "tensors"}
    lines = [f"{key.replace('_', ' ')}: {plain(text)}" for key, text in said.items() if text]
    rows = [
        [t["name"], t["dtype"], "[" + ", ".join(map(str, t["shape"])) + "]", t.get("device", "")]
        for t in found.get("tensors", ())
    ]
    return "\n".join(lines) + ("\n" + shared.table(rows) if rows else "")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} x{v}" if isinstance(v, int) else f"{k}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(" = ".join(v) if isinstance(v, list) else str(v) for v in value)
    return "" if value is None else str(value)


@click.command()
@shared.as_json
def doctor(json_: bool) -> int:
    """Say what is installed, what is missing, and how to get it."""
    from ascend_migrate.flows.doctor import examine

    checks = examine()
    rows = [["", "what", "found", "needed for"]]
    rows += [
        ["ok" if c.found else "--", c.name, c.found or "missing", c.needed_for] for c in checks
    ]
    text = shared.table(rows)
    missing = [c for c in checks if not c.found]
    if missing:
        text += "\n\n" + "\n".join(f"{c.name}: {c.remedy}" for c in missing)
    shared.print_result([c.to_json() for c in checks], text, json_=json_)
    return ExitCode.OK if all(c.found for c in checks if c.required) else ExitCode.UNABLE
