"""Replaces operators that have no lowering by their ONNX function bodies, where they have one."""

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import shape_inference

from ascend_migrate.converters.mindir.hoist import all_nodes, inner_graphs
from ascend_migrate.converters.mindir.registry import lowering_of, schema_of

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
        body = None if lowering_of(node, opsets) else _body(node, opsets, types)
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


def _body(
    node: onnx.NodeProto, opsets: Mapping[str, int], types: Mapping[str, onnx.TypeProto]
) -> list[onnx.NodeProto] | None:
    schema = schema_of(node, opsets)
    if schema is None:
        return None
    function = _function(node, schema, opsets, types)
    if function is None:
        return None
    prefix = f"{node.output[0]}/{node.op_type}"
    names = {"": ""}
    names |= dict(zip(function.input, [*node.input, *[""] * len(function.input)], strict=False))
    names |= dict(zip(function.output, node.output, strict=False))
    given = {item.name: item for item in node.attribute}
    defaults = {
        name: item.default_value
        for name, item in schema.attributes.items()
        if item.default_value.type != onnx.AttributeProto.UNDEFINED
    }
    return [
        _instance(inner, f"{prefix}/{index}", names, {**defaults, **given})
        for index, inner in enumerate(function.node)
    ]


def _function(
    node: onnx.NodeProto,
    schema: Any,  # defs.OpSchema, whose type description leaves out the functions
    opsets: Mapping[str, int],
    types: Mapping[str, onnx.TypeProto],
) -> onnx.FunctionProto | None:
    data = None
    if schema.has_function:
        data = schema.get_function_with_opset_version(opsets.get("", 1))
        return data if isinstance(data, onnx.FunctionProto) else _parse(data)
    if schema.has_context_dependent_function:
        if any(name and name not in types for name in node.input):
            return None
        inputs = [(types[n] if n else onnx.TypeProto()).SerializeToString() for n in node.input]
        data = schema.get_context_dependent_function(node.SerializeToString(), inputs)
    return _parse(data)


def _parse(data: bytes | None) -> onnx.FunctionProto | None:
    return onnx.FunctionProto.FromString(data) if data else None


def _instance(
    inner: onnx.NodeProto,
    prefix: str,
    names: dict[str, str],
    attributes: Mapping[str, onnx.AttributeProto],
) -> onnx.NodeProto:
    """Copies a node of a function body, adding the new names of its outputs to ``names``."""
    node = onnx.NodeProto(op_type=inner.op_type, domain=inner.domain, name=prefix)
    node.input.extend(names.get(name, "") for name in inner.input)
    for name in inner.output:
        names.setdefault(name, f"{prefix}/{name}")
    node.output.extend(names[name] for name in inner.output)
    for attribute in inner.attribute:
        source = attribute
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in attributes:
                continue
            source = attributes[attribute.ref_attr_name]
        copy = node.attribute.add()
        copy.CopyFrom(source)
        copy.name = attribute.name
        if not attribute.ref_attr_name and attribute.HasField("g"):
            _instance_graph(copy.g, f"{prefix}/{attribute.name}", names, attributes)
    return node


def _instance_graph(
    graph: onnx.GraphProto,
    prefix: str,
    outer: Mapping[str, str],
    attributes: Mapping[str, onnx.AttributeProto],
) -> None:
    """Renames in place what a graph inside a function body has of its own and what it sees."""
    names = {**outer, **{info.name: f"{prefix}/{info.name}" for info in graph.input}}
    nodes = [
        _instance(inner, f"{prefix}/{index}", names, attributes)
        for index, inner in enumerate(graph.node)
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    # Types are inferred anew; those of a function body are symbols at best.
    del graph.value_info[:]
    for info in (*graph.input, *graph.output):
        info.name = names.get(info.name, info.name)
