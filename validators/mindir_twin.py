"""The float32 twin of a MindIR graph, for want of kernels in float16 or bfloat16 on the CPU.

The twin is the same graph. Whatever has one of the two types there is held in float32, and every
result is rounded to its type at once: what a chip does that accumulates in float32. Weights,
constants, inputs and outputs keep their types; casts lie between them and the rest.
"""

from pathlib import Path

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.mindir_format import DATA_TYPES, LOW, external_files, read_model
from ascend_migrate.validators.mindir_edit import GraphEditor, editors, link, write_model

RULE = "the same graph computed in float32, every result rounded to its type at once"
"""What the twin is, for a finding."""

_LOW_CODES = {DATA_TYPES[name]: name for name in LOW}


def write_twin(path: Path, into: Path) -> Path | None:
    """Writes the twin of ``path`` into the folder ``into``; None if nothing in it is low.

    Files of weights are not copied where the two folders are on one file system.

    Raises:
        SourceError: not a MindIR file, or its weights lie outside its folder.
        CheckError: it is too large for one file.
    """
    model = read_model(path)
    if not _is_low(model):
        return None
    for editor in editors(model):
        _Widening(editor).apply(is_main=editor.graph is model.graph)
    for name in external_files(path):
        link((path.parent / name).resolve(), into / name)
    return write_model(model, path, into)


def _is_low(model: pb.ModelProto) -> bool:
    tensors = [*model.graph.parameter, *(t for i in model.graph.input for t in i.tensor)]
    return any(t.data_type in _LOW_CODES for t in tensors) or any(
        node.doc_string in LOW for g in (model.graph, *model.functions) for node in g.node
    )


class _Widening:
    """The twin of one graph: the main one, or a function."""

    def __init__(self, editor: GraphEditor) -> None:
        self._editor, self._graph = editor, editor.graph
        self._wide: dict[str, str] = {}
        self._low: dict[str, str] = {}

    def apply(self, *, is_main: bool) -> None:
        """Replaces the nodes of the graph."""
        for name in self._given() if is_main else ():
            self._widen(name)
        for node in list(self._graph.node):
            # The main graph returns what it is declared to; a function is called by its twin.
            last = is_main and node.output[0] == self._graph.output[0].name
            names = self._low if last else self._wide
            if self._editor.operator(node) != "Cast":  # which is rounded below like any other
                self._editor.make_float32(node, LOW)
            inputs = [names.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(inputs)
            self._editor.keep(node)
            if _is_low_constant(node):
                self._widen(node.output[0])
            elif node.doc_string in LOW:
                self._round(node.output[0], node.doc_string)
        self._editor.finish()

    def _given(self) -> list[str]:
        """Names of the weights and inputs of a low type."""
        weights = [p.name for p in self._graph.parameter if p.data_type in _LOW_CODES]
        inputs = [
            i.name for i in self._graph.input if any(t.data_type in _LOW_CODES for t in i.tensor)
        ]
        return [*weights, *inputs]

    def _round(self, name: str, dtype: str) -> None:
        self._low[name] = self._editor.cast(name, dtype)
        self._widen(name, self._low[name])

    def _widen(self, name: str, rounded: str = "") -> None:
        self._wide[name] = self._editor.cast(rounded or name, "float32")


def _is_low_constant(node: pb.NodeProto) -> bool:
    return node.op_type == "Constant" and any(
        tensor.data_type in _LOW_CODES for tensor in node.attribute[0].tensors
    )
