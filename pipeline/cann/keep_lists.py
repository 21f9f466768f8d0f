"""The lists that a forecast writes, as ATC is told of them."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.cann.om_request import LISTS, PRECISION_MODES, OmRequest
from ascend_migrate.pipeline.errors import SourceError, SpecError
from ascend_migrate.pipeline.printable import in_one_line

if TYPE_CHECKING:
    import onnx

REPORT = "forecast.json"
"""What a forecast found, beside its lists."""

BY_NAME = ("keep_dtype", "op_precision")
"""Lists that keep just the nodes that were found, not all of their types."""

_OPTION = "--precision_mode_v2="
_SHOWN = 3


def settled(request: OmRequest, family: str) -> OmRequest:
    """Returns the request with what its forecast says put in, and checked.

    Args:
        request: its forecast, if any, is a folder that `forecast -o` wrote, or the forecast.json
            in there. Then it has no lists of its own, and no precision mode but the forecast's.
        family: of the chip.

    Raises:
        SourceError: there is no forecast.
        SpecError: it is for another chip or mode, or no list helps; or ATC would not take the
            request.
    """
    if request.keep_from is not None:
        request = _foreseen(request.keep_from, request)
    missing = [f"{file} does not exist" for file in request.lists().values() if not file.is_file()]
    faults = missing + request.faults(family)
    if faults:
        raise SpecError("om", faults)
    return request


def _foreseen(forecast: Path, request: OmRequest) -> OmRequest:
    folder = forecast if forecast.is_dir() else forecast.parent
    document = _report(folder / REPORT)
    mode = str(document.get("atc", "")).removeprefix(_OPTION)
    faults = []
    if document.get("soc") != request.soc:
        faults.append(f"is for {document.get('soc')}, not for {request.soc}; forecast that chip")
    if mode not in PRECISION_MODES:
        faults.append(f"ATC has no {_OPTION}... for the policy {document.get('policy')}")
    elif request.precision_mode not in (mode, PRECISION_MODES[0]):
        faults.append(f"is for the mode {mode}, not for {request.precision_mode}")
    lists = {name: folder / LISTS[name] for name in BY_NAME if (folder / LISTS[name]).is_file()}
    if document.get("holds") is not True and (document.get("kept") is None or not lists):
        faults.append("found no list that helps; choose another precision mode")
    faults += [f"comes with {LISTS[name]}: give no other list" for name in request.lists()]
    if faults:
        raise SpecError(str(forecast), faults)
    given: dict[str, Any] = {"precision_mode": mode, "keep_from": None, **lists}
    return replace(request, **given)


def called(nodes: "Iterable[onnx.NodeProto]") -> list[str]:
    """Returns the names of nodes; unnamed ones as ATC's parser calls them.

    That is the type and a running number (hicann/ge, parser/onnx/onnx_parser.cc).
    """
    found: list[str] = []
    unnamed = 0
    for node in nodes:
        found.append(node.name or f"{node.op_type}_{unnamed}")
        unnamed += not node.name
    return found


def check_names(request: OmRequest, nodes: "Iterable[onnx.NodeProto]") -> None:
    """Proves that the lists name nodes of the graph: ATC says nothing of those that it lacks.

    Raises:
        SpecError: a list names others; or it cannot be read.
    """
    known = set(called(nodes))
    for name in BY_NAME:
        file = request.lists().get(name)
        if file is None:
            continue
        strange = [node for node in _named(file, name) if node not in known]
        if strange:
            shown = ", ".join(strange[:_SHOWN])
            raise SpecError(
                str(file),
                [f"{len(strange)} of its nodes are not in the graph: {shown}; forecast this graph"],
            )


def _named(file: Path, name: str) -> list[str]:
    """Returns the names of nodes in a list; what is said of types is left to ATC."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(file), [f"cannot be read: {in_one_line(error)}"]) from error
    if name == "keep_dtype":
        return [line for line in lines if line and not line.startswith("OpType::")]
    inside = False
    found = []
    for line in lines:
        if line.startswith("["):
            inside = line == "[ByNodeName]"
        elif inside and "=" in line:
            found.append(line.rpartition("=")[0].strip())
    return found


def _report(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}); name what `forecast -o` wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not a forecast: {in_one_line(error)}") from error
    if not isinstance(found, dict) or "holds" not in found:
        raise SourceError(f"{path}: not a forecast; name what `forecast -o` wrote")
    return found
