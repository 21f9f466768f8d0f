"""What several commands share: options, output, progress, and the request made from options."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from ascend_migrate.pipeline.cann.om_request import DEFAULT_CANN
from ascend_migrate.pipeline.precision import LOWER_TYPES
from ascend_migrate.pipeline.printable import plain, plain_lines, readable_json
from ascend_migrate.pipeline.records import ASKED_FOR, Form
from ascend_migrate.pipeline.spec import MigrationSpec, make_spec, plain_spec, read_spec

_F = TypeVar("_F", bound=Callable[..., Any])

REGISTRY_VARIABLE = "ASCEND_MIGRATE_REGISTRY"


_OPTIONS = {
    "model": "--model",
    "inputs": "--input",
    "key": "--key",
    "drop": "--drop",
    "rename": "--rename",
    "unpack": "--unpack",
    "trust_pickle": "--trust-pickle",
    "precision": "--precision",
    "keep_float32": "--keep-float32",
    "max_shard_size": "--max-shard-size",
    "store_as": "--store-as",
    "name": "--name",
}
"""Options that take the place of a specification, by the names of their parameters."""


class _ExistingPath(click.Path):
    """A file or a folder that is there; a pipe or a device could be read forever."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path; fails on what is neither."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.exists() and not (path.is_file() or path.is_dir()):
            self.fail(f"{path} is a pipe or a device, not a file", param, ctx)
        return path


