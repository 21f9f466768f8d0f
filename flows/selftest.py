"""Whether the judge would have seen it: faults planted in an artifact that is otherwise proved."""

import tempfile
from dataclasses import replace
from pathlib import Path

from ascend_migrate.flows import capturing
from ascend_migrate.flows.sources import Source, open_source
from ascend_migrate.flows.steps import GOLDEN, Progress
from ascend_migrate.flows.steps_single import artifact_at
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import GRAPH_FORMS, Artifact, Form
from ascend_migrate.pipeline.spec import MigrationSpec, with_forms
from ascend_migrate.validators.golden import Golden, read_golden
from ascend_migrate.validators.ledger.weights import weights_of_checkpoint
from ascend_migrate.validators.power.selftest import Selftest
from ascend_migrate.validators.power.selftest import selftest as plant_all

_LINES = 10
"""Lines of progress, however many faults there are."""


def selftest(path: Path, against: MigrationSpec | Path, count: int, progress: Progress) -> Selftest:
    """Plants about ``count`` faults in the artifact ``path``, one after another.

    Args:
        path: a file of any form; only read.
        against: a golden file, or the specification of the original.
        count: of faults.
        progress: told one line at a time.
    """
    artifact = artifact_at(path)
    if artifact.form is Form.OM:
        raise SpecError(str(path), ["nobody can plant faults in it; try the graph beside it"])
    limits = DEFAULT_LIMITS if isinstance(against, Path) else against.limits
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
        truth = _truth(artifact, against, Path(scratch), progress)
    return _planted(artifact, truth, count, limits, progress)


def _planted(
    artifact: Artifact, truth: Golden, count: int, limits: Limits, progress: Progress
) -> Selftest:
    said = -1

    def told(done: int, of: int) -> None:
        nonlocal said
        tenth = done * _LINES // max(of, 1)
        if tenth != said:
            said = tenth
            progress(f"faults: {done} of {of}")

    return plant_all(artifact, truth, count=count, limits=limits, progress=told)


def _truth(
    artifact: Artifact, against: MigrationSpec | Path, scratch: Path, progress: Progress
) -> Golden:
    weights_alone = artifact.form not in GRAPH_FORMS
    if isinstance(against, Path):
        truth = read_golden(against)
        # A policy lowers graphs; safetensors keep the source's types.
        return replace(truth, precision=None) if weights_alone else truth
    asked = with_forms(against, [artifact.form], subject=str(against.source))
    if weights_alone:
        return _weights(open_source(asked), asked.store_as)
    progress("capture")
    capturing.capture(asked, scratch / GOLDEN)
    return read_golden(scratch / GOLDEN)


def _weights(source: Source, stored_as: str | None) -> Golden:
    """Returns what a file of weights alone is judged against."""
    if source.weights is None:
        raise TypeError("a graph is never published as safetensors")
    precision = Precision(stored_as) if stored_as else None
    weights = weights_of_checkpoint(source.weights, precision=precision)
    return Golden(source.digest, "", (), weights, {}, "", precision)
