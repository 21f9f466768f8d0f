"""The float32 twin of a MindIR graph, for want of kernels in float16 or bfloat16 on the CPU.

The twin is the same graph. Whatever has one of the two types there is held in float32, and every
result is rounded to its type at once: what a chip does that accumulates in float32. Weights,
constants, inputs and outputs keep their types; casts lie between them and the rest.
"""

import shutil
from pathlib import Path

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.mindir_format import DATA_TYPES, LOW, external_files, read_model

RULE = "the same graph computed in float32, every result rounded to its type at once"
"""What the twin is, for a finding."""

_CAST = "twin:Cast"
_TYPE_IDS = {"float16": 42, "float32": 43, "bfloat16": 45}
"""mindspore.common.dtype type ids (MindSpore 2.10)."""

_TYPE_ARGUMENTS = {"Eye": 2}
"""Position of the element type among the inputs of primitives that make tensors from nothing."""

_LOW_CODES = {DATA_TYPES[name]: name for name in LOW}


def write_twin(path: Path, into: Path) -> Path | None:
    """Writes the twin of ``path`` into the folder ``into``; None if nothing in it is low.

    Files of weights are not copied where the two folders are on one file system.

    Raises:
        SourceError: not a MindIR file, or its weights lie outside its folder.
    """
    model = read_model(path)
    if not _is_low(model):
        return None
    model.primitives.add(name=_CAST, op_type="Cast", prim_type=pb.PrimitiveProto.PRIMITIVE_FUNCTION)
    operators = {entry.name: entry.op_type for entry in model.primitives}
    for graph in (model.graph, *model.functions):
        _Widening(graph, operators).apply(is_main=graph is model.graph)
    for name in external_files(path):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        _link((path.parent / name).resolve(), into / name)
    twin = into / path.name
    try:
        twin.write_bytes(model.SerializeToString(deterministic=True))
    except ValueError:  # protobuf's limit of 2 GiB
        raise SourceError(f"{path}: is too large for a float32 twin; split its weights") from None
    return twin


def _link(source: Path, target: Path) -> None:
    # A hard link: MindSpore follows a symbolic one, and refuses what lies outside its folder.
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _is_low(model: pb.ModelProto) -> bool:
    tensors = [*model.graph.parameter, *(t for i in model.graph.input for t in i.tensor)]
    return any(t.data_type in _LOW_CODES for t in tensors) or any(
        node.doc_string in LOW for g in (model.graph, *model.functions) for node in g.node
    )


class _Widening:
    """The twin of one graph: the main one, or a function."""

    def __init__(self, graph: pb.GraphProto, operators: dict[str, str]) -> None:
        self._graph, self._operators = graph, operators
        self._nodes: list[pb.NodeProto] = []
        self._wide: dict[str, str] = {}
        self._low: dict[str, str] = {}
        self._types: dict[str, str] = {}

    def apply(self, *, is_main: bool) -> None:
        """Replaces the nodes of the graph."""
        nodes = list(self._graph.node)
        for dtype, number in _TYPE_IDS.items():
            self._types[dtype] = self._constant(f"type {dtype}", number)
        numbers = {number: self._types[dtype] for dtype, number in _TYPE_IDS.items()}
        ids = {
            node.output[0]: node.attribute[0].i
            for node in nodes
            if node.op_type == "Constant" and node.attribute[0].type == pb.AttributeProto.INT64
        }
        for name in self._given() if is_main else ():
            self._widen(name)
        for node in nodes:
            # The main graph returns what it is declared to; a function is called by its twin.
            last = is_main and node.output[0] == self._graph.output[0].name
            names = self._low if last else self._wide
            inputs = [names.get(name, name) for name in node.input]
            position = _TYPE_ARGUMENTS.get(self._operators.get(node.op_type[len("REF::") :], ""))
            if position is not None and numbers.get(ids.get(inputs[position], 0)):
                inputs[position] = self._types["float32"]
            del node.input[:]
            node.input.extend(inputs)
            self._nodes.append(node)
            if _is_low_constant(node):
                self._widen(node.output[0])
            elif node.doc_string in LOW:
                self._round(node.output[0], node.doc_string)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _given(self) -> list[str]:
        """Names of the weights and inputs of a low type."""
        weights = [p.name for p in self._graph.parameter if p.data_type in _LOW_CODES]
        inputs = [
            i.name for i in self._graph.input if any(t.data_type in _LOW_CODES for t in i.tensor)
        ]
        return [*weights, *inputs]

    def _round(self, name: str, dtype: str) -> None:
        self._low[name] = self._cast(name, dtype)
        self._wide[name] = self._cast(self._low[name], "float32")

    def _widen(self, name: str) -> None:
        self._wide[name] = self._cast(name, "float32")

    def _cast(self, name: str, dtype: str) -> str:
        return self._add(pb.NodeProto(op_type=f"REF::{_CAST}", input=[name, self._types[dtype]]))

    def _constant(self, what: str, number: int) -> str:
        node = pb.NodeProto(op_type="Constant", domain=what)
        node.attribute.add(name="value", type=pb.AttributeProto.INT64, i=number)
        return self._add(node)

    def _add(self, node: pb.NodeProto) -> str:
        node.name = f"{self._graph.name}:%twin{len(self._nodes)}"
        node.output.append(node.name)
        self._nodes.append(node)
        return node.name


def _is_low_constant(node: pb.NodeProto) -> bool:
    return node.op_type == "Constant" and any(
        tensor.data_type in _LOW_CODES for tensor in node.attribute[0].tensors
    )
