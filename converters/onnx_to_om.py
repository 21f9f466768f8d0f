"""ONNX -> .om, by the ATC of an installed CANN."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ascend_migrate.converters.atc.command import arguments, mode_of
from ascend_migrate.converters.atc.run import run_atc
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann.keep_lists import check_names
from ascend_migrate.pipeline.cann.om_file import IDENTITY, OM, identity, om_artifact
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.cann.toolkit import Toolkit
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.onnx_signature import external_files, load_graph, weight_bytes
from ascend_migrate.pipeline.records import Artifact


def convert(
    graph: Path,
    into: Path,
    inputs: Sequence[InputSpec],
    request: OmRequest,
    toolkit: Toolkit,
    *,
    log: Path | None = None,
) -> Artifact:
    """Writes the compiled model into a folder; ATC's log and the graph itself stay beside it.

    Args:
        graph: an ONNX file.
        into: an existing folder.
        inputs: what the graph is fed.
        request: what is asked of ATC.
        toolkit: where ATC is.
        log: file for what ATC says; by default in the folder.

    Raises:
        SpecError, ConversionError, ToolchainError: ATC failed; says by whose fault.
    """
    into = into.resolve()  # ATC runs there
    lists: dict[str, Any] = {name: file.resolve() for name, file in request.lists().items()}
    model = load_graph(graph)
    check_names(request, model.graph.node)
    given = arguments(
        str(graph.resolve()),
        str(into / "model"),
        inputs,
        replace(request, **lists),
        weight_bytes(model),
    )
    made = run_atc(toolkit, given, into / "model", log=log)
    with durable.storing(into):
        made.rename(into / OM)
    asked = {**request.identity(), "mode": mode_of(inputs), "toolkit": toolkit.version}
    return completed(into, asked, graph)


def completed(folder: Path, asked: Mapping[str, Any], graph: Path) -> Artifact:
    """Adds to compiled files the graph that they were made from, and what they are.

    Args:
        folder: with the compiled files.
        asked: the request, how run_om.py is to give sizes, and the version of the toolkit.
        graph: the ONNX file; it may be in the folder already.
    """
    names = [graph.name, *external_files(graph)]
    made_from = {name: file_digest(graph.parent / name) for name in names}
    with durable.storing(folder):
        for name in names:
            target = folder / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(graph.parent / name, target)
    durable.write_file(folder / IDENTITY, identity(folder, asked, graph.name, made_from))
    note = f"compiled for {asked['soc']} in the precision mode {asked['precision_mode']}"
    return om_artifact(folder / OM, notes=(note,))
