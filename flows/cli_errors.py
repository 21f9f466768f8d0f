"""Errors as people read them, one line each on stderr, and as one JSON document on stdout."""

import tempfile
import traceback
from contextlib import suppress
from typing import Any

import click

from ascend_migrate.flows.cli_options import echo
from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.pipeline.printable import in_one_line, plain, readable_json

_LISTS = ("faults", "nodes", "reasons")
"""Attributes of our errors that hold a line for each single cause."""


def show(error: MigrationError, *, as_json: bool) -> None:
    """Shows an error of ours: a line for each of its causes."""
    document: dict[str, Any] = {}
    lines = [str(error)]
    for attribute in _LISTS:
        causes = list(getattr(error, attribute, ()))
        if causes:
            document[attribute] = causes
            subject = str(error).removesuffix("; ".join(causes))
            lines = [subject + cause for cause in causes]
    _print(type(error).__name__, str(error), lines, document if as_json else None)


def show_usage(error: click.ClickException, *, as_json: bool) -> None:
    """Shows what is wrong with the command line, and where its help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "ascend-migrate"
    text = _one_line(error.format_message()).rstrip(".")
    line = f"{text}; see `{command} --help`"
    _print("UsageError", line, [line], {} if as_json else None)


def show_unexpected(error: Exception, *, as_json: bool) -> None:
    """Shows what none of our code foresaw; the traceback goes to a file, to be reported."""
    name = type(error).__name__
    if isinstance(error, OSError):
        line = f"{error.filename or 'output'}: {error.strerror or error}"
    else:
        with tempfile.NamedTemporaryFile(
            "w", prefix="ascend-migrate-", suffix=".log", delete=False
        ) as log:
            log.write("".join(traceback.format_exception(error)))
        line = f"unexpected {name}: {error}; this is a defect, please report it with {log.name}"
    _print(name, line, [line], {} if as_json else None)


def _print(name: str, message: str, lines: list[str], document: dict[str, Any] | None) -> None:
    """Prints the lines and, unless ``document`` is None, the error as JSON."""
    if document is not None:
        data = {"error": name, "message": _one_line(message), **document}
        # The line below is still wanted where stdout is what failed.
        with suppress(OSError):
            echo(readable_json(data))
    for line in lines:
        echo(f"ascend-migrate: {_one_line(line)}", err=True)


def _one_line(text: str) -> str:
    return plain(in_one_line(text))
