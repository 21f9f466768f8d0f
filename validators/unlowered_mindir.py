"""A MindIR artifact of a lower precision in float32 again, with the source's own weights."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.mindir_buckets import graphs_of, is_index
from ascend_migrate.pipeline.mindir_format import DATA_TYPES, read_model
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.stored_weights import mindir_weights
from ascend_migrate.validators.unlowered_onnx import Restore

_TYPE_IDS = {"float16": 42, "bfloat16": 45}
_FLOAT32, _FLOAT64 = 43, 44
"""mindspore.common.dtype type ids (MindSpore 2.10)."""

_TYPE_ARGUMENTS = {"Cast": 1, "Eye": 2}
"""Position of the element type among the inputs of the primitives that take one."""

_INEXACT = frozenset({"Tanh"})
"""Primitives that are computed in float64: MindSpore's float32 kernel of Tanh for the CPU is wrong
by 1e-4 at 5, which float16 hides. (Where a graph is float32 to begin with, it has no such Tanh.)"""

_CAST = "unlowered:Cast"


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
    model.primitives.add(name=_CAST, op_type="Cast", prim_type=pb.PrimitiveProto.PRIMITIVE_FUNCTION)
    operators = {entry.name: entry.op_type for entry in model.primitives}
    for graph in (model.graph, *model.functions):
        _Widening(graph, operators, dtype).apply()
    written = into / path.name
    try:
        written.write_bytes(model.SerializeToString(deterministic=True))
    except ValueError:  # protobuf's limit of 2 GiB
        raise CheckError(f"{path}: is too large to be judged in float32 as one file") from None
    return written


class _Widening:
    """The widening of one graph of a model, in place."""

    def __init__(self, graph: pb.GraphProto, operators: Mapping[str, str], dtype: str) -> None:
        self._graph, self._operators, self._dtype = graph, operators, dtype
        self._nodes: list[pb.NodeProto] = []

    def apply(self) -> None:
        """Widens the constants, the results and the casts."""
        low = {
            node.output[0]
            for node in self._graph.node
            if node.op_type == "Constant" and node.attribute[0].i == _TYPE_IDS[self._dtype]
        }
        wide, wider = self._type(_FLOAT32), self._type(_FLOAT64)
        for node in self._graph.node:
            operator = self._operators.get(node.op_type.removeprefix("REF::"), "")
            position = _TYPE_ARGUMENTS.get(operator)
            if position is not None and node.input[position] in low:
                node.input[position] = wide
            was_low = node.doc_string == self._dtype
            if was_low:
                node.ClearField("doc_string")
            for tensor in _constants(node):
                if tensor.data_type == DATA_TYPES[self._dtype]:
                    tensor.raw_data = _widened(tensor.raw_data, self._dtype).tobytes()
                    tensor.data_type = DATA_TYPES["float32"]
            if was_low and operator in _INEXACT:
                self._wider(node, wide, wider)
            else:
                self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _wider(self, node: pb.NodeProto, wide: str, wider: str) -> None:
        """Computes one node in float64; its result has the name that it had."""
        name, result = node.name, node.output[0]
        node.input[0] = self._add(f"REF::{_CAST}", f"{name}/wide", [node.input[0], wider])
        node.name = node.output[0] = f"{name}/float64"
        self._nodes.append(node)
        self._add(f"REF::{_CAST}", result, [node.output[0], wide])

    def _type(self, number: int) -> str:
        name = self._add("Constant", f"{self._graph.name}:%type{number}", [])
        self._nodes[-1].domain = f"type {number}"
        self._nodes[-1].attribute.add(name="value", type=pb.AttributeProto.INT64, i=number)
        return name

    def _add(self, op_type: str, name: str, inputs: list[str]) -> str:
        node = pb.NodeProto(op_type=op_type, name=name, input=inputs, output=[name])
        self._nodes.append(node)
        return name


def _constants(node: pb.NodeProto) -> Iterator[pb.TensorProto]:
    if node.op_type == "Constant":
        yield from node.attribute[0].tensors


def _widened(raw: bytes, dtype: str) -> Array:
    return np.frombuffer(raw, numpy_dtype(dtype)).astype(np.float32)
