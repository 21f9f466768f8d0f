"""Builds a MindIR graph node by node and writes it: same graph, same bytes.

Names are numbered in order of creation, equal calls are made once, and what no output needs is
left out. Branches and loop bodies are functions: graphs of their own that are called with all that
they use of the graph around them, as MindSpore's own compiler writes them. The model's inputs and
outputs, as the ONNX file names them, are kept as JSON in its ``doc_string``, which MindSpore
ignores (see pipeline/mindir_format.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.converters.mindir.files import (
    INLINE_LIMIT,
    WeightFile,
    describe,
    octets,
    write_files,
)
from ascend_migrate.converters.mindir.primitives import Primitive, table
from ascend_migrate.converters.mindir.values import Shape
from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.digest import bytes_digest
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.mindir_format import DATA_TYPES, LOW, Signature, TensorInfo

GRAPH = "main"


@dataclass
class _Shared:
    """What the functions of a model have in common with its main graph."""

    primitives: dict[tuple[Any, ...], pb.PrimitiveProto] = field(default_factory=dict)
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    functions: dict[str, "GraphWriter"] = field(default_factory=dict)


class GraphWriter:
    """Collects the nodes of one graph: the main one, or a function.

    A reference that belongs to another graph becomes an argument of the function that uses it.

    Args:
        shared: of the main graph that this is a function of; None to make a main graph.
    """

    def __init__(self, shared: _Shared | None = None) -> None:
        self._shared = _Shared() if shared is None else shared
        functions = self._shared.functions
        self._name = GRAPH if shared is None else f"function{len(functions)}"
        if shared is not None:
            functions[self._name] = self
        self._nodes: list[pb.NodeProto] = []
        self._calls: dict[tuple[Any, ...], str] = {}
        self._inputs: list[TensorInfo] = []
        self._arguments: list[str] = []
        self._captured: dict[str, str] = {}
        self._result = ""

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """Declares a graph input and returns its reference."""
        sizes = tuple(size if isinstance(size, int) else None for size in shape)
        self._inputs.append(TensorInfo(name, dtype, sizes))
        return f"{GRAPH}:{name}"

    def parameter(self, name: str, array: np.ndarray) -> str:
        """Declares a weight under its own name and returns its reference."""
        self._shared.parameters[name] = array
        return f"{GRAPH}:{name}"

    @property
    def has_functions(self) -> bool:
        """Whether the model has branches or loops."""
        return bool(self._shared.functions)

    def function(self) -> "GraphWriter":
        """Returns a new, empty function of the same model."""
        return GraphWriter(self._shared)

    def argument(self) -> str:
        """Declares the next argument of this function and returns its reference."""
        self._arguments.append(f"{self._name}:{len(self._arguments)}")
        return self._arguments[-1]

    def captured(self) -> dict[str, str]:
        """Returns what this function uses of other graphs, each with the argument it became.

        In the order of those arguments, which come after all that were declared before.
        """
        return dict(self._captured)

    def finish(self, results: Sequence[str]) -> None:
        """Makes a tuple of ``results`` what this function returns."""
        self.returns(self.call("MakeTuple", results, {}, "results"))

    def returns(self, result: str) -> None:
        """Makes ``result``, a tuple, what this function returns."""
        self._result = result

    def apply(self, function: "GraphWriter", inputs: Sequence[str], scope: str) -> str:
        """Returns the reference of a call of ``function`` with ``inputs`` as all its arguments."""
        return self._call(function._name, inputs, scope)

    def choose(
        self,
        condition: str,
        branches: Sequence[tuple["GraphWriter", Sequence[str]]],
        scope: str,
    ) -> str:
        """Returns the reference of a call of one of two functions.

        Args:
            condition: a bool of one element.
            branches: the function for true and that for false, each with all its arguments.
            scope: the ONNX node that the call is made for.
        """
        bound = [
            self.call("Partial", [branch._name, *inputs], {}, scope) for branch, inputs in branches
        ]
        chosen = self.call("Switch", [condition, *bound], {}, scope)
        return self._call(chosen, (), scope)

    def constant(self, value: Any) -> str:
        """Returns the reference of a constant: None, bool, int, float, str, tuple or array."""
        key = ("Constant", *_key(value))
        if key not in self._calls:
            node = pb.NodeProto(op_type="Constant")
            node.attribute.append(_attribute("value", value))
            self._add(key, node)
        return self._calls[key]

    def call(
        self,
        name: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any],
        scope: str,
        dtype: str = "",
    ) -> str:
        """Returns the reference of a call of the primitive ``name``.

        Args:
            name: a key of the primitive table.
            inputs: references, in the order of the primitive's arguments.
            attributes: attributes of the primitive itself.
            scope: the ONNX node that the call is made for; only shown in messages.
            dtype: element type of the result; kept in the file where it is a `LOW` one.
        """
        return self._call(self._primitive(table()[name], attributes), inputs, scope, dtype)

    def _call(self, called: str, inputs: Sequence[str], scope: str, dtype: str = "") -> str:
        local = [self.local(ref) for ref in inputs]
        key = (called, *local)
        if key not in self._calls:
            node = pb.NodeProto(op_type=f"REF::{called}", input=local, domain=scope)
            if dtype in LOW:
                node.doc_string = dtype
            self._add(key, node)
        return self._calls[key]

    def local(self, ref: str) -> str:
        """Returns ``ref`` as this graph knows it: what belongs to another is an argument."""
        graph, separator, _ = ref.partition(":")
        # Without a separator it is the name of a function.
        if graph == self._name or not separator:
            return ref
        if ref not in self._captured:
            self._captured[ref] = self.argument()
        return self._captured[ref]

    def _add(self, key: tuple[Any, ...], node: pb.NodeProto) -> None:
        node.name = f"{self._name}:%{len(self._nodes)}"
        node.output.append(node.name)
        self._nodes.append(node)
        self._calls[key] = node.name

    def _primitive(self, primitive: Primitive, attributes: Mapping[str, Any]) -> str:
        key = (primitive.name, *((k, _key(v)) for k, v in sorted(attributes.items())))
        primitives = self._shared.primitives
        if key not in primitives:
            kind = pb.PrimitiveProto.PRIMITIVE
            if primitive.function:
                kind = pb.PrimitiveProto.PRIMITIVE_FUNCTION
            entry = pb.PrimitiveProto(
                name=f"{primitive.name}:{len(primitives)}",
                op_type=primitive.name,
                instance_name="",
                prim_type=kind,
            )
            entry.attribute.extend(_attribute(k, v) for k, v in sorted(attributes.items()))
            primitives[key] = entry
        return primitives[key].name

    def write(
        self,
        folder: Path,
        name: str,
        outputs: Sequence[tuple[TensorInfo, str]],
        *,
        inline_limit: int = INLINE_LIMIT,
        shared: WeightFile | None = None,
    ) -> list[str]:
        """Writes the graph that yields ``outputs``.

        Args:
            folder: an existing folder.
            name: file name of the graph, such as ``model.mindir``.
            outputs: description and reference of each output.
            inline_limit: bytes of weights above which they are written to a second file.
            shared: the file that takes the weights of several graphs; None for one of their own.

        Returns:
            Paths of the written files within ``folder``, the graph first, without a shared one.
        """
        self.finish([ref for _, ref in outputs])
        signature = Signature(tuple(self._inputs), tuple(info for info, _ in outputs))
        model = self._model(signature)
        used = {ref for node in model.graph.node for ref in node.input}
        parameters = {n: a for n, a in self._shared.parameters.items() if f"{GRAPH}:{n}" in used}
        names = [*parameters, *(info.name for info in self._inputs)]
        names += [node.name.partition(":")[2] for node in model.graph.node]
        twice = [item for item, count in Counter(names).items() if count > 1]
        if twice:
            raise ConversionError(
                f"{name}: {twice[0]!r} is the name of two values; rename that input or weight"
            )
        return write_files(
            model, parameters, folder, name, inline_limit=inline_limit, shared=shared
        )

    def _model(self, signature: Signature) -> pb.ModelProto:
        model = pb.ModelProto(
            ir_version="1.1",
            producer_name="ascend-migrate",
            # The first release whose loader knows mind_ir_version 3.
            model_version="2.10.0",
            doc_string=signature.to_text(),
            little_endian=True,
            mind_ir_version=3,
        )
        self._fill(model.graph)
        for info in signature.inputs:
            tensor = model.graph.input.add(name=f"{GRAPH}:{info.name}").tensor.add()
            tensor.dims.extend(-1 if size is None else size for size in info.shape)
            tensor.data_type = DATA_TYPES[info.dtype]
        model.functions.extend(self._functions(model.graph))
        called = set().union(*map(_mentioned, (model.graph, *model.functions)))
        model.primitives.extend(
            entry for entry in self._shared.primitives.values() if entry.name in called
        )
        return model

    def _fill(self, graph: pb.GraphProto) -> pb.GraphProto:
        """Writes what the result needs into an empty message, and returns that."""
        used = {self._result}
        kept = []
        for node in reversed(self._nodes):
            if node.name in used:
                used.update(node.input)
                used.add(_callee(node))
                kept.append(node)
        graph.name = self._name
        graph.node.extend(reversed(kept))
        for argument in self._arguments:
            graph.input.add(name=argument)
        output = graph.output.add(name=self._result, denotation="Tuple")
        output.attr_info.type = pb.AttributeProto.TUPLE
        return graph

    def _functions(self, graph: pb.GraphProto) -> list[pb.GraphProto]:
        """Writes the functions that ``graph`` calls, directly or not, in order of creation."""
        written: dict[str, pb.GraphProto] = {}
        waiting = [graph]
        while waiting:
            for name in _mentioned(waiting.pop()) & self._shared.functions.keys() - written.keys():
                written[name] = self._shared.functions[name]._fill(pb.GraphProto())
                waiting.append(written[name])
        return [written[name] for name in self._shared.functions if name in written]


def _callee(node: pb.NodeProto) -> str:
    return node.op_type.partition("::")[2]


def _mentioned(graph: pb.GraphProto) -> set[str]:
    """Returns the names of all that the nodes take and call."""
    return {ref for node in graph.node for ref in (*node.input, _callee(node))}


def _key(value: Any) -> tuple[Any, ...]:
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.name, value.shape, bytes_digest(octets(value).data))
    if isinstance(value, tuple | list):
        return ("tuple", *(_key(item) for item in value))
    # repr keeps apart what == does not: 0.0 and -0.0, 1 and True and 1.0; and makes NaN equal.
    return (type(value).__name__, repr(value))


def _attribute(name: str, value: Any) -> pb.AttributeProto:
    attribute = pb.AttributeProto(name=name) if name else pb.AttributeProto()
    kinds = pb.AttributeProto
    if value is None:
        attribute.type = kinds.NONE
    elif isinstance(value, bool):
        attribute.type, attribute.i = kinds.BOOL, int(value)
    elif isinstance(value, int):
        attribute.type, attribute.i = kinds.INT64, value
    elif isinstance(value, float):
        attribute.type, attribute.f = kinds.FLOAT, value
    elif isinstance(value, str):
        attribute.type, attribute.s = kinds.STRING, value.encode()
    elif isinstance(value, np.ndarray):
        attribute.type = kinds.TENSORS
        describe(attribute.tensors.add(), value)
        attribute.tensors[0].raw_data = octets(value).tobytes()
    else:
        attribute.type = kinds.TUPLE
        attribute.values.extend(_item(item) for item in value)
    return attribute


def _item(value: Any) -> pb.AttributeProto:
    # Inside a tuple MindSpore keeps scalars in the repeated fields.
    attribute = _attribute("", value)
    if attribute.HasField("i"):
        attribute.ints.append(attribute.i)
        attribute.ClearField("i")
    if attribute.HasField("f"):
        attribute.floats.append(attribute.f)
        attribute.ClearField("f")
    if attribute.HasField("s"):
        attribute.strings.append(attribute.s)
        attribute.ClearField("s")
    return attribute
