"""What an ONNX file declares: its inputs, its external files, its identity. Nothing is executed."""

import math
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint.faults import shown
from ascend_migrate.pipeline.digest import file_digest, json_digest
from ascend_migrate.pipeline.dtypes import BY_ONNX
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.inputs import Dim, InputSpec

if TYPE_CHECKING:
    import onnx

_DEFAULT_RANGE = (1, 8)
"""Sizes of a symbolic dimension where the user gives none: small, with the special case 1."""


def load_graph(path: Path) -> "onnx.ModelProto":
    """Parses the file without its external data.

    Raises:
        SourceError: it cannot be read, or is not an ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        # The binary format by name: a text spelling would be parsed by other rules.
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    except DecodeError:
        raise SourceError(f"{path}: not an ONNX file, or cut short; fetch it again") from None
    if not model.HasField("graph") or not model.opset_import:
        raise SourceError(f"{path}: not an ONNX model: it has no graph or no operator set")
    return model


def inputs_of_onnx(path: Path) -> tuple[InputSpec, ...]:
    """Reads the inputs that a caller must feed; symbolic sizes get the range 1..8.

    Raises:
        SourceError: an input is not a tensor of known rank and element type.
    """
    model = load_graph(path)
    own = {tensor.name for tensor in model.graph.initializer}
    own |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    wanted = [value for value in model.graph.input if value.name not in own]
    return tuple(_input(path, value) for value in wanted)


def _input(path: Path, value: Any) -> InputSpec:
    tensor = value.type.tensor_type
    dtype = BY_ONNX.get(tensor.elem_type)
    if dtype is None or not tensor.HasField("shape"):
        raise SourceError(
            f"{path}: input {value.name!r} is not a tensor of known rank and element type"
        )
    shape: list[int | Dim] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            shape.append(dim.dim_value)
            continue
        name = _identifier(dim.dim_param) or _identifier(f"{value.name}_{axis}")
        shape.append(Dim.between(name, *_DEFAULT_RANGE))
    return InputSpec(value.name, dtype.name, tuple(shape))


def _identifier(text: str) -> str:
    """Spells a dimension's name so that the input grammar accepts it."""
    cleaned = re.sub(r"\W", "_", text, flags=re.ASCII)
    return f"_{cleaned}" if cleaned[:1].isdigit() else cleaned


def external_files(path: Path) -> list[str]:
    """Returns the files beside ``path`` that hold its external data, sorted.

    Raises:
        SourceError: a location leaves the model's folder, or does not exist.
    """
    names = {
        entry.value
        for tensor in all_tensors(load_graph(path))
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in names:
        confined(path, name)
    return sorted(names)


def source_digest(path: Path) -> str:
    """Returns one digest of the graph file and of every external file that it names."""
    files = [path.name, *external_files(path)]
    return json_digest({name: file_digest(path.parent / name) for name in files})


def confined(path: Path, location: str) -> Path:
    """Returns the external file ``location`` of the model ``path``.

    Raises:
        SourceError: the location is absolute, climbs, cannot be printed, leads through a symbolic
            link, or is no file.
    """
    pure = PurePosixPath(location)
    said = f"{path}: external data location {shown(location)}"
    if not location or pure.is_absolute() or ".." in pure.parts or "\\" in location:
        raise SourceError(f"{said} leaves the model's folder; only files inside it are read")
    # It becomes a line of a script and of a list of digests (converters/atc).
    if not location.isprintable():
        raise SourceError(f"{said} has characters that cannot be printed; rename the file")
    target = path.parent
    try:
        for part in pure.parts:
            target /= part
            if target.is_symlink():
                raise SourceError(f"{said} is a symbolic link; put the file itself there")
        if not target.is_file():
            raise SourceError(f"{said} is missing; put the file beside the model")
    except OSError as error:
        raise SourceError(f"{said} cannot be read: {error.strerror}") from error
    return target


def stored_bytes(tensor: "onnx.TensorProto") -> int:
    """Returns the bytes that the numbers of a tensor take; strings have no such size."""
    import onnx_ir as ir

    return int(ir.DataType(tensor.data_type).bitwidth) * math.prod(tensor.dims) // 8


def weight_bytes(model: "onnx.ModelProto") -> int:
    """Returns the bytes of all initializers together, wherever they are kept."""
    import onnx

    tensors = model.graph.initializer
    return sum(stored_bytes(t) for t in tensors if t.data_type != onnx.TensorProto.STRING)


def all_tensors(model: "onnx.ModelProto") -> list["onnx.TensorProto"]:
    """Returns every tensor of the model: initializers and attributes, subgraphs included."""
    found: list[onnx.TensorProto] = []
    nodes = [node for function in model.functions for node in function.node]
    graphs = [model.graph]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            found += graph.initializer
            found += [
                t for sparse in graph.sparse_initializer for t in (sparse.values, sparse.indices)
            ]
            nodes += graph.node
        while nodes:
            for attribute in nodes.pop().attribute:
                found += attribute.tensors
                graphs += attribute.graphs
                if attribute.HasField("t"):
                    found.append(attribute.t)
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
    return found
