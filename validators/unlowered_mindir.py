"""A MindIR artifact of a lower precision in float32 again, with the source's own weights."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.mindir_buckets import graphs_of, is_index
from ascend_migrate.pipeline.mindir_format import DATA_TYPES, read_model
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.ledger.stored_weights import mindir_weights
from ascend_migrate.validators.mindir_edit import GraphEditor, editors, write_model
from ascend_migrate.validators.unlowered_onnx import Restore

_INEXACT = frozenset({"Tanh"})
"""Primitives that are computed in float64: MindSpore's float32 kernel of Tanh for the CPU is wrong
by 1e-4 at 5, which float16 hides. (Where a graph is float32 to begin with, it has no such Tanh.)"""


def write_unlowered(path: Path, into: Path, dtype: str, restore: Restore) -> Path:
    """Writes the graph of ``path`` into the folder ``into``, its type ``dtype`` widened.

    Args:
        path: the artifact's file; of an index, every graph is written, and the index again.
        into: an existing folder.
        dtype: the lower type.
        restore: finds the source's float32 tensor for a lowered one.

    Returns:
        The file written.

    Raises:
        SourceError: not a MindIR file, or its weights lie outside its folder.
        CheckError: it is too large for one file.
    """
    if is_index(path):
        for bucket in graphs_of(path):
            write_unlowered(bucket, into, dtype, restore)
        return Path(shutil.copyfile(path, into / path.name))
    model = read_model(path)
    held = {item.name: item for item in mindir_weights(path)}
    for parameter in model.graph.parameter:
        item = held[parameter.name.partition(":")[2]]
        array = item.array
        if item.dtype == dtype:
            array = restore(item.name, dtype, item.array).astype(np.float32)
            parameter.data_type = DATA_TYPES["float32"]
        parameter.ClearField("external_data")
        parameter.raw_data = np.ascontiguousarray(array).tobytes()
    for editor in editors(model):
        _widen(editor, dtype)
    return write_model(model, path, into)


def _widen(editor: GraphEditor, dtype: str) -> None:
    """Widens the constants, the results and the casts of one graph."""
    for node in list(editor.graph.node):
        editor.make_float32(node, {dtype})
        was_low = node.doc_string == dtype
        if was_low:
            node.ClearField("doc_string")
        for tensor in _constants(node):
            if tensor.data_type == DATA_TYPES[dtype]:
                tensor.raw_data = _widened(tensor.raw_data, dtype).tobytes()
                tensor.data_type = DATA_TYPES["float32"]
        if was_low and editor.operator(node) in _INEXACT:
            _widen_further(editor, node)
        else:
            editor.keep(node)
    editor.finish()


def _widen_further(editor: GraphEditor, node: pb.NodeProto) -> None:
    """Computes one node in float64; its result has the name that it had."""
    name = node.output[0]
    node.input[0] = editor.cast(node.input[0], "float64", f"{name}/wide")
    node.name = node.output[0] = f"{name}/float64"
    editor.keep(node)
    editor.cast(node.output[0], "float32", name)


def _constants(node: pb.NodeProto) -> Iterator[pb.TensorProto]:
    if node.op_type == "Constant":
        yield from node.attribute[0].tensors


def _widened(raw: bytes, dtype: str) -> Array:
    return np.frombuffer(raw, numpy_dtype(dtype)).astype(np.float32)
