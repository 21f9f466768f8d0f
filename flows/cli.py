"""ascend-migrate: the command line. Each command parses, calls plain functions, and prints.

Results go to stdout (``--json`` for machines), progress to stderr. Heavy libraries are imported
inside the commands, so that ``--help`` answers at once.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ascend_migrate.flows import cli_flow, cli_inspect, cli_migrate, cli_registry
from ascend_migrate.pipeline.errors import ExitCode, MigrationError

EPILOG = (
    "Exit codes: 0 equivalent and admitted, or done; 1 differs or refused; 2 the request or the "
    "input is at fault; 3 could not be carried out (tool or device missing)."
)


@click.group(
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ascend-migrate")
def cli() -> None:
    """Move CUDA-trained checkpoints to Huawei Ascend; publish only what is proved equivalent."""


for _module in (cli_inspect, cli_migrate, cli_registry, cli_flow):
    for _command in _module.COMMANDS:
        cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with the documented exit code."""
    code = run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has gone; Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # sys.exit, not os._exit: the worker processes of a runtime are ended by their own handlers.
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; every user's error is one line on stderr."""
    try:
        result = cli.main(args=arguments, standalone_mode=False, prog_name="ascend-migrate")
    except click.ClickException as error:
        error.show()
        return ExitCode.INPUT
    except click.Abort:
        click.echo("ascend-migrate: stopped", err=True)
        return 130  # what a shell reports for a process ended by Ctrl-C
    except BrokenPipeError:
        return ExitCode.OK
    except MigrationError as error:
        _show(error, as_json="--json" in (sys.argv[1:] if arguments is None else arguments))
        return error.exit_code
    return int(result or 0)


def _show(error: MigrationError, *, as_json: bool) -> None:
    text = " ".join(str(error).split())
    if as_json:
        document: dict[str, Any] = {"error": type(error).__name__, "message": text}
        for attribute in ("faults", "nodes", "reasons"):
            if hasattr(error, attribute):
                document[attribute] = list(getattr(error, attribute))
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    click.echo(f"ascend-migrate: {text}", err=True)
