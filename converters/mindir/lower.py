"""Lowers a loaded ONNX model to a MindIR graph, node by node in the order of the graph."""

from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.files import INLINE_LIMIT, WeightFile
from ascend_migrate.converters.mindir.folding import fold
from ascend_migrate.converters.mindir.load import LoadedModel, inner_types
from ascend_migrate.converters.mindir.masks import carries
from ascend_migrate.converters.mindir.registry import (
    Node,
    Subgraph,
    attributes_of,
    lowering_of,
    schema_of,
)
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, constant, merge
from ascend_migrate.converters.mindir.writer import GRAPH, GraphWriter
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import ConversionError, UnsupportedOperatorError
from ascend_migrate.pipeline.mindir_format import DATA_TYPES, TensorInfo

_UNWRITTEN = "no lowering is written for it"


class Lowering:
    """The lowering of one graph: its values by ONNX name, and the faults found so far.

    Args:
        loaded: the model.
        graph: its main graph, or one inside a node.
        context: where the nodes are written.
        outer: the lowering of the graph around this one, whose values it sees.
        path: names of the nodes around this graph, each followed by "/"; shown in messages.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        graph: onnx.GraphProto,
        context: Context,
        outer: "Lowering | None" = None,
        path: str = "",
    ) -> None:
        self.loaded, self.graph, self.context, self.path = loaded, graph, context, path
        self.types = loaded.types if outer is None else inner_types(graph)
        self.values: MutableMapping[str, Value] = {}
        self.tainted: set[str] = set()
        if outer is not None:
            self.values = ChainMap({}, outer.values)
            self.tainted |= outer.tainted
        self.faults: list[str] = []

    def main(self) -> None:
        """Lowers the main graph.

        Raises:
            UnsupportedOperatorError: lists every node that has no exact counterpart.
        """
        for name, array in self.loaded.weights.items():
            self.values[name] = replace(constant(name, array), weight=True)
        for info in self.graph.input:
            if info.name not in self.values:
                self._input(info.name)
        self.nodes()
        if self.faults:
            raise UnsupportedOperatorError("MindIR", self.faults)

    def nodes(self, *, doomed: bool = False) -> None:
        """Lowers every node, or only finds those without a lowering if the graph is doomed."""
        for node in self.graph.node:
            self._node(node, doomed=doomed or bool(self.tainted.intersection(node.input)))

    def outputs(self) -> list[tuple[TensorInfo, str]]:
        """Describes the outputs and makes sure that each is a tensor of the graph."""
        described = []
        for info in self.graph.output:
            value = self._value(info.name, "graph output")
            try:
                ref = self._computed(value)
                sizes = tuple(s if isinstance(s, int) else None for s in value.sizes)
            except UnsupportedError as error:
                raise ConversionError(f"graph output {info.name!r}: {error}") from error
            described.append((TensorInfo(info.name, value.dtype, sizes), ref))
        return described

    def _computed(self, value: Value) -> str:
        """Returns the reference of an output; an input that is passed on is copied.

        MindSpore would hand back the very tensor that it was given, and run nothing.
        """
        ref = self.context.reference(value)
        inputs = {f"{GRAPH}:{info.name}" for info in self.graph.input}
        if ref not in inputs or value.weight:
            return ref
        copy = self.context.emit("Identity", value, dtype=value.dtype, shape=value.shape)
        return self.context.reference(copy)

    def _input(self, name: str) -> None:
        dtype, shape = self.types.get(name, ("", None))
        if dtype not in DATA_TYPES:
            raise ConversionError(
                f"graph input {name!r} is no tensor of a type that MindIR has "
                f"({', '.join(DATA_TYPES)}); make it one"
            )
        if shape is None:
            raise ConversionError(f"graph input {name!r} has no shape; export with one")
        ref = self.context.writer.input(name, dtype, shape)
        self.values[name] = _empty(Value(name, dtype, shape, ref=ref))
        self.context.inputs.append(self.values[name])

    def _node(self, proto: onnx.NodeProto, *, doomed: bool) -> None:
        lowering = lowering_of(proto, self.loaded.opsets)
        schema = schema_of(proto, self.loaded.opsets)
        if lowering is None or schema is None:
            self._taint(proto, "no such operator" if schema is None else _UNWRITTEN)
            return
        if doomed:
            # Its input is already reported; whatever goes wrong here would only repeat that.
            self._doom(proto)
            return
        attributes = attributes_of(proto, schema)
        for name, value in attributes.items():
            if isinstance(value, onnx.GraphProto):
                attributes[name] = self._subgraph(value, self._inside(proto, name))
        where = f"{self._path(proto)}: input"
        node = Node(
            proto.name,
            proto.op_type,
            schema.since_version,
            tuple(self._value(name, where) if name else None for name in proto.input),
            attributes,
            tuple(proto.output),
        )
        self.context.scope = f"{proto.op_type}/{self._path(proto)}"
        try:
            known = [self.types.get(name) for name in proto.output]
            folded = fold(proto, node, self.loaded, known)
            result = lowering(self.context, node) if folded is None else folded
        except UnsupportedError as error:
            if error.nodes is None:
                self._taint(proto, str(error))
                self._doom(proto)
            else:
                self._taint(proto, None)
                self.faults += error.nodes
            return
        results = (result,) if isinstance(result, Value) else tuple(result)
        if carries(proto.op_type, node.inputs):
            results = tuple(replace(value, masked=True) for value in results)
        for name, value in zip(proto.output, results, strict=False):
            if name:
                self.values[name] = self._named(name, value)

    def _subgraph(self, graph: onnx.GraphProto, path: str) -> Subgraph:
        types = inner_types(graph)

        def lower(context: Context, inputs: Sequence[Value]) -> list[Value]:
            scope = context.scope
            inner = Lowering(self.loaded, graph, context, self, path)
            for info, value in zip(graph.input, inputs, strict=False):
                inner.values[info.name] = value
            inner.nodes()
            context.scope = scope
            if inner.faults or inner.tainted.intersection(info.name for info in graph.output):
                raise UnsupportedError("", nodes=inner.faults)
            return [inner._value(info.name, f"{path} output") for info in graph.output]

        return Subgraph(_count(graph), tuple(types.get(info.name) for info in graph.output), lower)

    def _value(self, name: str, what: str) -> Value:
        if name not in self.values:
            raise ConversionError(f"{what} {name!r} is computed by no node")
        return self.values[name]

    def _named(self, name: str, value: Value) -> Value:
        dtype, shape = self.types.get(name, (value.dtype, None))
        if dtype != value.dtype:
            raise ConversionError(
                f"{self.context.scope}: {name!r} became {value.dtype}, ONNX says {dtype}"
            )
        if value.weight:
            # The same weight under a second name stays one parameter.
            return value
        elements = value.elements
        if value.constant is None and elements and all(isinstance(e, int) for e in elements):
            array = np.array(elements, np.int64)
            return constant(name, array if value.rank else array.reshape(()))
        return _empty(replace(value, name=name, shape=merge(value.shape, shape)))

    def _taint(self, proto: onnx.NodeProto, reason: str | None) -> None:
        self.tainted.update(name for name in proto.output if name)
        if reason is not None:
            opset = self.loaded.opsets.get(proto.domain.replace("ai.onnx", ""), "?")
            domain = f"{proto.domain}::" if proto.domain else ""
            what = f"{self._path(proto)} ({domain}{proto.op_type}, opset {opset})"
            self.faults.append(f"{what}: {reason}")

    def _doom(self, proto: onnx.NodeProto) -> None:
        """Taints a node that cannot be lowered, and looks for more such nodes inside it."""
        self._taint(proto, None)
        for item in proto.attribute:
            if item.HasField("g"):
                path = self._inside(proto, item.name)
                inner = Lowering(self.loaded, item.g, self.context, self, path)
                inner.nodes(doomed=True)
                self.faults += inner.faults

    def _path(self, proto: onnx.NodeProto) -> str:
        return self.path + (proto.name or proto.output[0])

    def _inside(self, proto: onnx.NodeProto, attribute: str) -> str:
        return f"{self._path(proto)}/{attribute.removesuffix('_branch')}/"


def _count(graph: onnx.GraphProto) -> int:
    """Returns the number of nodes, those of inner graphs included."""
    return len(graph.node) + sum(
        _count(item.g) for node in graph.node for item in node.attribute if item.HasField("g")
    )


def _empty(value: Value) -> Value:
    """Makes a tensor without elements a constant; MindSpore's kernels take none."""
    sizes = [size for size in value.shape or () if isinstance(size, int)]
    if 0 not in sizes or len(sizes) != value.rank:
        return value
    return constant(value.name, np.empty(sizes, numpy_dtype(value.dtype)))


