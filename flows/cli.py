"""ascend-migrate: the command line. Each command parses, calls plain functions, and prints.

Results go to stdout (``--json`` for machines), progress and errors to stderr. Heavy libraries are
imported inside the commands, so that ``--help`` answers at once.
"""

import gc
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ascend_migrate.flows import (
    cli_errors,
    cli_flow,
    cli_forecast,
    cli_inspect,
    cli_migrate,
    cli_om,
    cli_preflight,
    cli_registry,
    cli_selftest,
)
from ascend_migrate.flows.cli_options import echo
from ascend_migrate.pipeline.errors import ExitCode, MigrationError

EPILOG = (
    "Exit codes: 0 equivalent and admitted, or done; 1 differs or refused; 2 the request or the "
    "input is at fault; 3 could not be carried out (tool or device missing)."
)

STOPPED = 128 + signal.SIGINT
"""What a shell reports for a process that Ctrl-C ended."""

_INTERRUPTED = threading.Event()


class _InOrder(click.Group):
    """Lists its commands in the order in which they were added, not by alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns their names."""
        del ctx
        return list(self.commands)


@click.group(
    cls=_InOrder,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ascend-migrate")
def cli() -> None:
    """Move CUDA-trained checkpoints to Huawei Ascend; publish only what is proved equivalent."""


# In the order in which one meets them.
for _command in (
    cli_inspect.inspect,
    *cli_migrate.COMMANDS,
    cli_preflight.preflight,
    *cli_om.COMMANDS,
    cli_forecast.forecast,
    cli_selftest.selftest,
    *cli_registry.COMMANDS,
    cli_flow.flow,
    cli_inspect.doctor,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with the documented exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    # Without a handler it would end us at once, and leave a compiler behind that we started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A checkpoint is a tree of many small objects. Looking for cycles among them takes a fifth of
    # the time of opening one, and there are none.
    gc.set_threshold(100_000)
    # sys.exit, not os._exit: the worker processes of a runtime are ended by their own handlers.
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; every error of a user is a line on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in given
    code: int
    try:
        code = cli.main(args=given, standalone_mode=False, prog_name="ascend-migrate") or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = ExitCode.INPUT
    except click.ClickException as error:
        cli_errors.show_usage(error, as_json=as_json)
        code = ExitCode.INPUT
    except MigrationError as error:
        cli_errors.show(error, as_json=as_json)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = _stopped()
    except Exception as error:
        # A library that is interrupted while it is being imported may raise anything.
        if _INTERRUPTED.is_set():
            code = _stopped()
        else:
            # Never Python's own exit code 1, which would say that the model differs.
            cli_errors.show_unexpected(error, as_json=as_json)
            code = ExitCode.UNABLE
    return code


def _interrupt(_number: int, _frame: Any) -> None:
    _INTERRUPTED.set()
    raise KeyboardInterrupt


def _stopped() -> int:
    echo("ascend-migrate: stopped", err=True)
    return STOPPED
