"""Replaces operators that have no lowering by their ONNX function bodies, where they have one."""

from collections.abc import Mapping

import onnx
from onnx import shape_inference

from ascend_migrate.converters.mindir.hoist import all_nodes, inner_graphs
from ascend_migrate.converters.mindir.registry import lowering_of
from ascend_migrate.converters.onnx_functions import body_of

_DEPTH = 8
"""Functions whose bodies call functions: ONNX itself nests three deep."""


def expand_functions(model: onnx.ModelProto, opsets: Mapping[str, int]) -> onnx.ModelProto:
    """Returns the model in which every node has a lowering, as far as function bodies go."""
    for _ in range(_DEPTH):
        if all(lowering_of(node, opsets) for node in all_nodes(model.graph)):
            return model
        # Context-dependent functions need the element types of their inputs.
        model = shape_inference.infer_shapes(model, data_prop=True)
        if not _expand(model.graph, opsets, {}):
            return model
    return model


def _expand(
    graph: onnx.GraphProto, opsets: Mapping[str, int], outer: Mapping[str, onnx.TypeProto]
) -> bool:
    """Expands the nodes of a graph and of those inside it; returns whether there were any."""
    types = {**outer, **{info.name: info.type for info in _infos(graph)}}
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in graph.node:
        found = lowering_of(node, opsets)
        body = None if found else body_of(node, opsets, types)
        inner = [_expand(branch, opsets, types) for branch in inner_graphs(node)]
        changed = changed or body is not None or any(inner)
        nodes += [node] if body is None else body
    if changed:
        del graph.node[:]
        graph.node.extend(nodes)
    return changed


def _infos(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    made = [
        onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in graph.initializer
    ]
    return [*made, *graph.input, *graph.value_info, *graph.output]
