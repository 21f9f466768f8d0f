"""Computes at conversion what depends on no input and on no weight."""

import warnings
from collections.abc import Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from ascend_migrate.converters.mindir.load import LoadedModel
from ascend_migrate.converters.mindir.registry import Node
from ascend_migrate.converters.mindir.values import Shape, Value, constant

_FOLD_LIMIT = 1 << 22
"""Elements: larger results (a mask of 2048 x 2048 is as large) are computed by the model itself
rather than stored in the file."""

_RANDOM = {"RandomNormal", "RandomUniform", "Bernoulli", "Multinomial", "Dropout"}
# What they yield is no array.
_SEQUENCES = {"SequenceEmpty", "SequenceConstruct", "SplitToSequence", "Optional"}
_NOT_FOLDED = frozenset(_RANDOM | _SEQUENCES)


def fold(
    proto: onnx.NodeProto,
    node: Node,
    loaded: LoadedModel,
    results: Sequence[tuple[str, Shape | None] | None],
) -> list[Value] | None:
    """Computes a node whose inputs are all known, unless they are weights.

    Weights stay what they are in the file, so that each can be traced to the checkpoint.

    Args:
        proto: the node.
        node: the same node with its values.
        loaded: the model that it belongs to.
        results: element type and shape of each of its outputs, as far as known.
    """
    given = [value for value in node.inputs if value is not None]
    if proto.op_type in _NOT_FOLDED or any(_kept(value) for value in given):
        return None
    if any(_size(known) > _FOLD_LIMIT for known in results):
        return None
    if any(item.type == onnx.AttributeProto.GRAPH for item in proto.attribute):
        return None
    feeds = {
        name: value.constant
        for name, value in zip(proto.input, node.inputs, strict=True)
        if value is not None
    }
    arrays = evaluate(proto, feeds, loaded)
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
