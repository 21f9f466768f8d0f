"""Lowering a float32 graph to float16 or bfloat16, as the policy says.

A tensor is held in the lower type where an operation makes it that computes in the lower type, and
casts lie where the two types meet. Inputs and outputs of the model, and of bodies of branches and
loops, keep their types: callers do not change, and the state of a loop is not rounded each time.

Weights are stored rounded. Any other constant that the type does not hold exactly stays float32
behind a cast, which every compiler computes once: so the graph still says its numbers in full.
"""

from collections import Counter
from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from ascend_migrate.converters.onnx_types import dtype_of, schema_of
from ascend_migrate.converters.onnx_weights import CHECKPOINT_NAME
from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.precision import MOVES, SPREADING, Precision, module_of

FLOAT = ir.DataType.FLOAT

_INDIFFERENT = frozenset({"Cast", "Shape", "Size"})
"""Operators that read a float of either type alike: their result is no float of that type."""

_EXACT = frozenset({"BOOL", "INT8", "UINT8"})
"""Types whose numbers float16 holds, and bfloat16 nearly all: as exactly as the cast of a float."""

_HALF = "tensor(float16)"
"""Stands for both types in a schema: at opset 17 many operators lack bfloat16, which MindIR has."""


def lower_precision(model: ir.Model, policy: Precision, weights: Collection[str]) -> list[str]:
    """Lowers ``model`` in place.

    Args:
        model: with the element type of every value known, functions and constants included.
        policy: the lower type, and what stays float32.
        weights: names of the initializers that the source accounts for; others are constants.

    Returns:
        Notes for the user.

    Raises:
        ConversionError: a pattern of the policy names nothing in the graph.
    """
    passes.InlinePass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.TopologicalSortPass()(model)
    plan = _Plan(model, policy, frozenset(weights))
    plan.make()
    for graph in (model.graph, *model.graph.subgraphs()):
        _Rewriting(graph, plan).apply()
    return plan.notes()


