"""Lowers a loaded ONNX model to a MindIR graph, node by node in the order of the graph."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.load import LoadedModel
from ascend_migrate.converters.mindir.registry import (
    Node,
    attributes_of,
    lowering_of,
    schema_of,
)
from ascend_migrate.converters.mindir.values import (
    Shape,
    UnsupportedError,
    Value,
    constant,
    merge,
)
from ascend_migrate.converters.mindir.writer import INLINE_LIMIT, GraphWriter
from ascend_migrate.pipeline.errors import ConversionError, UnsupportedOperatorError
from ascend_migrate.pipeline.mindir_format import TensorInfo

_FOLD_LIMIT = 1 << 22
"""Elements: larger results (a mask of 2048 x 2048 is as large) are computed by the model itself
rather than stored in the file."""

_NOT_FOLDED = frozenset({"RandomNormal", "RandomUniform", "Bernoulli", "Multinomial", "Dropout"})


class Lowering:
    """The state of one conversion: the values by ONNX name, and the faults found so far."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.writer = GraphWriter()
        self.context = Context(self.writer)
        self.values: dict[str, Value] = {}
        self.tainted: set[str] = set()
        self.faults: list[str] = []

    def run(self) -> None:
        """Lowers every node.

        Raises:
            UnsupportedOperatorError: lists every node that has no exact counterpart.
        """
        graph = self.loaded.model.graph
        for name, array in self.loaded.weights.items():
            self.values[name] = replace(constant(name, array), weight=True)
        for info in graph.input:
            if info.name not in self.values:
                self._input(info.name)
        for node in graph.node:
            self._node(node)
        if self.faults:
            raise UnsupportedOperatorError("MindIR", self.faults)

    def outputs(self) -> list[tuple[TensorInfo, str]]:
        """Describes the outputs and makes sure that each is a tensor of the graph."""
        described = []
        for info in self.loaded.model.graph.output:
            value = self.values.get(info.name)
            if value is None:
                raise ConversionError(f"graph output {info.name!r} is computed by no node")
            sizes = tuple(s if isinstance(s, int) else None for s in value.sizes)
            ref = self.context.reference(value)
            described.append((TensorInfo(info.name, value.dtype, sizes), ref))
        return described

    def _input(self, name: str) -> None:
        if name not in self.loaded.types:
            raise ConversionError(f"graph input {name!r} is not a tensor of a type MindIR has")
        dtype, shape = self.loaded.types[name]
        if shape is None:
            raise ConversionError(f"graph input {name!r} has no shape; export with one")
        ref = self.writer.input(name, dtype, shape)
        self.values[name] = Value(name, dtype, shape, ref=ref)

    def _node(self, proto: onnx.NodeProto) -> None:
        if self.tainted.intersection(proto.input):
            # Its input is already reported; whatever goes wrong here would only repeat that.
            self._taint(proto, None)
            return
        lowering = lowering_of(proto, self.loaded.opsets)
        schema = schema_of(proto, self.loaded.opsets)
        if lowering is None or schema is None:
            known = "no such operator" if schema is None else "no lowering is written for it"
            self._taint(proto, known)
            return
        node = Node(
            proto.name,
            proto.op_type,
            schema.since_version,
            tuple(self.values[name] if name else None for name in proto.input),
            attributes_of(proto, schema),
            tuple(proto.output),
        )
        self.context.scope = f"{proto.op_type}/{proto.name or proto.output[0]}"
        try:
            folded = self._fold(proto, node)
            result = lowering(self.context, node) if folded is None else folded
        except UnsupportedError as error:
            self._taint(proto, str(error))
            return
        results = (result,) if isinstance(result, Value) else tuple(result)
        for name, value in zip(proto.output, results, strict=False):
            if name:
                self.values[name] = self._named(name, value)

    def _named(self, name: str, value: Value) -> Value:
        dtype, shape = self.loaded.types.get(name, (value.dtype, None))
        if dtype != value.dtype:
            raise ConversionError(
                f"{self.context.scope}: {name!r} became {value.dtype}, ONNX says {dtype}"
            )
        if value.weight:
            # The same weight under a second name stays one parameter.
            return value
        return replace(value, name=name, shape=merge(value.shape, shape))

    def _taint(self, proto: onnx.NodeProto, reason: str | None) -> None:
        self.tainted.update(name for name in proto.output if name)
        if reason is not None:
            opset = self.loaded.opsets.get(proto.domain.replace("ai.onnx", ""), "?")
            name = proto.name or proto.output[0]
            domain = f"{proto.domain}::" if proto.domain else ""
            self.faults.append(f"{name} ({domain}{proto.op_type}, opset {opset}): {reason}")

    def _fold(self, proto: onnx.NodeProto, node: Node) -> Sequence[Value] | None:
        """Computes a node whose inputs are all known, unless they are weights.

        Weights stay what they are in the file, so that each can be traced to the checkpoint.
        """
        given = [value for value in node.inputs if value is not None]
        if proto.op_type in _NOT_FOLDED or any(_kept(value) for value in given):
            return None
        if any(_size(self.loaded.types.get(name)) > _FOLD_LIMIT for name in proto.output):
            return None
        if any(item.type == onnx.AttributeProto.GRAPH for item in proto.attribute):
            return None
        feeds = {
            name: value.constant
            for name, value in zip(proto.input, node.inputs, strict=True)
            if value is not None
        }
        arrays = evaluate(proto, feeds, self.loaded)
        if arrays is None:
            return None
        return [constant(name, a) for name, a in zip(proto.output, arrays, strict=False)]


def evaluate(
    proto: onnx.NodeProto, feeds: dict[str, np.ndarray | None], loaded: LoadedModel
) -> list[np.ndarray] | None:
    """Runs one node with ONNX's reference implementation; None where that has none."""
    names = list(dict.fromkeys(name for name in proto.input if name))
    inputs = [onnx.ValueInfoProto(name=name) for name in names]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    graph = onnx.helper.make_graph([proto], "node", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=loaded.model.opset_import)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(model).run(None, feeds)
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, KeyError):
        # The reference implementation is Python code without declared errors; the model can
        # compute the node itself.
        return None
    found = iter(np.asarray(item) for item in results)
    return [next(found) if name else np.empty(0) for name in proto.output]


def _kept(value: Value) -> bool:
    if value.constant is None:
        return True
    return value.weight and value.floating and value.constant.ndim > 0


def _size(known: tuple[str, Shape | None] | None) -> int:
    if known is None or known[1] is None:
        return 0
    return int(np.prod([size for size in known[1] if isinstance(size, int)], dtype=np.int64))


def lower(
    loaded: LoadedModel, folder: Path, name: str, *, inline_limit: int = INLINE_LIMIT
) -> list[str]:
    """Lowers and writes a model.

    Returns:
        Paths of the written files within ``folder``, the graph first.

    Raises:
        UnsupportedOperatorError: lists every node that has no exact counterpart.
    """
    lowering = Lowering(loaded)
    lowering.run()
    return lowering.writer.write(folder, name, lowering.outputs(), inline_limit=inline_limit)
