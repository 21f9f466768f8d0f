"""Settings that Prefect reads at import; one place, so that every entry sets the same."""

import logging
import os

from ascend_migrate.pipeline.errors import MigrationError

_DEFAULTS = {
    # Neither Prefect nor anything else that honours it may phone home from a data centre.
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    # A temporary server takes longer than the default 20 s to start on a busy machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Our log lines belong to the flow run's log.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "ascend_migrate",
}


def prepare() -> None:
    """Sets what is not set yet; call it before the first ``import prefect``."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def prepare_logs() -> None:
    """Lets our lines into the log of a run; for the process that runs the flow."""
    logging.getLogger("ascend_migrate").setLevel(logging.INFO)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Lets every record through; an error of ours says in its one line what is to be done."""
    if record.exc_info and isinstance(record.exc_info[1], MigrationError):
        record.exc_info = None
    return True
