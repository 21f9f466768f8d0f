"""Weights stored once: initializers that point into the checkpoint's safetensors file.

ONNX external data is a byte range of a file beside the model, and so is a safetensors tensor; an
initializer whose name and bytes equal a checkpoint tensor needs no second copy.
"""

import gc
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from ascend_migrate.pipeline.dtypes import BY_ONNX
from ascend_migrate.pipeline.errors import ConversionError, SourceError
from ascend_migrate.pipeline.printable import first_line

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"

CHECKPOINT_NAME = "ascend_migrate.checkpoint"
"""Key in ``ir.Value.meta``: the checkpoint's name of an initializer that had to be renamed."""
_TIED = "ascend_migrate.tied"
_ALIGNMENT = 64  # one cache line; readers that map the file get aligned vectors
EXTRACT_FROM = 1024
"""Bytes of a weight worth moving out; smaller ones are axes and shapes, which stay inline."""
_INLINE_SUM = 64 << 20  # far below protobuf's 2 GiB limit, still cheap to parse
_PIECE = 1 << 20
"""Bytes compared at a time: they stay in the processor's cache."""
_HEADER_LIMIT = 100 << 20  # the safetensors library refuses longer headers as well


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies in a safetensors file: bytes ``offset`` to ``offset + length``."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def read_layout(path: Path) -> dict[str, StoredTensor]:
    """Returns the byte ranges of all tensors, tied names included.

    Raises:
        SourceError: the file is not a safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not len("{}") <= length <= min(size - 8, _HEADER_LIMIT):
            raise SourceError(f"{path}: not a safetensors file: header of {length} bytes")
        header = stream.read(length)
    try:
        entries = json.loads(header)
        metadata = entries.pop("__metadata__", {})
        tied = json.loads(metadata.get(_TIED, "{}"))
        found = {name: _stored(entry, 8 + length, size) for name, entry in entries.items()}
        return found | {alias: found[stored] for alias, stored in tied.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{path}: damaged safetensors header ({error!r}); copy it anew") from None


def _stored(entry: Mapping[str, Any], start: int, size: int) -> StoredTensor:
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= size - start:
        raise ValueError(f"data_offsets {begin}..{end} lie outside the file")
    return StoredTensor(entry["dtype"], tuple(entry["shape"]), start + begin, end - begin)


def tensor_bytes(tensor: ir.TensorProtocol) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns the little-endian bytes of ``tensor``, without a copy where it can be had."""
    array = np.ascontiguousarray(tensor.numpy())
    expected = tensor.nbytes
    if array.nbytes != expected:  # types narrower than a byte are packed
        return np.frombuffer(tensor.tobytes(), dtype=np.uint8)
    return array.reshape(-1).view(np.uint8)


def share_weights(model: ir.Model, weights: Path) -> int:
    """Points initializers into ``weights`` where name, type, shape and every byte agree.

    Returns:
        The bytes that need no second copy.
    """
    layout = read_layout(weights)
    total = 0
    for value in model.graph.initializers.values():
        tensor = value.const_value
        stored = layout.get(str(value.meta.get(CHECKPOINT_NAME, value.name)))
        if tensor is None or stored is None or not stored.length:
            continue
        dtype = BY_ONNX.get(int(tensor.dtype))
        if dtype is None or (dtype.safetensors, tuple(tensor.shape.numpy())) != (
            stored.dtype,
            stored.shape,
        ):
            continue
        if not _is_at(tensor_bytes(tensor), weights, stored.offset):
            continue
        value.const_value = _external(value, weights, stored.offset, stored.length)
        total += stored.length
    return total


def _is_at(data: np.ndarray[Any, np.dtype[np.uint8]], path: Path, offset: int) -> bool:
    """Whether the file has these bytes there; it is read in pieces, which need little memory."""
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        for at in range(0, data.size, _PIECE):
            piece = data[at : at + _PIECE]
            if not np.array_equal(np.frombuffer(stream.read(piece.size), np.uint8), piece):
                return False
    return True


def _external(value: ir.Value, path: Path, offset: int, length: int) -> ir.ExternalTensor:
    tensor = value.const_value
    if tensor is None or value.name is None:
        raise TypeError("an initializer has a name and a tensor")
    return ir.ExternalTensor(
        path.name,
        offset,
        length,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=value.name,
        base_dir=path.parent,
    )


def lowered_file(dtype: str) -> str:
    """Returns the name of the file with weights in a lower precision, beside the original's."""
    return f"model.{dtype}.safetensors"


