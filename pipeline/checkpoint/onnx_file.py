"""ONNX files as checkpoints: the initializers of the main graph, wherever their bytes are.

Format: onnx.proto, docs/ExternalData.md of onnx. Neither the checker nor the loaders of onnx and
onnxruntime refuse two initializers of one name, or one whose data are in two places.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.folders import confined
from ascend_migrate.pipeline.checkpoint.formats import reader
from ascend_migrate.pipeline.checkpoint.mapped import map_file
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View, contiguous
from ascend_migrate.pipeline.dtypes import BY_ONNX

_TAGS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2")
"""Protobuf tags that can follow ir_version in onnx.proto's ModelProto."""

_TYPED = (
    *("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"),
    "raw_data",
)


def _sniff(head: bytes) -> bool:
    return len(head) > 3 and head[0] == 8 and head[1] < 64 and head[2] in _TAGS  # noqa: PLR2004


@reader("onnx", _sniff)
def read(path: Path) -> Contents:
    """Opens the initializers of an ONNX file.

    Raises:
        FormatError: it is not one, or an initializer's data are missing, outside or ambiguous.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        # The binary format by name: a text spelling would be parsed by other rules.
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError:
        raise FormatError("is no ONNX file, nor any other known format") from None
    if not model.HasField("graph") or not model.opset_import:
        raise FormatError("is cut off, or no ONNX model: it has no graph or no operator set")
    files = {path.name: path}
    mapped: dict[str, memoryview] = {}
    root: dict[str, View | Unsupported] = {}
    storages: dict[str, Storage] = {}
    for tensor in model.graph.initializer:
        if tensor.name in root:
            raise FormatError(f"holds the initializer {shown(tensor.name)} twice; refused")
        value = root[tensor.name] = _view(tensor)
        if isinstance(value, Unsupported):
            continue
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = _entries(tensor)
            location = place["location"]
            if location not in files:
                files[location] = confined(path.parent, location)
                with named(path.parent / location, "external data"):
                    mapped[location] = map_file(path.parent / location)
            data = _cut(tensor.name, place, mapped.get(location), value.nbytes)
            storages[tensor.name] = Storage(len(data), partial(_same, data))
        else:
            storages[tensor.name] = _inline(tensor, value)
    for sparse in model.graph.sparse_initializer:
        root[sparse.values.name] = Unsupported("is a sparse initializer, which is not read")
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
    notes = (
        f"{len(model.graph.node)} nodes, opset {opsets}",
        "an ONNX graph: its initializers are read, its nodes and their constants are not",
    )
    return Contents("onnx", root, storages, "", notes, files if mapped else {})


def _view(tensor: Any) -> View | Unsupported:
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape) or tensor.HasField("segment"):
        raise FormatError(f"initializer {shown(tensor.name)} has a negative size or is a segment")
    dtype = BY_ONNX.get(tensor.data_type)
    if dtype is None:
        return Unsupported(f"has the ONNX element type {tensor.data_type}, which is not supported")
    filled = [field for field in _TYPED if len(getattr(tensor, field))]
    if len(filled) + (tensor.data_location == 1) > 1:
        raise FormatError(f"initializer {shown(tensor.name)} has its data in two places; refused")
    return View(tensor.name, dtype.name, shape, contiguous(shape), 0)


def _inline(tensor: Any, view: View) -> Storage:
    if len(tensor.raw_data) or not math.prod(view.shape):
        data = memoryview(tensor.raw_data)
        if len(data) != view.nbytes:
            raise FormatError(
                f"initializer {shown(tensor.name)} declares {shown(view.nbytes)} bytes and has "
                f"{len(data)}"
            )
        return Storage(len(data), partial(_same, data))
    if math.prod(view.shape) > tensor.ByteSize() * 2:
        raise FormatError(f"initializer {shown(tensor.name)} has fewer elements than it declares")
    return Storage(view.nbytes, partial(_typed, tensor), made=True)


def _typed(tensor: Any) -> memoryview:
    """Returns the bytes of a tensor whose elements are in one of the typed fields."""
    import numpy as np
    from onnx import numpy_helper

    array = np.ascontiguousarray(numpy_helper.to_array(tensor))
    return array.reshape(-1).view(np.uint8).data


def _same(data: memoryview) -> memoryview:
    return data


def _entries(tensor: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key in found:
            raise FormatError(f"initializer {shown(tensor.name)} has {shown(entry.key)} twice")
        found[entry.key] = entry.value
    if "location" not in found:
        raise FormatError(f"initializer {shown(tensor.name)} names no file for its data; damaged")
    return found


def _cut(name: str, place: dict[str, str], data: memoryview | None, size: int) -> memoryview:
    offset, length = (_number(name, place.get(key)) for key in ("offset", "length"))
    begin = offset or 0
    if data is None or begin + size > len(data) or (length is not None and length != size):
        raise FormatError(
            f"initializer {shown(name)} needs {shown(size)} bytes, which are not where it places "
            f"them in {shown(place['location'])}; damaged"
        )
    return data[begin : begin + size]


def _number(name: str, text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):  # noqa: PLR2004 (64 bits)
        raise FormatError(f"initializer {shown(name)} has an offset or length that is no number")
    return int(text)
