"""What rewriting a MindIR graph for a judgement takes: casts, element types, and the file."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.mindir_format import TYPE_IDS

_CAST = "edited:Cast"

_TYPE_ARGUMENTS = {"Cast": 1, "Eye": 2}
"""Position of the element type among the inputs of the primitives that take one."""


class GraphEditor:
    """One graph of a model, the main one or a function, whose nodes are written anew in order.

    Args:
        model: the graph's; `prepared` has been called with it.
        graph: changed in place by `finish`.

    Attributes:
        graph: as given.
    """

    def __init__(self, model: pb.ModelProto, graph: pb.GraphProto) -> None:
        self.graph = graph
        self._operators = {entry.name: entry.op_type for entry in model.primitives}
        self._nodes: list[pb.NodeProto] = []
        self._types: dict[str, str] = {}
        self._numbers = {
            node.output[0]: node.attribute[0].i
            for node in graph.node
            if node.op_type == "Constant" and node.attribute[0].type == pb.AttributeProto.INT64
        }

    def operator(self, node: pb.NodeProto) -> str:
        """Returns the primitive that a node calls; "" where it calls none."""
        return self._operators.get(node.op_type.removeprefix("REF::"), "")

    def make_float32(self, node: pb.NodeProto, low: Collection[str]) -> None:
        """Makes a primitive that takes an element type, one of ``low``, take float32."""
        position = _TYPE_ARGUMENTS.get(self.operator(node))
        numbers = {TYPE_IDS[dtype] for dtype in low}
        if position is not None and self._numbers.get(node.input[position]) in numbers:
            node.input[position] = self._type("float32")

    def keep(self, node: pb.NodeProto) -> None:
        """Appends a node."""
        self._nodes.append(node)

    def cast(self, ref: str, dtype: str, name: str = "") -> str:
        """Appends a cast of ``ref`` and returns its name, a new one unless given."""
        return self._add(
            pb.NodeProto(op_type=f"REF::{_CAST}", input=[ref, self._type(dtype)]), name
        )

    def finish(self) -> None:
        """Makes the nodes that were appended those of the graph."""
        del self.graph.node[:]
        self.graph.node.extend(self._nodes)

    def _type(self, dtype: str) -> str:
        if dtype not in self._types:
            node = pb.NodeProto(op_type="Constant", domain=f"type {dtype}")
            node.attribute.add(name="value", type=pb.AttributeProto.INT64, i=TYPE_IDS[dtype])
            self._types[dtype] = self._add(node)
        return self._types[dtype]

    def _add(self, node: pb.NodeProto, name: str = "") -> str:
        node.name = name or f"{self.graph.name}:%edited{len(self._nodes)}"
        node.output.append(node.name)
        self._nodes.append(node)
        return node.name


def editors(model: pb.ModelProto) -> Iterator[GraphEditor]:
    """Yields an editor for each graph of a model, the main one first, and makes casts known."""
    model.primitives.add(name=_CAST, op_type="Cast", prim_type=pb.PrimitiveProto.PRIMITIVE_FUNCTION)
    for graph in (model.graph, *model.functions):
        yield GraphEditor(model, graph)


def link(source: Path, target: Path) -> None:
    """Makes a file of weights available under another name, without a copy if possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # A hard link: MindSpore follows a symbolic one, and refuses what lies outside its folder.
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def write_model(model: pb.ModelProto, path: Path, into: Path) -> Path:
    """Writes the rewritten model of ``path`` under the same name into the folder ``into``.

    Raises:
        CheckError: it is too large for one file, which protobuf ends at 2 GiB.
    """
    written = into / path.name
    try:
        written.write_bytes(model.SerializeToString(deterministic=True))
    except ValueError:
        raise CheckError(
            f"{path}: is too large to be rewritten as one file for a judgement"
        ) from None
    return written
