"""Scheduled migrations: one Prefect deployment for each specification file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import serve

from ascend_migrate.flows.migrate import migrate
from ascend_migrate.pipeline.spec import read_spec


def serve_specs(specs: Sequence[Path], cron: str) -> None:
    """Runs every specification at each time of ``cron`` (UTC) until the process is stopped.

    Two runs of one specification never overlap, and no more than one runs at a time: a migration
    uses all the cores it finds.
    """
    deployments: list[Any] = [  # declared for async callers too; outside a loop it is a deployment
        migrate.to_deployment(
            read_spec(path).name, cron=cron, parameters={"spec": str(path)}, concurrency_limit=1
        )
        for path in specs
    ]
    serve(*deployments, limit=1)
