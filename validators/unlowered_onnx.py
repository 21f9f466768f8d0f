"""An ONNX artifact of a lower precision in float32 again, with the source's own weights."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.validators.cases import Array

if TYPE_CHECKING:
    import onnx

Restore = Callable[[str, str, Array], Array]
"""Given name, type and value of a lowered tensor, returns what the source has in its place."""


def write_unlowered(path: Path, into: Path, dtype: str, restore: Restore) -> Path:
    """Writes the graph of ``path`` into the folder ``into``, its type ``dtype`` widened.

    Args:
        path: the artifact's file.
        into: an existing folder.
        dtype: the lower type.
        restore: finds the source's float32 tensor for a lowered one.

    Returns:
        The file written.
    """
    import onnx

    model = onnx.load(str(path))
    low = BY_NAME[dtype].onnx
    for tensor in model.graph.initializer:
        if tensor.data_type == low:
            name = tensor.name
            found = restore(name, dtype, onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(found.astype(np.float32), name))
    _widen(model.graph, low)
    written = into / path.name
    onnx.save_model(
        model, str(written), save_as_external_data=True, location=f"{path.name}.float32"
    )
    return written


def _widen(graph: "onnx.GraphProto", low: int | None) -> None:
    """Widens everything but the main graph's initializers, in place."""
    import onnx

    del graph.value_info[:]
    for info in (*graph.input, *graph.output):
        if info.type.tensor_type.elem_type == low:
            info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for tensor in graph.initializer:
        _widen_tensor(tensor, low)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == low:
                attribute.i = onnx.TensorProto.FLOAT
            if attribute.HasField("t"):
                _widen_tensor(attribute.t, low)
            if attribute.HasField("g"):
                _widen(attribute.g, low)


def _widen_tensor(tensor: "onnx.TensorProto", low: int | None) -> None:
    import onnx

    if tensor.data_type == low:
        wide = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
