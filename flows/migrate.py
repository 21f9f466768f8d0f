"""The migration as a Prefect flow: the steps of steps.py, each a task, with retries.

Resume is the stage store's work, not Prefect's: a finished stage is taken from the store whatever
Prefect remembers, so tasks neither cache nor persist results. A refusal is an answer and is never
tried again; only what a tool calls transient is.
"""

import logging
from pathlib import Path
from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from ascend_migrate.flows import prefect_settings, report_text, steps
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline.errors import ToolchainError
from ascend_migrate.pipeline.spec import read_spec

# Here, because Prefect starts a process for each scheduled run and imports only this module in it.
prefect_settings.prepare_logs()

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


capture = _step(steps.capture)
export = _step(steps.export)
convert = _step(steps.convert)
judge = _step(steps.judge)
reach = _step(steps.reach)
publish = _step(steps.publish)


@flow(
    name="migrate", flow_run_name="migrate-{spec}", persist_result=False, validate_parameters=False
)
def migrate(spec: str) -> steps.Migration | State[steps.Migration]:
    """Runs the migration that the specification file ``spec`` asks for.

    Returns:
        What it came to. A verdict that does not pass publishes nothing and fails the run, so that
        it shows where people look; the state that is returned then holds the same data.
    """
    work = steps.open_workspace(read_spec(Path(spec)), _LOG.info)
    source = open_source(work.spec)
    golden = capture(work, source)
    exported = export(work, source)
    converted = convert(work, exported)
    artifacts = [*steps.artifacts_of(exported), *steps.artifacts_of(converted)]
    judged = judge(work, source, artifacts, golden)
    wider = reach(work, source, artifacts, golden, judged)
    if wider is not None:
        golden = capture(wider, source)
        judged = judge(wider, source, artifacts, golden)
    publication = publish(work, artifacts, judged)
    done = steps.conclude(golden, exported, converted, judged, publication)
    if done.publication is None:
        said = f"{report_text.WORDS[done.verdict.outcome]}: {report_text.headline(done.verdict)}"
        return Failed(name="Refused", message=said, data=done)
    return done


def run_flow(spec: Path) -> steps.Migration:
    """Runs the flow here and now.

    Raises:
        MigrationError: a step could not be done.
    """
    # Prefect's types do not know that a flow may return a state in place of its result.
    state: State[Any] = migrate(str(spec), return_state=True)
    done: steps.Migration | Exception = state.result(raise_on_failure=False)
    if isinstance(done, Exception):
        raise done
    return done
