"""A graph as the forecast walks it: its nodes in order, its weights mapped, and who reads what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ascend_migrate.pipeline.cann.keep_lists import called
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.onnx_signature import load_graph
from ascend_migrate.pipeline.precision import MOVES, module_of
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.forecast.nodes import NodeRunner, captured, reads
from ascend_migrate.validators.ledger.stored_weights import onnx_weights
from ascend_migrate.validators.onnx_lowered import PLAIN

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Step:
    """One node.

    Attributes:
        index: its place in the graph.
        node: it.
        name: its own or, where it has none, what ATC's parser calls it.
        module: qualified name of the module that it came from; "" where that is not known.
        reads: names of what it reads, bodies inside it included.
        varies: whether it depends on the model's inputs, be it on their sizes alone.
        computes: whether its arithmetic could be another: it varies, reads or makes floats, and
            neither only moves elements nor holds bodies.
        moves: whether it varies, and only moves floats.
    """

    index: int
    node: "onnx.NodeProto"
    name: str
    module: str
    reads: tuple[str, ...]
    varies: bool
    computes: bool
    moves: bool

    @property
    def op_type(self) -> str:
        """Its operator."""
        return str(self.node.op_type)


@dataclass(frozen=True, slots=True)
class Graph:
    """The main graph of a model, its functions written out.

    Attributes:
        steps: the nodes, each after what it reads.
        weights: the initializers by name; those in other files are mapped.
        inputs: names of what a caller feeds.
        outputs: names of the results.
        computed: names of the tensors that depend on the inputs; all others are constants.
        constants: the step that makes a tensor which depends on no input.
        makers: the step that makes a float tensor which depends on the inputs.
        readers: the steps that read a tensor.
        last: for each step the names that no later one reads.
        opaque: nodes with bodies, which are computed in float32 whole.
        runner: runs the nodes.
    """

    steps: tuple[Step, ...]
    weights: Mapping[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    computed: frozenset[str]
    constants: Mapping[str, int]
    makers: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]
    last: tuple[tuple[str, ...], ...]
    opaque: tuple[str, ...]
    runner: NodeRunner


def open_graph(path: Path) -> Graph:
    """Reads an ONNX file; nothing of its weights is read yet.

    Raises:
        SourceError: it is damaged, or has weights that arrays cannot hold.
    """
    model = load_graph(path)
    weights = {item.name: item.array for item in onnx_weights(path)}
    if model.functions:
        model = _inlined(path, model)
    missing = [t.name for t in model.graph.initializer if t.name not in weights]
    if missing or model.graph.sparse_initializer:
        names = missing or [t.values.name for t in model.graph.sparse_initializer]
        raise SourceError(f"{path}: weight {names[0]!r} is of a type that is not forecast")
    inputs = tuple(item.name for item in model.graph.input if item.name not in weights)
    computed = set(inputs)
    integral = _integral(model)
    steps = tuple(_steps(model.graph, computed, integral))
    readers: dict[str, list[int]] = {}
    for step in steps:
        for name in step.reads:
            readers.setdefault(name, []).append(step.index)
    outputs = tuple(item.name for item in model.graph.output)
    last: list[list[str]] = [[] for _ in steps]
    for name, places in readers.items():
        if name not in weights and name not in outputs:
            last[places[-1]].append(name)
    return Graph(
        steps=steps,
        weights=weights,
        inputs=inputs,
        outputs=outputs,
        computed=frozenset(computed),
        constants={n: s.index for s in steps if not s.varies for n in s.node.output if n},
        makers={
            name: step.index
            for step in steps
            if step.computes or step.moves
            for name in step.node.output
            if name and name not in integral
        },
        readers={name: tuple(places) for name, places in readers.items()},
        last=tuple(tuple(names) for names in last),
        opaque=tuple(step.name for step in steps if _has_bodies(step.node)),
        runner=NodeRunner(
            {item.domain: item.version for item in model.opset_import}, model.ir_version
        ),
    )


def _inlined(path: Path, model: "onnx.ModelProto") -> "onnx.ModelProto":
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # C++ behind it, without declared errors
        raise SourceError(f"{path}: its functions do not unfold: {in_one_line(error)}") from None


def _integral(model: "onnx.ModelProto") -> frozenset[str]:
    """Returns the names of tensors that are known to hold no floats."""
    import onnx

    floats = {getattr(onnx.TensorProto, kind) for kind in ("FLOAT", "FLOAT16", "BFLOAT16")}
    try:
        # Of a copy without weights: what is external was not read, and types need none.
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # C++ behind it, without declared errors; then nothing is known
        graph = model.graph
    infos = (*graph.input, *graph.output, *graph.value_info)
    kinds = {item.name: item.type.tensor_type.elem_type for item in infos}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return frozenset(name for name, kind in kinds.items() if kind and kind not in floats)


def _steps(
    graph: "onnx.GraphProto", computed: set[str], integral: frozenset[str]
) -> Iterator[Step]:
    """Yields the nodes; adds to ``computed`` what depends on the inputs, which it begins with."""
    named = called(graph.node)
    for index, (name, node) in enumerate(zip(named, graph.node, strict=True)):
        names = tuple(reads(node))
        makes = [item for item in node.output if item]
        varies = not computed.isdisjoint(names)
        if varies:
            computed.update(makes)
        floats = varies and not integral.issuperset((*names, *makes))
        plain = node.op_type in PLAIN or _has_bodies(node)
        moves = floats and node.op_type in MOVES and not node.domain
        moves = moves and not integral.issuperset(makes)
        computes = floats and not plain and node.op_type not in MOVES
        module = module_of({item.key: item.value for item in node.metadata_props})
        yield Step(index, node, name, module, names, varies, computes, moves)


def _has_bodies(node: "onnx.NodeProto") -> bool:
    return bool(captured(node)) or any(a.HasField("g") or a.graphs for a in node.attribute)
