"""Computes at conversion what depends on no input and on no weight."""

import warnings
from collections.abc import Container, Mapping, Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from ascend_migrate.converters.mindir.load import LoadedModel
from ascend_migrate.converters.mindir.registry import Node
from ascend_migrate.converters.mindir.values import Shape, Value, constant, is_exact
from ascend_migrate.pipeline.mindir_format import LOW

_FOLD_LIMIT = 1 << 22
"""Elements: larger results (a mask of 2048 x 2048 is as large) are computed by the model itself
rather than stored in the file."""

_RANDOM = {"RandomNormal", "RandomUniform", "Bernoulli", "Multinomial", "Dropout"}
# What they yield is no array.
_SEQUENCES = {"SequenceEmpty", "SequenceConstruct", "SplitToSequence", "Optional"}
_NOT_FOLDED = frozenset(_RANDOM | _SEQUENCES)

_MEANT_OTHERWISE = {"Softmax": 13, "LogSoftmax": 13, "Hardmax": 13, "PRelu": 7}
"""Version from which the reference implementation has an operator right: it knows one meaning.

Nor does it know the attribute broadcast, which operators had up to opset 6."""


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
    if proto.op_type in _NOT_FOLDED or any(_kept(value, loaded.outside) for value in given):
        return None
    if node.since < _MEANT_OTHERWISE.get(proto.op_type, 0) or node.attributes.get("broadcast"):
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
    if arrays is None or _rounds(proto, feeds, arrays):
        return None
    return [constant(name, a) for name, a in zip(proto.output, arrays, strict=False)]


def _rounds(
    proto: onnx.NodeProto, feeds: Mapping[str, np.ndarray | None], arrays: Sequence[np.ndarray]
) -> bool:
    """Whether a cast loses digits: the graph goes on saying in full what a low type cannot hold."""
    if proto.op_type != "Cast" or arrays[0].dtype.name not in LOW:
        return False
    return not is_exact(feeds[proto.input[0]], arrays[0])


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


def _kept(value: Value, outside: Container[str]) -> bool:
    """Whether a value is unknown, or a weight; a number inside the graph's own file is none."""
    if value.constant is None:
        return True
    if not (value.weight and value.floating):
        return False
    return value.constant.ndim > 0 or value.name in outside


def _size(known: tuple[str, Shape | None] | None) -> int:
    if known is None or known[1] is None:
        return 0
    return int(np.prod([size for size in known[1] if isinstance(size, int)], dtype=np.int64))
