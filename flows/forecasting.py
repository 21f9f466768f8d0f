"""A forecast from what a user has: a graph, or the specification of a migration."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ascend_migrate.flows import steps_single
from ascend_migrate.flows.sources import cases_of, open_source
from ascend_migrate.flows.steps import GOLDEN, Progress
from ascend_migrate.flows.weights import prepare_folder
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.records import Form
from ascend_migrate.pipeline.spec import MigrationSpec

if TYPE_CHECKING:
    from ascend_migrate.validators.cases import Case
    from ascend_migrate.validators.forecast.forecast import Forecast


def forecast(  # noqa: PLR0913 - what a forecast depends on
    spec: MigrationSpec,
    policy: str,
    soc: str,
    *,
    against: Path | None,
    out: Path | None,
    time_limit: float,
    progress: Progress,
) -> "Forecast":
    """Forecasts what a chip makes of a source, and writes the keep-lists.

    Args:
        spec: names the source, an ONNX file or a checkpoint that is exported first.
        policy: name of the precision mode.
        soc: the exact chip.
        against: a golden file; else the source itself is run.
        out: folder for the files; None writes none.
        time_limit: seconds for the search.
        progress: told one line at a time.

    Raises:
        MigrationError: the source cannot be read, run or exported, or the request is wrong.
    """
    from ascend_migrate.validators.forecast import files as forecast_files
    from ascend_migrate.validators.forecast.forecast import forecast as foresee
    from ascend_migrate.validators.forecast.policy import NAMES
    from ascend_migrate.validators.golden import read_golden

    if out is not None:
        prepare_folder(out)
    plain = replace(spec, precision=None)
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
        graph, cases = spec.source, None
        if not spec.is_onnx:
            made = steps_single.convert(plain, Form.ONNX, Path(scratch) / "onnx", progress)
            graph = made.path
            if against is None:
                steps_single.capture(plain, Path(scratch) / GOLDEN, progress)
                cases = read_golden(Path(scratch) / GOLDEN)
        if against is not None:
            cases = read_golden(against)
        found = foresee(
            graph,
            NAMES[policy],
            soc,
            cases or _cases(plain),
            by_module=not spec.is_onnx,
            time_limit=time_limit,
            progress=progress,
        )
    if out is not None:
        for name, text in forecast_files.files(found).items():
            durable.write_file(out / name, text.encode())
    return found


def _cases(spec: MigrationSpec) -> "list[Case]":
    source = open_source(spec)
    return cases_of(spec, source.inputs)
