"""What several commands share: options, output, progress, and the request made from options."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from ascend_migrate.pipeline.records import Form
from ascend_migrate.pipeline.spec import DEFAULT_CASES, MigrationSpec, make_spec, read_spec

_F = TypeVar("_F", bound=Callable[..., Any])

REGISTRY_VARIABLE = "ASCEND_MIGRATE_REGISTRY"

as_json = click.option("--json", "json_", is_flag=True, help="Print the result as JSON.")
registry = click.option(
    "--registry",
    type=click.Path(path_type=Path),
    envvar=REGISTRY_VARIABLE,
    default=Path("registry"),
    show_default=True,
    show_envvar=True,
    help="Folder of the registry.",
)
existing = click.Path(exists=True, path_type=Path)


def request(function: _F) -> _F:
    """Adds the options that describe a migration without a specification file."""
    options = [
        click.option("--model", help="MODULE:CALLABLE that returns the torch.nn.Module."),
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="NAME=DTYPE[DIMS]",
            help="What the model is fed, such as x=int64[batch=1..8,2,time=16..64]:0..138.",
        ),
        click.option("--key", help="State dict inside a nested checkpoint, such as ema.model."),
        click.option("--drop", multiple=True, metavar="PATTERN", help="Leave these tensors out."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def spec_from(path: Path, to: str | None, options: Mapping[str, Any]) -> MigrationSpec:
    """Reads ``path`` as a specification, or makes one for the checkpoint ``path``.

    Args:
        path: a ``.toml`` specification, a checkpoint, or an ONNX file.
        to: forms, separated by commas.
        options: the values of `request`, and optionally ``name``, ``registry`` and ``cases``.
    """
    if path.suffix == ".toml":
        given = [name for name in ("model", "inputs", "key", "drop", "name") if options.get(name)]
        if to:
            given.append("to")
        if given:
            raise click.UsageError(
                f"{path} already says everything; put {', '.join(given)} into it instead"
            )
        return _with_registry(read_spec(path), options)
    source = {"path": str(path.resolve()), "drop": list(options.get("drop") or ())}
    if options.get("key"):
        source["key"] = options["key"]
    tables: dict[str, Any] = {
        "name": options.get("name") or _name_of(path),
        "to": [part.strip() for part in (to or ",".join(Form)).split(",")],
        "inputs": list(options.get("inputs") or ()),
        "source": source,
        "registry": str((options.get("registry") or Path("registry")).resolve()),
        "validation": {"cases": options.get("cases") or DEFAULT_CASES},
    }
    if options.get("model"):
        tables["model"] = {"callable": options["model"]}
    return make_spec(tables, subject=str(path), base=Path.cwd())


def _with_registry(spec: MigrationSpec, options: Mapping[str, Any]) -> MigrationSpec:
    from dataclasses import replace

    chosen = options.get("registry")
    return spec if chosen is None else replace(spec, registry=chosen)


def _name_of(path: Path) -> str:
    """Returns a registry name made from the file's, or from its folder's where that says more."""
    stem = path.stem.lower()
    if stem in ("model", "pytorch_model", "checkpoint", "weights"):
        stem = path.resolve().parent.name.lower()
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in stem).split()
    return "-".join(words) or "model"


def print_result(document: Any, text: str, *, json_: bool) -> None:
    """Prints the result on stdout, for machines or for people."""
    if json_:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        click.echo(text)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows what is being done, on stderr: live only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda line: click.echo(f"  {line}", err=True)
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:

        def show(line: str) -> None:
            console.print(f"  [dim]{line}[/dim]", highlight=False)
            status.update(line)

        yield show


def table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as text columns, two blanks apart; no colour, so that it can be diffed."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
