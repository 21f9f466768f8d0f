"""The tensors that an artifact holds, read from its files by form, mapped rather than copied."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.dtypes import BY_ONNX, numpy_dtype
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.ledger import Stored


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


def onnx_weights(path: Path) -> Iterator[Stored]:
    """Returns the initializers of an ONNX file; external ones are mapped.

    Raises:
        SourceError: a range lies outside its file.
    """
    from onnx import TensorProto, numpy_helper

    from ascend_migrate.pipeline.onnx_signature import confined, load_graph

    maps: dict[str, Array] = {}
    for tensor in load_graph(path).graph.initializer:
        kind = BY_ONNX.get(tensor.data_type)
        if kind is None:
            continue  # types that no checkpoint has, such as strings
        if tensor.data_location != TensorProto.EXTERNAL:
            yield Stored(tensor.name, kind.name, numpy_helper.to_array(tensor))
            continue
        entry = {item.key: item.value for item in tensor.external_data}
        location = entry.get("location", "")
        if location not in maps:
            maps[location] = np.memmap(confined(path, location), np.uint8, mode="r")
        raw = _range(maps[location], entry, path, tensor.name)
        yield Stored(
            tensor.name, kind.name, _typed(raw, kind.name, tuple(tensor.dims), path, tensor.name)
        )


def _range(data: Array, entry: Mapping[str, str], path: Path, name: str) -> Array:
    start = int(entry.get("offset", 0))
    length = int(entry.get("length", data.size - start))
    if not 0 <= start <= start + length <= data.size:
        raise SourceError(f"{path}: tensor {name!r} lies outside {entry['location']!r}")
    return data[start : start + length]


def mindir_weights(path: Path) -> Iterator[Stored]:
    """Returns the parameters of a MindIR file, mapped.

    Raises:
        SourceError: a range lies outside its file.
    """
    from ascend_migrate.pipeline.mindir_format import read_parameters
    from ascend_migrate.pipeline.onnx_signature import confined

    maps: dict[str, Array] = {}
    for item in read_parameters(path):
        if item.location not in maps:
            file = confined(path, item.location) if item.location else path
            maps[item.location] = np.memmap(file, np.uint8, mode="r")
        entry = {"location": item.location or path.name}
        entry |= {"offset": str(item.offset), "length": str(item.length)}
        raw = _range(maps[item.location], entry, path, item.name)
        yield Stored(item.name, item.dtype, _typed(raw, item.dtype, item.shape, path, item.name))


def _typed(raw: Array, dtype: str, shape: tuple[int, ...], path: Path, name: str) -> Array:
    kind = numpy_dtype(dtype)
    if raw.size != int(np.prod(shape, dtype=np.int64)) * kind.itemsize:
        raise SourceError(f"{path}: tensor {name!r} has {raw.size} bytes, which is not {shape}")
    aligned = raw if raw.ctypes.data % kind.alignment == 0 else raw.copy()
    found: Array = aligned.view(kind).reshape(shape)
    return found


_READERS: Mapping[Form, Callable[[Path], Iterator[Stored]]] = {
    Form.SAFETENSORS: _of_safetensors,
    Form.ONNX: onnx_weights,
    Form.MINDIR: mindir_weights,
}