def write_weights(model: ir.Model, path: Path) -> int:
    """Writes the initializers of at least 1 KiB to a safetensors file, sorted by name.

    Returns:
        How many tensors were written; with none, the file holds an empty header.

    Raises:
        ConversionError: an element type that safetensors cannot hold.
    """
    chosen = sorted(
        (name, value.const_value)
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes >= EXTRACT_FROM
        if int(value.const_value.dtype) in BY_ONNX
    )
    header: dict[str, Any] = {}
    offset = 0
    # Widest elements first keeps every tensor aligned to its own element size.
    chosen.sort(key=lambda item: (-BY_ONNX[int(item[1].dtype)].itemsize, item[0]))
    for name, tensor in chosen:
        header[name] = {
            "dtype": BY_ONNX[int(tensor.dtype)].safetensors,
            "shape": list(tensor.shape.numpy()),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in chosen:
            stream.write(tensor_bytes(tensor).data)
    return len(chosen)


def write_model(
    model: ir.Model,
    into: Path,
    *,
    weights: Path | None,
    runnable: bool = True,
    name: str = MODEL_FILE,
) -> tuple[list[str], list[str]]:
    """Writes the graph into the folder ``into`` and proves that it can be loaded.

    Args:
        model: the graph.
        into: the folder.
        weights: safetensors file in that folder that initializers may point into.
        runnable: whether onnxruntime has to load it even with bfloat16 in it.
        name: of the file.

    Returns:
        The files of the form, entry first, and notes for the user.

    Raises:
        ConversionError: onnx.checker or onnxruntime refuses the result.
    """
    files, notes = [name], []
    if weights is not None:
        if weights.resolve().parent != into.resolve():
            raise ConversionError(f"{weights}: weights must lie in the model's folder {into}")
        shared = share_weights(model, weights)
        # torch's programs hold their weights in cycles; the check below maps the file once more.
        gc.collect()
        files.append(weights.name)
        if shared:
            notes.append(f"{shared} bytes of weights are shared with {weights.name}, stored once.")
    files += _spill_constants(model, into / f"{name}.data")
    proto = ir.to_proto(model)
    (into / name).write_bytes(proto.SerializeToString(deterministic=True))
    check_model(into / name, runnable=runnable)
    return files, notes


def _spill_constants(model: ir.Model, path: Path) -> list[str]:
    """Moves constants to a file of their own, largest first, until 64 MiB stay inline."""
    inline = [
        value
        for value in model.graph.initializers.values()
        if value.const_value is not None and not isinstance(value.const_value, ir.ExternalTensor)
    ]
    total = sum(_size(value) for value in inline)
    if total <= _INLINE_SUM:
        return []
    with path.open("wb") as stream:
        for value in sorted(inline, key=lambda v: (-_size(v), v.name or "")):
            if total <= _INLINE_SUM or value.const_value is None:
                break
            stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
            offset, length = stream.tell(), _size(value)
            stream.write(tensor_bytes(value.const_value).data)
            value.const_value = _external(value, path, offset, length)
            total -= length
    return [path.name]


def _size(value: ir.Value) -> int:
    return 0 if value.const_value is None else value.const_value.nbytes


def check_model(path: Path, *, runnable: bool = True) -> None:
    """Loads ``path`` with onnx.checker (types and shapes included) and with onnxruntime.

    Args:
        path: the file.
        runnable: False leaves out onnxruntime, and the types that ONNX gives its operators, where
            the graph holds bfloat16: both lack it for much of what MindIR has it for.

    Raises:
        ConversionError: one of them refuses it.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    refusals = (states.Fail, states.InvalidGraph, states.NotImplemented, states.InvalidArgument)
    try:
        foreign = not runnable and _holds_bfloat16(path)
        onnx.checker.check_model(str(path), full_check=not foreign)
        if foreign:
            return
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4  # a refusal is raised; it need not be printed too
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        *refusals,
        states.RuntimeException,
    ) as error:
        raise ConversionError(
            f"{path.name}: the converted graph does not load: {first_line(error)}{_advice(path)}"
        ) from None


def _advice(path: Path) -> str:
    if not _holds_bfloat16(path):
        return ""
    return (
        "; few operators of ONNX and none of onnxruntime's kernels take bfloat16: publish MindIR "
        "alone, or give the model float32 weights, which hold every bfloat16 exactly"
    )


def _holds_bfloat16(path: Path) -> bool:
    """Whether a weight, or an input of the graph, is bfloat16."""
    graph = onnx.load(str(path), load_external_data=False).graph
    kinds = [tensor.data_type for tensor in graph.initializer]
    kinds += [value.type.tensor_type.elem_type for value in graph.input]
    return onnx.TensorProto.BFLOAT16 in kinds
