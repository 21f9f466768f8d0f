"""What a ``.mindir`` file written by us says about itself, read without MindSpore.

MindSpore calls a graph with tensors by position and accepts wrong sizes and element types
silently, so the names, types and sizes of inputs and outputs travel in the file: as JSON in
``ModelProto.doc_string``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.onnx_signature import confined
from ascend_migrate.pipeline.protobuf_wire import Field, fields

# Our spelling of element types -> mind_ir.TensorProto.DataType.
DATA_TYPES: Mapping[str, int] = {
    "float32": pb.TensorProto.FLOAT,
    "uint8": pb.TensorProto.UINT8,
    "int8": pb.TensorProto.INT8,
    "uint16": pb.TensorProto.UINT16,
    "int16": pb.TensorProto.INT16,
    "int32": pb.TensorProto.INT32,
    "int64": pb.TensorProto.INT64,
    "bool": pb.TensorProto.BOOL,
    "float16": pb.TensorProto.FLOAT16,
    "float64": pb.TensorProto.DOUBLE,
    "uint32": pb.TensorProto.UINT32,
    "uint64": pb.TensorProto.UINT64,
    "complex64": pb.TensorProto.COMPLEX64,
    "complex128": pb.TensorProto.COMPLEX128,
    "bfloat16": pb.TensorProto.BFLOAT16,
}

# mindspore.common.dtype type ids, as Cast and its kin take them (MindSpore 2.10).
TYPE_IDS: Mapping[str, int] = {
    "bool": 30,
    "int8": 32,
    "int16": 33,
    "int32": 34,
    "int64": 35,
    "uint8": 37,
    "uint16": 38,
    "uint32": 39,
    "uint64": 40,
    "float16": 42,
    "float32": 43,
    "float64": 44,
    "bfloat16": 45,
    "complex64": 51,
}

LOW = frozenset({"float16", "bfloat16"})
"""Element types narrower than float32. The ``doc_string`` of a node whose result has one of them
names it: MindSpore ignores that, and a judge can compute the graph in float32 and round alike."""

_SPELLED = {code: name for name, code in DATA_TYPES.items()}

_DAMAGED = "not a MindIR file, or cut short; convert it again"

_GRAPH_FIELD = 7
_DOC_STRING_FIELD = 6
_LENGTH_DELIMITED = 2
_SIGNATURE_LIMIT = 16 << 20
"""Bytes: a signature is a few hundred bytes per tensor; more than this is a damaged file."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output.

    Attributes:
        name: as in the ONNX graph.
        dtype: our spelling.
        shape: sizes; None where dynamic.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the description as plain JSON data."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TensorInfo":
        """Inverse of `to_json`."""
        sizes = tuple(None if size is None else int(size) for size in data["shape"])
        return cls(str(data["name"]), str(data["dtype"]), sizes)


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a graph, in the order of its call."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def to_text(self) -> str:
        """Returns the JSON text that is kept in the file."""
        document = {
            "inputs": [info.to_json() for info in self.inputs],
            "outputs": [info.to_json() for info in self.outputs],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Signature":
        """Inverse of `to_text`."""
        document = json.loads(text)
        return cls(
            tuple(TensorInfo.from_json(item) for item in document["inputs"]),
            tuple(TensorInfo.from_json(item) for item in document["outputs"]),
        )


def read_signature(path: Path) -> Signature:
    """Reads the inputs and outputs without loading the weights.

    Raises:
        SourceError: not a MindIR file written by ascend-migrate.
    """
    try:
        with path.open("rb") as stream:
            text = _doc_string(stream)
        if text is not None:
            return Signature.from_text(text.decode())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass
    raise SourceError(
        f"{path}: not a MindIR file written by ascend-migrate (no signature in it); "
        "convert the model again"
    )


@dataclass(frozen=True, slots=True)
class Parameter:
    """A weight of the graph, and where its bytes are.

    Attributes:
        name: as in the ONNX graph.
        dtype: our spelling.
        shape: sizes.
        location: of the file beside the graph that holds the bytes; "" for the graph's own file.
        offset: of the first byte in that file.
        length: in bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    location: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Tensors:
    """What a graph holds.

    Attributes:
        parameters: the weights.
        constants: tensors in nodes, those of the functions included, by the name of the node.
        taken: names of all that the nodes of the main graph take.
    """

    parameters: list[Parameter]
    constants: list[Parameter]
    taken: set[str]


def read_parameters(path: Path) -> list[Parameter]:
    """Finds the weights of the graph; their bytes are not read.

    Raises:
        SourceError: it cannot be read, or is not a MindIR file.
    """
    return read_tensors(path, nodes=False).parameters


def read_tensors(path: Path, *, nodes: bool = True) -> Tensors:
    """Finds the weights and, if asked for, what the nodes hold and take; no bytes are read.

    Raises:
        SourceError: it cannot be read, or is not a MindIR file.
    """
    parameter, node = pb.GraphProto.PARAMETER_FIELD_NUMBER, pb.GraphProto.NODE_FIELD_NUMBER
    graphs = {pb.ModelProto.GRAPH_FIELD_NUMBER, pb.ModelProto.FUNCTIONS_FIELD_NUMBER}
    found = Tensors([], [], set())
    try:
        with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
            for outer in fields(data):
                if outer.number not in graphs:
                    continue
                main = outer.number == pb.ModelProto.GRAPH_FIELD_NUMBER
                for inner in fields(data, outer.content, outer.end):
                    if main and inner.number == parameter:
                        found.parameters.append(_parameter(data, inner))
                    elif nodes and inner.number == node:
                        taken = _node(data, inner, found.constants)
                        found.taken.update(taken if main else ())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, DecodeError):
        raise SourceError(f"{path}: {_DAMAGED}") from None
    return found


def _node(data: mmap, place: Field, constants: list[Parameter]) -> list[str]:
    """Adds the tensors that a node holds to ``constants`` and returns what it takes."""
    kind, held = pb.NodeProto, pb.AttributeProto.TENSORS_FIELD_NUMBER
    parts = list(fields(data, place.content, place.end))

    def texts(number: int) -> list[str]:
        return [data[p.content : p.end].decode() for p in parts if p.number == number]

    for part in parts:
        if part.number != kind.ATTRIBUTE_FIELD_NUMBER:
            continue
        for inner in fields(data, part.content, part.end):
            if inner.number == held:
                name = next(iter(texts(kind.NAME_FIELD_NUMBER)), "")
                constants.append(replace(_parameter(data, inner), name=name))
    return texts(kind.INPUT_FIELD_NUMBER)


def _parameter(data: mmap, place: Field) -> Parameter:
    """Describes one weight; its message is parsed without the field that holds the bytes."""
    parts = list(fields(data, place.content, place.end))
    raw = [part for part in parts if part.number == pb.TensorProto.RAW_DATA_FIELD_NUMBER]
    rest = b"".join(data[part.start : part.end] for part in parts if part not in raw)
    tensor = pb.TensorProto.FromString(rest)
    where = tensor.external_data
    if not isinstance(tensor.name, str) or not isinstance(where.location, str):
        # As protobuf hands over what is not UTF-8.
        raise ValueError("a name is no text")
    location, offset, length = where.location, where.offset, where.length
    if not tensor.HasField("external_data"):
        # Of a field that is there several times protobuf takes the last.
        start, end = (raw[-1].content, raw[-1].end) if raw else (0, 0)
        location, offset, length = "", start, end - start
    name = tensor.name.partition(":")[2]
    return Parameter(name, _SPELLED[tensor.data_type], tuple(tensor.dims), location, offset, length)


def external_files(path: Path) -> list[str]:
    """Returns the files beside ``path`` that hold its weights, sorted.

    Raises:
        SourceError: not a MindIR file, or one of them leaves its folder or does not exist.
    """
    names = {item.location for item in read_parameters(path) if item.location}
    for name in names:
        confined(path, name)
    return sorted(names)


def read_model(path: Path) -> pb.ModelProto:
    """Parses the whole file, inline weights included.

    Raises:
        SourceError: it cannot be read, or is not a MindIR file.
    """
    try:
        return pb.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except DecodeError:
        raise SourceError(f"{path}: {_DAMAGED}") from None


def _doc_string(stream: BinaryIO) -> bytes | None:
    """Walks the fields before the graph; serialised messages have them in order."""
    while True:
        key = _varint(stream)
        field, wire = key >> 3, key & 7
        if field >= _GRAPH_FIELD or wire != _LENGTH_DELIMITED:
            return None
        length = _varint(stream)
        if length > _SIGNATURE_LIMIT:
            return None
        data = stream.read(length)
        if field == _DOC_STRING_FIELD:
            return data


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = stream.read(1)
        if not byte:
            raise ValueError("the file ends within a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:  # noqa: PLR2004 - the continuation bit
            return value
    raise ValueError("a number has more than ten bytes")
