"""Compiling for one chip: what a specification asks of ATC, and the ATC that is here."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.cann.generations import load_generation
from ascend_migrate.pipeline.cann.keep_lists import settled
from ascend_migrate.pipeline.cann.om_request import LOWERED, OmRequest
from ascend_migrate.pipeline.cann.toolkit import Toolkit, find_toolkit
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.pipeline.spec import MigrationSpec


def checked(request: OmRequest) -> OmRequest:
    """Returns the request with the lists of its forecast, as ATC would take it.

    Raises:
        SpecError, SourceError: it would not, or there is no such forecast.
    """
    return settled(request, load_generation(request.cann).family(request.soc))


def check_questions(golden: Path, inputs: Sequence[InputSpec]) -> None:
    """Proves that a device can be asked what a golden file asks: far from here, it is too late.

    Args:
        golden: what `capture` wrote.
        inputs: what the compiled file will be fed.

    Raises:
        EvidenceError: it is damaged, or no golden file.
        SpecError: it asks other inputs, or sizes that are not compiled.
    """
    from ascend_migrate.validators.golden import read_golden
    from ascend_migrate.validators.samples import misfits

    for case in read_golden(golden).cases:
        faults = misfits(case.feeds, inputs, {})
        faults += [
            f"{n!r} is bfloat16" for n, a in case.feeds.items() if a.dtype.name == "bfloat16"
        ]
        if faults:
            said = f"case {case.name} cannot be asked: {'; '.join(faults)}"
            raise SpecError(str(golden), [f"{said}; --input says what is compiled"])


def prepared(spec: MigrationSpec) -> tuple[OmRequest, Toolkit]:
    """Returns what is asked of ATC, and where it is; done before any long work.

    Raises:
        SpecError, SourceError: the request is at fault; or its precision mode lowers what
            [precision] says nothing of, so that nobody would know what that may cost.
        ToolchainError: there is no CANN here; says what to install, and what to do without it.
    """
    if spec.om is None:
        raise TypeError("a specification without [om] was refused before")
    request = checked(spec.om)
    lowered = LOWERED.get(request.precision_mode)
    policy = spec.precision.dtype if spec.precision is not None else None
    if lowered not in (None, policy):
        said = f"om.precision_mode: {request.precision_mode} computes in {lowered}"
        raise SpecError(
            spec.name,
            [f"{said}; add [precision] type = {lowered!r}, so that its cost is measured"],
        )
    return request, find_toolkit()


def identity(spec: MigrationSpec) -> dict[str, Any]:
    """Returns what makes two compilations of one graph different."""
    request, toolkit = prepared(spec)
    return {**request.identity(), "toolkit": toolkit.version}


def compile_graph(graph: Artifact, into: Path, spec: MigrationSpec) -> Artifact:
    """Compiles the onnx-cann form into the folder where it lies.

    Where that fails, what ATC said stays in a file that the message names: the folder may go.

    Raises:
        MigrationError: `prepared` refuses, or ATC fails.
    """
    from ascend_migrate.converters import onnx_to_om
    from ascend_migrate.pipeline.onnx_signature import inputs_of_onnx

    request, toolkit = prepared(spec)
    inputs = spec.inputs or inputs_of_onnx(graph.path)
    with tempfile.NamedTemporaryFile(
        prefix="ascend-migrate-atc-", suffix=".log", delete=False
    ) as file:
        log = Path(file.name)
    made = onnx_to_om.convert(graph.path, into, inputs, request, toolkit, log=log)
    log.unlink()
    return replace(made, parent=graph.digest)
