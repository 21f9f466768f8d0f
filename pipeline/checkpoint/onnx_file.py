"""ONNX files, recognised so that `describe` can list their weights."""

import math
from pathlib import Path

from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError
from ascend_migrate.pipeline.checkpoint.formats import reader
from ascend_migrate.pipeline.checkpoint.views import View, contiguous
from ascend_migrate.pipeline.dtypes import BY_ONNX

_REFUSAL = "is an ONNX graph, not a checkpoint; give it as the source itself, without a model class"

_TAGS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2")
"""Protobuf tags that can follow ir_version in onnx.proto's ModelProto."""


def _sniff(head: bytes) -> bool:
    return len(head) > 3 and head[0] == 8 and head[1] < 64 and head[2] in _TAGS  # noqa: PLR2004


@reader("onnx", _sniff)
def read(path: Path) -> Contents:
    """Lists the initializers of an ONNX file; external data is not touched.

    Raises:
        FormatError: it is not one.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        raise FormatError("is no ONNX file, nor any other known format") from None
    views = {}
    for tensor in model.graph.initializer:
        shape = tuple(tensor.dims)
        dtype = BY_ONNX.get(tensor.data_type)
        if dtype is not None and math.prod(shape) >= 0:
            views[tensor.name] = View(tensor.name, dtype.name, shape, contiguous(shape), 0)
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
    note = f"{len(model.graph.node)} nodes, opset {opsets}"
    return Contents("onnx", views, {}, _REFUSAL, (note,))
