"""The functions by which ONNX itself defines some of its operators, written out as nodes."""

from collections.abc import Mapping
from typing import Any

import onnx
import onnx_ir as ir

from ascend_migrate.converters.onnx_building import replace


def body_of(
    node: onnx.NodeProto, opsets: Mapping[str, int], types: Mapping[str, onnx.TypeProto]
) -> list[onnx.NodeProto] | None:
    """Returns the nodes that a node stands for; None where ONNX does not define it by others.

    Args:
        node: its outputs keep their names.
        opsets: of the domains; the nodes returned are of the same.
        types: of its inputs, by name.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
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


def write_out(node: ir.Node, opset: int) -> bool:
    """Puts the nodes that ``node`` stands for in its place; returns whether there are any.

    Args:
        node: a standard operator, with the element types of its inputs known.
        opset: of the model.
    """
    proto = ir.to_proto(node)
    infos = [ir.to_proto(value) for value in node.inputs if value is not None]
    nodes = body_of(proto, {"": opset}, {info.name: info.type for info in infos})
    if nodes is None or node.graph is None:
        return False
    results = [ir.to_proto(value) for value in node.outputs if value.name]
    graph = onnx.GraphProto(name="body", node=nodes, input=_distinct(infos), output=results)
    inner = ir.from_proto(graph)
    outer = {value.name: value for value in node.inputs if value is not None}
    for value in inner.inputs:
        ir.convenience.replace_all_uses_with(value, outer[value.name], replace_graph_outputs=True)
    made, found = list(inner), {value.name: value for value in inner.outputs}
    inner.remove(made)
    inner.outputs.clear()
    for item in made:
        item.metadata_props.update(node.metadata_props)
    node.graph.insert_before(node, made)
    replace(node, *(found.get(value.name) for value in node.outputs))
    return True


def _distinct(infos: list[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    return list({info.name: info for info in infos}.values())


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
