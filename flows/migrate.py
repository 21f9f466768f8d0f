"""The migration as a Prefect flow: the steps of steps.py, each a task, with retries.

Resume is the stage store's work, not Prefect's: a finished stage is taken from the store whatever
Prefect remembers, so tasks neither cache nor persist results. A refusal is an answer and is never
tried again; only what a tool calls transient is.
"""

import logging
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from ascend_migrate.flows import steps
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline.errors import ToolchainError
from ascend_migrate.pipeline.spec import read_spec

_LOG = logging.getLogger("ascend_migrate.flows")

# Seconds before the second and the third attempt: long enough for a busy machine to calm down.
_RETRY_DELAYS = [10.0, 60.0]


async def _may_help(_task: Any, _run: Any, state: Any) -> bool:
    """Whether trying again may help: only after an error that calls itself transient."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, ToolchainError) and error.transient


def _step(function: Any) -> Any:
    return task(
        function,
        name=function.__name__,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(_RETRY_DELAYS),
        retry_delay_seconds=_RETRY_DELAYS,
        retry_condition_fn=_may_help,
    )


export = _step(steps.export)
convert = _step(steps.convert)
capture = _step(steps.capture)
judge = _step(steps.judge)
publish = _step(steps.publish)


@flow(
    name="migrate", flow_run_name="migrate-{spec}", persist_result=False, validate_parameters=False
)
def migrate(spec: str) -> steps.Migration:
    """Runs the migration that the specification file ``spec`` asks for.

    Returns:
        What it came to; a verdict that does not pass publishes nothing and returns as well.
    """
    work = steps.open_workspace(read_spec(Path(spec)), _LOG.info)
    source = open_source(work.spec)
    exported = export(work, source)
    converted = convert(work, exported)
    artifacts = [*steps.artifacts_of(exported), *steps.artifacts_of(converted)]
    golden = capture(work, source)
    judged = judge(work, source, artifacts, golden)
    publication = publish(work, artifacts, judged)
    return steps.conclude(exported, converted, golden, judged, publication)
