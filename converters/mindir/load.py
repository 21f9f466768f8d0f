"""Reads an ONNX file into a form that can be lowered node by node.

read -> weights apart -> functions inlined -> operators without a lowering expanded -> shapes
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference
from onnx.inliner import inline_local_functions

from ascend_migrate.converters.mindir.expand import expand_functions
from ascend_migrate.converters.mindir.fixed_sizes import fix_sizes
from ascend_migrate.converters.mindir.hoist import hoist_initializers
from ascend_migrate.converters.mindir.values import Shape
from ascend_migrate.pipeline.dtypes import BY_ONNX, numpy_dtype
from ascend_migrate.pipeline.errors import ConversionError, SourceError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.onnx_signature import confined, load_graph
from ascend_migrate.pipeline.printable import in_one_line

_SMALL = 1024
"""Elements up to which an initializer stays in the model for shape inference: shapes and axes have
a handful, weights have more."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An ONNX model with its weights apart.

    Attributes:
        model: without functions; initializers above 1024 elements have no data.
        weights: every initializer; external ones as read-only views of the file.
        outside: names of those that stand in a file of their own, as the checkpoint's tensors do.
        types: element type and shape of every value that shape inference knows.
        opsets: version of each domain.
    """

    model: onnx.ModelProto
    weights: Mapping[str, np.ndarray]
    outside: frozenset[str]
    types: Mapping[str, tuple[str, Shape | None]]
    opsets: Mapping[str, int]


def load(
    path: Path, inputs: Sequence[InputSpec] = (), sizes: Mapping[str, int] | None = None
) -> LoadedModel:
    """Reads ``path`` and prepares it.

    Args:
        path: an ONNX file.
        inputs: its inputs as declared; only needed with ``sizes``.
        sizes: of dynamic dimensions that become fixed, by name.

    Raises:
        SourceError: the file, or the file that holds its weights, cannot be read.
        ConversionError: the graph is not well formed.
    """
    model = load_graph(path)
    opsets = {("" if e.domain == "ai.onnx" else e.domain): e.version for e in model.opset_import}
    if sizes:
        fix_sizes(model.graph, inputs, sizes)
    outside = frozenset(
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    )
    weights = _take_weights(model.graph, path)
    try:
        if model.functions:
            model = inline_local_functions(model)
            # Branches inside functions can have initializers too.
            weights |= _take_weights(model.graph, path, known=weights)
        model = expand_functions(model, opsets)
        model = shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        reason = in_one_line(error)
        raise ConversionError(f"{path}: the graph is not valid ONNX: {reason}") from error
    return LoadedModel(model, weights, outside, value_types(model.graph), opsets)


def inner_types(graph: onnx.GraphProto) -> dict[str, tuple[str, Shape | None]]:
    """Returns what a graph inside a node says about its tensors, by name, without symbols.

    One symbol can stand for another size each time that a loop runs its body.
    """
    return {
        name: (dtype, shape and tuple(s if isinstance(s, int) else None for s in shape))
        for name, (dtype, shape) in value_types(graph).items()
    }


def value_types(graph: onnx.GraphProto) -> dict[str, tuple[str, Shape | None]]:
    """Returns what a graph says about its own tensors, by name."""
    found: dict[str, tuple[str, Shape | None]] = {}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        if tensor.elem_type not in BY_ONNX:
            continue
        shape = _shape(tensor.shape) if tensor.HasField("shape") else None
        found[info.name] = (BY_ONNX[tensor.elem_type].name, shape)
    return found


def _shape(shape: onnx.TensorShapeProto) -> Shape:
    return tuple(
        int(d.dim_value) if d.HasField("dim_value") else (d.dim_param or None) for d in shape.dim
    )


def _take_weights(
    graph: onnx.GraphProto, source: Path, known: Container[str] = ()
) -> dict[str, np.ndarray]:
    """Returns the weights, except those ``known``, and leaves the large ones' data out."""
    hoist_initializers(graph)
    found = {}
    for tensor in graph.initializer:
        if tensor.name not in known:
            found[tensor.name] = _array(tensor, source)
            _strip(tensor, found[tensor.name])
    return found


def _array(tensor: onnx.TensorProto, source: Path) -> np.ndarray:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return numpy_helper.to_array(tensor)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = confined(source, entries.get("location", ""))
    if tensor.data_type not in BY_ONNX:
        raise SourceError(f"{path}: tensor {tensor.name!r} has an unknown element type")
    dtype = numpy_dtype(BY_ONNX[tensor.data_type].name)
    shape = tuple(tensor.dims)
    count = int(np.prod(shape, dtype=np.int64))
    offset = int(entries.get("offset", 0))
    if int(entries.get("length", count * dtype.itemsize)) != count * dtype.itemsize:
        raise SourceError(
            f"{path}: tensor {tensor.name!r} of {dtype.name}{list(shape)} needs "
            f"{count * dtype.itemsize} bytes, the model says {entries['length']}; export it again"
        )
    if offset < 0 or offset + count * dtype.itemsize > path.stat().st_size:
        raise SourceError(f"{path}: too short for tensor {tensor.name!r}; copy the file again")
    if count == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape or (1,)).reshape(shape)


def _strip(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    if array.size > _SMALL:
        kept = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        kept.data_location = onnx.TensorProto.EXTERNAL
        kept.external_data.add(key="location", value="elsewhere")
        tensor.CopyFrom(kept)
    elif tensor.data_location == onnx.TensorProto.EXTERNAL:
        tensor.CopyFrom(numpy_helper.from_array(np.array(array), tensor.name))
