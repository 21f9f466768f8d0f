"""The tensors that an artifact holds, read from its files by form, mapped rather than copied."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.checkpoint.faults import named
from ascend_migrate.pipeline.checkpoint.mapped import map_file
from ascend_migrate.pipeline.dtypes import BY_ONNX, numpy_dtype
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.pipeline.torch_npu.manifest import weights_of
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.ledger.weights import Stored

if TYPE_CHECKING:
    import onnx


def stored_weights(artifact: Artifact) -> Iterator[Stored]:
    """Returns every tensor of the artifact.

    Raises:
        SourceError: a file is damaged, or points outside itself.
    """
    return _READERS[artifact.form](artifact.path)


def _of_safetensors(path: Path) -> Iterator[Stored]:
    """Returns tied names as tensors of their own, as a loader would."""
    checkpoint = open_checkpoint(path)
    for name, entry in checkpoint.tensors.items():
        yield Stored(name, entry.dtype, checkpoint.read(name))


def _beside_manifest(path: Path) -> Iterator[Stored]:
    return _of_safetensors(weights_of(path))


@dataclass(frozen=True, slots=True)
class _Files:
    """The files beside a graph, mapped when a tensor in one is first asked for."""

    graph: Path
    maps: dict[str | None, Array] = field(default_factory=dict)

    def part(self, location: str | None, offset: int, length: int | None, name: str) -> Array:
        """Returns bytes of the file ``location``; None stands for the graph's own."""
        from ascend_migrate.pipeline.onnx_signature import confined

        if location not in self.maps:
            file = self.graph if location is None else confined(self.graph, location)
            with named(file, "weights"):
                self.maps[location] = np.frombuffer(map_file(file), np.uint8)
        data = self.maps[location]
        length = data.size - offset if length is None else length
        if not 0 <= offset <= offset + length <= data.size:
            where = location or self.graph.name
            raise SourceError(f"{self.graph}: tensor {name!r} lies outside {where!r}")
        return data[offset : offset + length]


def onnx_weights(path: Path) -> Iterator[Stored]:
    """Returns the tensors of an ONNX file, in inner graphs and in nodes too; external are mapped.

    Raises:
        SourceError: a range lies outside its file.
    """
    from ascend_migrate.pipeline.onnx_signature import load_graph

    model, files = load_graph(path), _Files(path)
    graphs = _graphs(model)
    read = {name for _, nodes in graphs for node in nodes for name in node.input}
    read.update(info.name for graph, _ in graphs if graph is not None for info in graph.output)
    for graph, nodes in graphs:
        inner = graph is not model.graph
        if graph is not None:
            for tensor in graph.initializer:
                place = _Place(tensor.name, tensor.name in read, inner)
                yield from _of_onnx(tensor, place, files)
            for sparse in graph.sparse_initializer:
                name = sparse.values.name
                yield from _of_onnx(sparse.values, _Place(name, name in read, inner), files)
        for node in nodes:
            for item in node.attribute:
                if item.HasField("t") and node.output:
                    name = node.output[0]
                    taken = node.op_type != "Constant" or name in read
                    yield from _of_onnx(item.t, _Place(name, taken, inner=True), files)


class _Place(NamedTuple):
    """Where a tensor is in a graph: as in `Stored`."""

    name: str
    read: bool
    inner: bool


def _graphs(
    model: "onnx.ModelProto",
) -> list[tuple["onnx.GraphProto | None", list["onnx.NodeProto"]]]:
    """Returns every graph with its nodes, inner ones included; None stands for a function."""
    found: list[tuple[onnx.GraphProto | None, list[onnx.NodeProto]]] = [
        (None, list(function.node)) for function in model.functions
    ]
    found.insert(0, (model.graph, list(model.graph.node)))
    for _, nodes in found:  # grows as it is walked
        for node in nodes:
            for item in node.attribute:
                inner = [item.g] if item.HasField("g") else []
                found += [(graph, list(graph.node)) for graph in (*inner, *item.graphs)]
    return found


def _of_onnx(tensor: "onnx.TensorProto", place: _Place, files: _Files) -> Iterator[Stored]:
    from onnx import TensorProto, numpy_helper

    kind = BY_ONNX.get(tensor.data_type)
    if kind is None:
        return  # types that no checkpoint has, such as strings
    if tensor.data_location != TensorProto.EXTERNAL:
        yield Stored(place.name, kind.name, numpy_helper.to_array(tensor), place.read, place.inner)
        return
    entry = {item.key: item.value for item in tensor.external_data}
    try:
        offset = int(entry.get("offset", 0))
        length = int(entry["length"]) if "length" in entry else None
    except ValueError:
        raise SourceError(
            f"{files.graph}: tensor {place.name!r} is at no place of its file"
        ) from None
    raw = files.part(entry.get("location", ""), offset, length, place.name)
    array = _typed(raw, kind.name, tuple(tensor.dims), files, place.name)
    yield Stored(place.name, kind.name, array, place.read, place.inner)


def mindir_weights(path: Path) -> Iterator[Stored]:
    """Returns the parameters and the constants of a MindIR file, mapped.

    Raises:
        SourceError: a range lies outside its file.
    """
    from ascend_migrate.pipeline.mindir_format import read_tensors

    held, files = read_tensors(path), _Files(path)
    taken = {name.partition(":")[2] for name in held.taken}
    constants = {item.name for item in held.constants}
    for item in (*held.parameters, *held.constants):
        raw = files.part(item.location or None, item.offset, item.length, item.name)
        array = _typed(raw, item.dtype, item.shape, files, item.name)
        inner = item.name in constants
        yield Stored(item.name, item.dtype, array, inner or item.name in taken, inner)


def _typed(raw: Array, dtype: str, shape: tuple[int, ...], files: _Files, name: str) -> Array:
    kind = numpy_dtype(dtype)
    if raw.size != int(np.prod(shape, dtype=np.int64)) * kind.itemsize:
        said = f"{files.graph}: tensor {name!r} has {raw.size} bytes"
        raise SourceError(f"{said}, which is not {shape}")
    aligned = raw if raw.ctypes.data % kind.alignment == 0 else raw.copy()
    found: Array = aligned.view(kind).reshape(shape)
    return found


_READERS: Mapping[Form, Callable[[Path], Iterator[Stored]]] = {
    Form.SAFETENSORS: _of_safetensors,
    Form.ONNX: onnx_weights,
    Form.ONNX_CANN: onnx_weights,
    Form.MINDIR: mindir_weights,
    Form.TORCH_NPU: _beside_manifest,
}
