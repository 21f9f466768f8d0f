"""Holding an ONNX source to the inputs that the user declares, and using what they fix.

A graph from torch.jit often accepts any size and asks at run time, in ``If`` nodes that neither
ATC nor MindIR has, what it was given. Declared sizes answer most of these questions in advance.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import onnx_ir as ir
import onnx_ir.passes.common as passes

from ascend_migrate.converters.onnx_folding import LARGEST
from ascend_migrate.pipeline.dtypes import BY_ONNX
from ascend_migrate.pipeline.inputs import Dim, InputSpec

Sizes = tuple[int | str | None, ...]


def input_faults(
    inputs: Sequence[InputSpec], graph: Mapping[str, tuple[str, Sizes | None]]
) -> list[str]:
    """Compares declared inputs with those of a graph.

    Args:
        inputs: as declared; a size may be fixed where the graph takes any.
        graph: element type and sizes, where known, of each input of the graph.

    Returns:
        One line for each fault.
    """
    names = [item.name for item in inputs]
    faults = [f"the graph has an input {name!r} more" for name in graph if name not in names]
    for item in inputs:
        if item.name not in graph:
            faults.append(f"the graph has no input {item.name!r}")
            continue
        dtype, shape = graph[item.name]
        if item.dtype != dtype:
            faults.append(f"{item.name!r} is {dtype} in the graph, not {item.dtype}")
        if shape is not None and not _agree(item.shape, shape):
            faults.append(f"{item.name!r} has the sizes {list(shape)} in the graph, not {item}")
    return faults


def declared(model: ir.Model) -> dict[str, tuple[str, Sizes | None]]:
    """Returns element type and sizes of each input that a caller feeds."""
    found: dict[str, tuple[str, Sizes | None]] = {}
    for value in model.graph.inputs:
        if value.name is None or value.name in model.graph.initializers:
            continue
        kind = BY_ONNX.get(int(value.dtype or 0))
        sizes = None if value.shape is None else tuple(map(_size, value.shape))
        found[value.name] = (kind.name if kind else "of an unknown type", sizes)
    return found


def fix_inputs(model: ir.Model, inputs: Sequence[InputSpec]) -> None:
    """Gives the graph's inputs their declared sizes, and settles what follows, in place."""
    passes.InlinePass()(model)
    shapes = {item.name: item.shape for item in inputs}
    for value in model.graph.inputs:
        if value.name in shapes:
            value.shape = ir.Shape(_declared_size(dim) for dim in shapes[value.name])
    weights = {value for value in model.graph.initializers.values() if _is_weight(value)}
    while True:
        _infer_shapes(model)
        nodes = list(model.graph.all_nodes())
        if not any(node.op_type == "If" for node in nodes):
            return
        _fold(model, weights)
        _forget(node for node in nodes if node.graph is None)
        passes.RemoveUnusedNodesPass()(model)
        # What a branch decides may decide the next one, until nothing changes any more.
        if len(list(model.graph.all_nodes())) == len(nodes):
            return


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is None or tensor.dtype.is_floating_point() or tensor.size > LARGEST


def _infer_shapes(model: ir.Model) -> None:
    """Infers all shapes anew: those in the file were true for any size."""
    results = [value for node in model.graph.all_nodes() for value in node.outputs]
    known = [value.shape for value in results]
    for value in results:
        value.shape = None
    passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    for value, shape in zip(results, known, strict=True):
        if value.shape is None:
            value.shape = shape


def _fold(model: ir.Model, weights: Collection[ir.Value]) -> None:
    """Computes what depends on no weight and no input, and takes the branches so decided."""
    from onnxscript.optimizer import fold_constants_ir

    def should_fold(node: ir.Node) -> bool | None:
        if any(value in weights for value in node.inputs):
            return False
        # Left alone by default; exporters compute paddings with it.
        return True if node.op_type == "ConstantOfShape" else None

    fold_constants_ir(
        model, should_fold=should_fold, input_size_limit=LARGEST, output_size_limit=LARGEST
    )


def _forget(gone: Iterable[ir.Node]) -> None:
    """Lets go of what branches that were not taken read, or it would count as used."""
    for node in gone:
        graphs = (a for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH)
        for inner in (inner for graph in graphs for inner in graph.as_graph().all_nodes()):
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def _agree(wanted: Sequence[int | Dim], found: Sizes) -> bool:
    if len(wanted) != len(found):
        return False
    # A dynamic dimension must be dynamic in the graph; a fixed one may be more general there.
    return all(
        not isinstance(size, int) or _declared_size(want) == size
        for want, size in zip(wanted, found, strict=True)
    )


def _declared_size(dim: int | Dim) -> int | str:
    if isinstance(dim, int):
        return dim
    return dim.low if dim.low == dim.high else dim.name


def _size(dim: int | ir.SymbolicDim) -> int | str | None:
    return dim if isinstance(dim, int) else dim.value