class _Plan:
    """Which nodes stay in float32.

    Attributes:
        low: the lower type.
        kept: nodes that compute in float32.
        lowered: nodes that compute in the lower type.
        stored: initializers that are stored in the lower type.
    """

    def __init__(self, model: ir.Model, policy: Precision, weights: Collection[str]) -> None:
        self.policy, self.low = policy, ir.DataType(BY_NAME[policy.dtype].onnx or 0)
        self._graph, self._weights = model.graph, weights
        self._opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 17))
        self.kept: set[ir.Node] = set()
        self.lowered: set[ir.Node] = set()
        self.stored: set[ir.Value] = set()
        self._unused = set(policy.keep_float32)
        self._odd: list[str] = []
        self._computed: dict[ir.Value, bool] = {}

    def make(self) -> None:
        """Decides about every node and every initializer."""
        nodes = list(self._graph.all_nodes())
        initializers = list(self._initializers())
        for node in nodes:
            self._keep_by_rule(node)
        if self._unused:
            raise ConversionError(
                f"keep_float32: {', '.join(sorted(self._unused))} matches no operator type, module "
                "or node of the graph; the report of a run without it names them"
            )
        for value in initializers:
            self._keep_out_of_range(value)
        for node in nodes:
            if node not in self.kept and _computes(node) and not self._follows_float32(node):
                self.lowered.add(node)
        for node in reversed(nodes):
            self._follow_back(node)
        for value in initializers:
            if self._wanted(value) and (self._is_weight(value) or self._is_exact(value)):
                self.stored.add(value)

    def notes(self) -> list[str]:
        """Says what was lowered, and what was not."""
        kept = Counter(node.op_type for node in self.kept if node.op_type not in MOVES)
        said = ", ".join(f"{name} x{count}" for name, count in sorted(kept.items()))
        made = sum(1 for node in self.lowered if node.op_type not in MOVES)
        first = f"Computes in {self.policy.dtype}, as asked for: {made} operations"
        return [f"{first}; in float32: {said}." if said else f"{first}.", *self._odd]

    def is_low(self, value: ir.Value) -> bool:
        """Whether a value was float32 and is now of the lower type."""
        return value in self.stored or (
            value.producer() in self.lowered and value.dtype == self.low
        )

    def _keep_by_rule(self, node: ir.Node) -> None:
        module = module_of(node.metadata_props)
        patterns = self.policy.patterns_for(node.op_type, module, node.name or "")
        self._unused.difference_update(patterns)
        if not _computes(node):
            return
        standard = node.domain in ("", "ai.onnx")
        if (
            patterns
            or self.policy.keeps_by_default(node.op_type)
            or not (standard and self._takes_half(node))
        ):
            self.kept.add(node)

    def _takes_half(self, node: ir.Node) -> bool:
        """Whether the node can compute in the lower type at all."""
        values = [*node.inputs, *node.outputs]
        sequences = [v for v in values if v and not isinstance(v.type, ir.TensorType | None)]
        bodies = [a for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
        if sequences or bodies or "dtype" in node.attributes:
            return False
        if node.op_type == "Cast":
            source = dtype_of(node.inputs[0])
            return source is not None and source.name in _EXACT
        if node.op_type == "ConstantOfShape":
            return _exact(_value_of(node), self.low)
        schema = schema_of(node, self._opset)
        if schema is None:
            return False
        pairs = [(schema.inputs, i, v) for i, v in enumerate(node.inputs)]
        pairs += [(schema.outputs, i, v) for i, v in enumerate(node.outputs)]
        return all(
            dtype_of(value) != FLOAT or _HALF in formal[min(i, len(formal) - 1)].types
            for formal, i, value in pairs
            if value is not None and formal
        )

    def _keep_out_of_range(self, value: ir.Value) -> None:
        """Keeps the readers of a constant that the lower type cannot say."""
        fault = self._range_fault(value)
        if not fault:
            return
        readers = list(dict.fromkeys(n for n in self._readers(value) if n not in self.kept))
        self.kept.update(readers)
        if readers:
            names = ", ".join(node.name or node.op_type for node in readers)
            self._odd.append(f"{names}: in float32, for {value.name!r} {fault}.")

    def _range_fault(self, value: ir.Value) -> str:
        array = _array(value)
        finite = np.abs(array[np.isfinite(array)])
        largest = float(finite.max()) if finite.size else 0.0
        if largest > self.policy.largest:
            return f"holds {largest:.4g}, above {self.policy.dtype}'s largest number"
        if self._is_weight(value):
            return ""
        smallest = float(finite[finite > 0].min()) if np.any(finite > 0) else 1.0
        if smallest < self.policy.smallest:
            return f"holds {smallest:.4g}, which {self.policy.dtype} holds with fewer digits"
        return ""

    def _readers(self, value: ir.Value) -> Iterator[ir.Node]:
        """Yields the nodes that read a value as it is, moved or carried on, and what moves it."""
        for node in value.consumers():
            if not _computes(node):
                continue
            yield node
            if node.op_type in MOVES | SPREADING:
                for output in node.outputs:
                    yield from self._readers(output)

    def _follows_float32(self, node: ir.Node) -> bool:
        """Whether a node only moves float32 tensors that are computed, not stored."""
        if node.op_type not in MOVES:
            return False
        computed = [v for v in node.inputs if v is not None and self._is_computed(v)]
        if not computed or not all(self._is_float32(v) for v in computed):
            return False
        self.kept.add(node)
        return True

    def _follow_back(self, node: ir.Node) -> None:
        """Leaves in float32 what only moves constants for nodes in float32."""
        if node.op_type not in MOVES or node not in self.lowered:
            return
        if any(v is not None and self._is_computed(v) for v in node.inputs):
            return
        readers = [n for v in node.outputs for n in v.consumers() if _computes(n)]
        if readers and all(reader in self.kept for reader in readers):
            self.lowered.discard(node)
            self.kept.add(node)

    def _is_computed(self, value: ir.Value | None) -> bool:
        """Whether a float32 value depends on the model's inputs."""
        if value is None or dtype_of(value) != FLOAT or value.is_initializer():
            return False
        if value not in self._computed:
            node = value.producer()
            self._computed[value] = (
                node is None
                or node.op_type not in MOVES
                or any(self._is_computed(item) for item in node.inputs)
            )
        return self._computed[value]

    def _is_float32(self, value: ir.Value) -> bool:
        node = value.producer()
        return node is None or node in self.kept

    def _wanted(self, value: ir.Value) -> bool:
        """Whether some node reads an initializer in the lower type, and none in float32."""
        readers = {node in self.lowered for node in value.consumers() if _computes(node)}
        return readers == {True} and not value.is_graph_output()

    def _is_weight(self, value: ir.Value) -> bool:
        return str(value.meta.get(CHECKPOINT_NAME, value.name)) in self._weights

    def _is_exact(self, value: ir.Value) -> bool:
        return _exact(_array(value), self.low)

    def _initializers(self) -> Iterator[ir.Value]:
        for graph in (self._graph, *self._graph.subgraphs()):
            for value in graph.initializers.values():
                if value.const_value is not None and dtype_of(value) == FLOAT:
                    yield value


class _Rewriting:
    """The rewriting of one graph: types of tensors, and casts where they meet."""

    def __init__(self, graph: ir.Graph, plan: _Plan) -> None:
        self._graph, self._plan = graph, plan
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def apply(self) -> None:
        """Rewrites the graph in place."""
        low = self._plan.low
        for value in self._graph.initializers.values():
            if value in self._plan.stored and value.const_value is not None:
                with np.errstate(over="ignore", under="ignore"):
                    array = _array(value).astype(numpy_dtype(self._plan.policy.dtype))
                value.const_value = ir.Tensor(array, name=value.name)
                value.type = ir.TensorType(low)
        for node in list(self._graph):
            if node in self._plan.lowered:
                self._feed(node, low)
                for output in node.outputs:
                    if dtype_of(output) == FLOAT:
                        output.type = ir.TensorType(low)
                _restate(node, low)
            elif node.op_type not in _INDIFFERENT:
                self._feed(node, FLOAT)
        for place, value in enumerate(list(self._graph.outputs)):
            if self._plan.is_low(value):
                self._graph.outputs[place] = self._returned(value)

    def _feed(self, node: ir.Node, wanted: ir.DataType) -> None:
        """Gives a node its floats in the type that it computes in."""
        pair = {FLOAT, self._plan.low}
        for place, value in enumerate(node.inputs):
            if value is None or value.dtype == wanted or value.dtype not in pair:
                continue
            if wanted == FLOAT and not self._plan.is_low(value):
                continue  # of the lower type already in the source
            node.replace_input_with(place, self._cast(value, wanted, node))

    def _cast(self, value: ir.Value, wanted: ir.DataType, before: ir.Node) -> ir.Value:
        """Returns the value in the other type, cast once in each graph."""
        if (value, wanted) not in self._casts:
            node = _cast_node(value, wanted, f"{value.name}/{wanted.name.lower()}")
            node.metadata_props.update(before.metadata_props)
            self._graph.insert_before(before, node)
            self._casts[value, wanted] = node.outputs[0]
        return self._casts[value, wanted]

    def _returned(self, value: ir.Value) -> ir.Value:
        """Returns an output in float32 under its own name; what was computed gets another."""
        name, value.name = value.name, f"{value.name}/{self._plan.low.name.lower()}"
        node = _cast_node(value, FLOAT, name or "")
        node.name = f"{name}/float"
        self._graph.append(node)
        return node.outputs[0]


def _cast_node(value: ir.Value, wanted: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], attributes={"to": int(wanted)}, name=name)
    node.outputs[0].name = name
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(wanted), value.shape
    return node


def _restate(node: ir.Node, low: ir.DataType) -> None:
    """Changes the attributes that name the element type of the result."""
    if node.op_type == "Cast":
        node.attributes["to"] = ir.AttrInt64("to", int(low))
    if node.op_type == "ConstantOfShape":
        array = _value_of(node).astype(low.numpy())
        node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(array))


def _value_of(node: ir.Node) -> np.ndarray:
    given = node.attributes.get("value")
    return np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()


def _computes(node: ir.Node) -> bool:
    """Whether a node reads or makes float32 tensors, beyond asking for their sizes."""
    if any(dtype_of(value) == FLOAT for value in node.outputs):
        return True
    if node.op_type in _INDIFFERENT:
        return False
    return any(value is not None and dtype_of(value) == FLOAT for value in node.inputs)


def _array(value: ir.Value) -> np.ndarray:
    if value.const_value is None:
        raise TypeError("an initializer has a tensor")
    return value.const_value.numpy()


def _exact(array: np.ndarray, low: ir.DataType) -> bool:
    """Whether the lower type holds every element as it is."""
    with np.errstate(over="ignore", under="ignore"):
        back = array.astype(low.numpy()).astype(np.float32)
    return bool(np.array_equal(back, array, equal_nan=True))