def faults_of(loaded: LoadedModel) -> tuple[str, ...]:
    """Returns a line for each node that has no exact counterpart; writes nothing."""
    try:
        _lowered(loaded)
    except UnsupportedOperatorError as error:
        return error.nodes
    return ()


def lower(
    loaded: LoadedModel,
    folder: Path,
    name: str,
    *,
    inline_limit: int = INLINE_LIMIT,
    weights: WeightFile | None = None,
) -> tuple[list[str], list[str]]:
    """Lowers and writes a model.

    Args:
        loaded: the model.
        folder: an existing folder.
        name: file name of the graph.
        inline_limit: bytes of weights above which they are written to a second file.
        weights: the file that takes the weights of several graphs; None for one of their own.

    Returns:
        Paths of the written files within ``folder``, the graph first, and notes for the user.

    Raises:
        UnsupportedOperatorError: lists every node that has no exact counterpart.
    """
    lowering = _lowered(loaded)
    writer = lowering.context.writer
    paths = writer.write(
        folder, name, lowering.outputs(), inline_limit=inline_limit, shared=weights
    )
    dynamic = any(
        not isinstance(size, int) for value in lowering.context.inputs for size in value.sizes
    )
    notes = [_SEVERAL_SIZES] if writer.has_functions and dynamic else []
    return paths, [*lowering.context.notes, *notes]


def _lowered(loaded: LoadedModel) -> Lowering:
    lowering = Lowering(loaded, loaded.model.graph, Context(GraphWriter()))
    lowering.main()
    return lowering


_SEVERAL_SIZES = (
    "The MindIR has branches or loops: call set_inputs with the dynamic sizes as None before it "
    "runs, because MindSpore compiles such a graph only once."
)
