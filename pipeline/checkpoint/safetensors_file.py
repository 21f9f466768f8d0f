"""safetensors files, checked more strictly than the reference reader checks them.

Rules: README of huggingface/safetensors. The header begins with ``{`` (the reference reader also
takes blanks), has no name twice, and its tensors cover the rest of the file without gap or overlap.
"""

import math
import struct
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown, strict_json
from ascend_migrate.pipeline.checkpoint.formats import reader
from ascend_migrate.pipeline.checkpoint.mapped import map_file
from ascend_migrate.pipeline.checkpoint.views import View, contiguous
from ascend_migrate.pipeline.dtypes import BY_SAFETENSORS

MAX_HEADER = 100_000_000
"""Largest header in bytes: the reference reader's limit."""

TIED = "ascend_migrate.tied"
"""Metadata key: canonical JSON of ``{alias: name under which the tensor is stored}``."""


def _sniff(head: bytes) -> bool:
    if len(head) < 9:  # noqa: PLR2004 (the length and one character)
        return False
    plausible = struct.unpack_from("<Q", head)[0] <= MAX_HEADER
    return head[8:9] == b"{" or (plausible and head[8:9].isspace())


@reader("safetensors", _sniff)
def read(path: Path) -> Contents:
    """Opens a safetensors file.

    Raises:
        FormatError: it breaks one of the rules.
    """
    data = map_file(path)
    header, start = read_header(data)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("its __metadata__ is not a table of texts")
    body = data[start:]
    views: dict[str, Any] = {}
    spans = []
    storages = {}
    for name, entry in header.items():
        begin, end, views[name] = _tensor(name, entry)
        spans.append((begin, end, name))
        storages[name] = _slice(body[begin:end])
    _check_cover(spans, len(body))
    views |= _aliases(metadata, views)
    return Contents("safetensors", views, storages)


def read_header(data: memoryview) -> tuple[dict[str, Any], int]:
    """Returns the header and the place of the first data byte.

    Raises:
        FormatError: no header as the format wants it.
    """
    if len(data) < 8:  # noqa: PLR2004 (the length field)
        raise FormatError("is too short for a safetensors file; get a fresh copy")
    (length,) = struct.unpack_from("<Q", data)
    if length > MAX_HEADER or 8 + length > len(data):
        raise FormatError(
            f"declares a header of {length} bytes; the limit is {MAX_HEADER}, and the file has "
            f"{len(data)}"
        )
    text = bytes(data[8 : 8 + length])
    if not text.startswith(b"{"):
        raise FormatError("its header does not begin with '{', as safetensors demands")
    header = strict_json(text)
    if not isinstance(header, dict):
        raise FormatError("its header is not a table")
    return header, 8 + length


def _tensor(name: str, entry: Any) -> tuple[int, int, View]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor {shown(name)} lacks dtype, shape or data_offsets, or has more")
    dtype = BY_SAFETENSORS.get(str(entry["dtype"]))
    if dtype is None:
        raise FormatError(
            f"tensor {shown(name)} has the element type {shown(entry['dtype'])}; known: "
            + ", ".join(BY_SAFETENSORS)
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:  # noqa: PLR2004
        raise FormatError(
            f"tensor {shown(name)} has a shape or offsets that are no natural numbers"
        )
    size = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != size:
        raise FormatError(
            f"tensor {shown(name)} needs {size} bytes and its offsets span "
            f"{offsets[1] - offsets[0]}"
        )
    view = View(name, dtype.name, tuple(shape), contiguous(tuple(shape)), 0)
    return offsets[0], offsets[1], view


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _check_cover(spans: list[tuple[int, int, str]], size: int) -> None:
    at = 0
    for begin, end, name in sorted(spans):
        if begin != at:
            fault = "overlaps another one" if begin < at else f"leaves a hole of {begin - at} bytes"
            raise FormatError(f"tensor {shown(name)} {fault}; refused")
        at = end
    if at != size:
        fault = "is cut off" if at > size else "has bytes behind its last tensor"
        raise FormatError(f"{fault}: {at} bytes of data are declared and {size} are there")


def _aliases(metadata: dict[str, str], views: dict[str, Any]) -> dict[str, Any]:
    tied = strict_json(metadata.get(TIED, "{}").encode())
    if not isinstance(tied, dict):
        raise FormatError(f"its metadata {TIED} is not a table")
    for alias, stored in tied.items():
        if alias in views or not isinstance(stored, str) or stored not in views:
            raise FormatError(f"its metadata {TIED} ties {shown(alias)} to what is not there")
    return {alias: views[stored] for alias, stored in tied.items()}


def _slice(data: memoryview) -> Storage:
    return Storage(len(data), lambda: data)
