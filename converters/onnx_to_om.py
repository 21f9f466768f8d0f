"""ONNX -> .om, by the ATC of an installed CANN."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ascend_migrate.converters.atc.command import arguments
from ascend_migrate.converters.atc.run import TIMEOUT, run_atc
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.cann.toolkit import Toolkit
from ascend_migrate.pipeline.digest import canonical_json, file_digest
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.onnx_signature import load_graph, weight_bytes

OM, IDENTITY = "model.om", "om.json"
"""The compiled file; and what makes it another one than that for another chip, beside it."""


def convert(
    graph: Path,
    into: Path,
    inputs: Sequence[InputSpec],
    request: OmRequest,
    toolkit: Toolkit,
    *,
    timeout: float = TIMEOUT,
) -> Path:
    """Writes ``into/model.om`` and ``into/om.json``; ATC's log stays beside them.

    Args:
        graph: an ONNX file.
        into: an existing folder.
        inputs: what the graph is fed.
        request: what is asked of ATC.
        toolkit: where ATC is.
        timeout: seconds.

    Raises:
        SpecError, ConversionError, ToolchainError: ATC failed; says by whose fault.
    """
    weights = weight_bytes(load_graph(graph))
    given = arguments(str(graph.resolve()), str(into / "model"), inputs, request, weights)
    made = run_atc(toolkit, given, into / "model", timeout=timeout)
    with durable.storing(into):
        made.rename(into / OM)
    asked = {**request.identity(), "toolkit": toolkit.version}
    durable.write_file(into / IDENTITY, identity(asked, file_digest(graph)))
    return into / OM


def identity(asked: Mapping[str, Any], graph: str) -> bytes:
    """Returns om.json: the chip, the versions and the precision, and the digest of the graph."""
    return canonical_json({"schema": "ascend-migrate/om/1", "graph": graph, **asked})
