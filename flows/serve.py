"""Scheduled migrations: one Prefect deployment for each specification file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import serve
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.types.entrypoint import EntrypointType

from ascend_migrate.flows.migrate import migrate
from ascend_migrate.flows.prefect_server import running_server
from ascend_migrate.pipeline.errors import SpecError


def serve_specs(specs: Mapping[str, Path], cron: str) -> None:
    """Runs every specification at each time of ``cron`` (UTC) until the process is stopped.

    Two runs of one specification never overlap, and no more than one runs at a time: a migration
    uses all the cores it finds.

    Args:
        specs: specification files by the names of their models.
        cron: five fields, such as ``0 3 * * *``.

    Raises:
        SpecError: ``cron`` is not a schedule.
    """
    try:
        deployments: list[Any] = [  # declared for async callers too; here it is a deployment
            migrate.to_deployment(
                name,
                cron=cron,
                parameters={"spec": str(path)},
                concurrency_limit=1,
                # By file, Prefect would put this folder on the path of everything that runs.
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
            for name, path in specs.items()
        ]
    except ValueError as error:
        raise SpecError("--cron", [f"{cron!r} is not five fields such as '0 3 * * *'"]) from error
    with _server():
        serve(*deployments, limit=1)


@contextmanager
def _server() -> Iterator[None]:
    """Uses the server that the user's settings name, or else runs one."""
    if get_current_settings().api.url:
        yield
        return
    with running_server() as url, temporary_settings({PREFECT_API_URL: url}):
        yield
