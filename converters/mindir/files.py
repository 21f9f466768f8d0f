"""Writes a model's files with its weights streamed: from the mapped source to the file.

Weights may be larger than memory, so they are no part of the message while it is built.
"""

from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.mindir_format import DATA_TYPES
from ascend_migrate.pipeline.protobuf_wire import fields, opening

INLINE_LIMIT = 1536 << 20
"""Bytes of weights above which they go to a file of their own: one protobuf message ends at 2 GiB,
and the graph needs room too."""

_ALIGNMENT = 64
"""MindSpore's split form: a 64-byte header, then every tensor at a multiple of 64 bytes."""


def write_files(
    model: pb.ModelProto,
    weights: Mapping[str, np.ndarray],
    folder: Path,
    name: str,
    *,
    inline_limit: int = INLINE_LIMIT,
    shared: "WeightFile | None" = None,
) -> list[str]:
    """Writes ``model`` with ``weights`` as the parameters of its main graph.

    Args:
        model: without parameters.
        weights: arrays by name, in the order of the file.
        folder: an existing folder.
        name: file name of the graph, such as ``model.mindir``.
        inline_limit: bytes of weights above which they are written to a second file.
        shared: the file in the same folder that takes the weights, whatever their size; None to
            write a file for this graph alone.

    Returns:
        Paths of the written files within ``folder``, the graph first, without a shared one.

    Raises:
        ConversionError: MindIR does not have a weight's element type.
    """
    prefix = f"{model.graph.name}:"
    described = {key: _parameter(prefix, key, array) for key, array in weights.items()}
    if shared is None and sum(array.nbytes for array in weights.values()) <= inline_limit:
        with (folder / name).open("wb") as stream:
            _write_inline(stream, model, described, weights)
        return [name]
    with nullcontext(shared) if shared else closing(_own_file(folder, name)) as file:
        for key, tensor in described.items():
            file.add(key, weights[key], tensor.external_data)
        model.graph.parameter.extend(described.values())
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))
        return [name] if shared else [name, *file.paths]


class WeightFile:
    """The file beside one or several graphs that holds their weights, each of them once.

    Args:
        folder: that of the graphs.
        location: path of the file within it.

    Attributes:
        paths: the location, once there is something in the file.
    """

    def __init__(self, folder: Path, location: str) -> None:
        self._folder, self._location = folder, location
        self._written: dict[str, tuple[int, np.ndarray]] = {}
        self._stream: BinaryIO | None = None
        self.paths: list[str] = []

    def add(self, key: str, array: np.ndarray, external: pb.TensorProto.ExternalDataProto) -> None:
        """Writes a weight, unless it is there already, and says in ``external`` where it is."""
        content = octets(array)
        offset, written = self._written.get(key, (0, None))
        if written is None or not np.array_equal(octets(written), content):
            offset = self._append(content)
            self._written[key] = offset, array
        external.location = self._location
        external.offset, external.length = offset, content.size

    def _append(self, content: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
        if self._stream is None:
            path = self._folder / self._location
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("wb")
            self.paths.append(self._location)
            # Byte 0 says little endian.
            self._stream.write(b"\x01".ljust(_ALIGNMENT, b"\0"))
        offset = self._stream.tell()
        self._stream.write(content.data)
        self._stream.write(b"\0" * (-content.size % _ALIGNMENT))
        return offset

    def close(self) -> None:
        """Ends the file."""
        if self._stream is not None:
            self._stream.close()


def _own_file(folder: Path, name: str) -> WeightFile:
    return WeightFile(folder, f"{Path(name).stem}_variables/data_0")


def describe(tensor: pb.TensorProto, array: np.ndarray, name: str = "") -> None:
    """Says the sizes and the element type of ``array``; ``name`` is only for the message.

    Raises:
        ConversionError: MindIR does not have the element type.
    """
    if array.dtype.name not in DATA_TYPES:
        raise ConversionError(f"tensor {name!r}: MindIR has no element type {array.dtype.name}")
    tensor.dims.extend(array.shape)
    tensor.data_type = DATA_TYPES[array.dtype.name]


def octets(array: np.ndarray) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns the little-endian bytes of ``array``: the same memory wherever it holds them."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8)


def _parameter(prefix: str, key: str, array: np.ndarray) -> pb.TensorProto:
    tensor = pb.TensorProto(name=prefix + key, ref_key=key)
    describe(tensor, array, key)
    return tensor


def _write_inline(
    stream: BinaryIO,
    model: pb.ModelProto,
    described: Mapping[str, pb.TensorProto],
    weights: Mapping[str, np.ndarray],
) -> None:
    """Writes the very bytes that protobuf would, had the parameters their content."""
    parameter, raw = pb.GraphProto.PARAMETER_FIELD_NUMBER, pb.TensorProto.RAW_DATA_FIELD_NUMBER
    entries = []
    for key, tensor in described.items():
        text, content = tensor.SerializeToString(deterministic=True), octets(weights[key])
        at = _place(text, raw, 0, len(text))
        before = text[:at] + opening(raw, content.size)
        length = len(before) + content.size + len(text) - at
        entries.append((opening(parameter, length) + before, content, text[at:]))
    whole = memoryview(model.SerializeToString(deterministic=True))
    graph = next(f for f in fields(whole) if f.number == pb.ModelProto.GRAPH_FIELD_NUMBER)
    at = _place(whole, parameter, graph.content, graph.end)
    length = graph.end - graph.content
    length += sum(len(before) + content.size + len(after) for before, content, after in entries)
    stream.write(whole[: graph.start])
    stream.write(opening(graph.number, length))
    stream.write(whole[graph.content : at])
    for before, content, after in entries:
        stream.write(before)
        stream.write(content.data)
        stream.write(after)
    stream.write(whole[at:])


def _place(data: bytes | memoryview, number: int, start: int, end: int) -> int:
    """Returns where a field belongs: serialised messages have theirs in order."""
    return next((f.start for f in fields(data, start, end) if f.number > number), end)