class _SpecPath(_ExistingPath):
    """An existing specification file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path; fails on what is no specification."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not is_spec(path):
            self.fail(f"{path} is not a specification (.toml)", param, ctx)
        return path


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
chip = click.option(
    "--soc", required=True, metavar="CHIP", help="Exact chip, such as Ascend910B3 or Ascend310P3."
)
cann = click.option("--cann", default=DEFAULT_CANN, show_default=True, help="Version of CANN.")
existing = _ExistingPath(exists=True, path_type=Path)
judged_against = click.option(
    "--against",
    required=True,
    type=existing,
    metavar="GOLDEN | SPEC.toml",
    help="What `capture` wrote, or the specification of the original.",
)
specification = _SpecPath(exists=True, dir_okay=False, path_type=Path)


def is_spec(path: Path) -> bool:
    """Whether the name says that it is a specification file."""
    return path.suffix == ".toml"


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
        click.option(
            "--rename",
            multiple=True,
            metavar="PATTERN=NEW",
            help="Give these tensors new names, such as 'encoder.*=model.*'.",
        ),
        click.option(
            "--unpack",
            multiple=True,
            metavar="sparse|quantized|fp8_blocks",
            help="Make sparse tensors dense, quantized ones float32, 8-bit blocks bfloat16.",
        ),
        click.option(
            "--trust-pickle",
            is_flag=True,
            help="Run the code inside a pickled module, confined, where nothing else can read it.",
        ),
        click.option(
            "--precision",
            type=click.Choice(LOWER_TYPES),
            help="Lower the graphs to this type; by default they keep the model's own.",
        ),
        click.option(
            "--keep-float32",
            multiple=True,
            metavar="PATTERN",
            help="Operator types or modules that stay in float32 under --precision.",
        ),
        click.option(
            "--max-shard-size",
            metavar="SIZE",
            help="Divide safetensors into files of at most this size, such as 5GB.",
        ),
        click.option(
            "--store-as",
            type=click.Choice(LOWER_TYPES),
            help="Cast float32 tensors in safetensors; says what that loses.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def spec_from(path: Path, to: str | None, options: Mapping[str, Any]) -> MigrationSpec:
    """Reads ``path`` as a specification, or makes one for the checkpoint ``path``.

    Args:
        path: a ``.toml`` specification, a checkpoint, or an ONNX file.
        to: forms, separated by commas.
        options: the values of `request`, and optionally ``name`` and ``registry``.
    """
    if is_spec(path):
        given = [_OPTIONS[name] for name in _OPTIONS if options.get(name)] + ["--to"] * bool(to)
        if given:
            raise click.UsageError(f"{path} is complete in itself: say {', '.join(given)} in it")
        spec = read_spec(path)
        chosen = options.get("registry")
        return spec if chosen is None else replace(spec, registry=chosen)
    forms = [part.strip() for part in to.split(",")] if to else _all_forms(path)
    if not any(options.values()):
        return plain_spec(path, forms, name=_name_of(path), base=Path.cwd())
    source: dict[str, Any] = {
        "path": str(path.absolute()),
        "drop": list(options.get("drop") or ()),
        "rename": _rules(options.get("rename") or ()),
        "unpack": list(options.get("unpack") or ()),
    }
    if options.get("key"):
        source["key"] = options["key"]
    if options.get("trust_pickle"):
        source["trust"] = "pickle"
    tables: dict[str, Any] = {
        "name": options.get("name") or _name_of(path),
        "to": forms,
        "inputs": list(options.get("inputs") or ()),
        "source": source,
        "registry": str(options.get("registry") or Path("registry")),
    }
    layout = {"max_shard_size": options.get("max_shard_size"), "store_as": options.get("store_as")}
    tables["safetensors"] = {key: value for key, value in layout.items() if value}
    if options.get("keep_float32") and not options.get("precision"):
        raise click.UsageError("--keep-float32 belongs to --precision, which is not given")
    if options.get("precision"):
        kept = list(options.get("keep_float32") or ())
        tables["precision"] = {"type": options["precision"], "keep_float32": kept}
    if options.get("model"):
        tables["model"] = {"callable": options["model"]}
    return make_spec(tables, subject=str(path), base=Path.cwd())


def against(path: Path) -> MigrationSpec | Path:
    """Reads what an artifact is judged against: a specification, or the path of a golden file."""
    if is_spec(path):
        return spec_from(path, None, {})
    if path.suffix != ".safetensors":
        raise click.BadParameter(
            f"{path} is neither a specification (.toml) nor a file of `capture` (.safetensors)",
            param_hint="--against",
        )
    return path


def _rules(texts: Sequence[str]) -> dict[str, str]:
    """Reads the values of --rename, of which each pattern may be given once."""
    rules: dict[str, str] = {}
    for text in texts:
        pattern, sign, new = text.partition("=")
        if not sign or pattern in rules:
            raise click.UsageError(f"--rename {text!r} is no PATTERN=NEW, or its pattern is twice")
        rules[pattern] = new
    return rules


def _all_forms(path: Path) -> list[str]:
    """Returns every form that such a source is published in unless asked otherwise.

    What is made for one compiler is made when it is asked for.
    """
    left_out = {*ASKED_FOR, *([Form.SAFETENSORS] if path.suffix == ".onnx" else [])}
    return [str(form) for form in Form if form not in left_out]


def _name_of(path: Path) -> str:
    """Returns a registry name made from the file's, or from its folder's where that says more."""
    stem = path.stem.lower()
    if stem in ("model", "pytorch_model", "checkpoint", "weights"):
        stem = path.absolute().parent.name.lower()
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in stem).split()
    return "-".join(words) or "model"


def print_result(document: Any, text: str, *, json_: bool) -> None:
    """Prints the result on stdout, for machines or for people."""
    echo(readable_json(document) if json_ else text)


def echo(text: str, *, err: bool = False) -> None:
    """Prints text; a reader that has left changes neither the work nor its exit code."""
    try:
        click.echo(plain_lines(text), err=err)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def shown(path: Path) -> str:
    """Returns the path as one would type it here: relative where it lies below this folder."""
    full = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow links
    here = Path.cwd()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows what is being done, on stderr: live only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda line: echo(f"  {line}", err=True)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status("starting") as status:

        def show(line: str) -> None:
            # As text: brackets in a name are not markup.
            console.print(Text(f"  {plain(line)}", style="dim"))
            status.update(Text(plain(line)))

        yield show


@contextmanager
def transfer() -> Iterator[Callable[[int, int], None] | None]:
    """Yields a function that shows bytes, rate and remaining time; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.BarColumn(),
        bars.DownloadColumn(binary_units=False),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as text columns, two blanks apart; no colour, so that it can be diffed."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
