"""The element types of the values of a graph, also where the graph does not state them."""

import onnx
import onnx_ir as ir


def dtype_of(value: ir.Value | None) -> ir.DataType | None:
    """Returns the element type of a value; where it is not stated, its producer says it."""
    if value is None:
        return None
    if value.type is None:
        found = _made(value)
        if found is not None:
            value.type = ir.TensorType(found)
    return value.dtype


def schema_of(node: ir.Node, opset: int) -> onnx.defs.OpSchema | None:
    """Returns the definition of a node's operator, if there is one."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        return onnx.defs.get_schema(node.op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None


def _made(value: ir.Value) -> ir.DataType | None:
    node = value.producer()
    if value.const_value is not None:
        return value.const_value.dtype
    if node is None:
        return None
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int())
    if node.op_type == "ConstantOfShape":
        given = node.attributes.get("value")
        return ir.DataType.FLOAT if given is None else given.as_tensor().dtype
    place = list(node.outputs).index(value)
    bodies = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    # A loop's body returns its condition first.
    shift = int(node.op_type == "Loop")
    return dtype_of(bodies[0].outputs[place + shift]) if bodies else _by_schema(node, place)


def _by_schema(node: ir.Node, place: int) -> ir.DataType | None:
    """Returns what the schema says: the type of an input of the same letter, or the only one."""
    schema = schema_of(node, node.version or 17)
    if schema is None or not schema.outputs:
        return None
    formal = schema.outputs[min(place, len(schema.outputs) - 1)]
    for i, item in enumerate(node.inputs):
        source = schema.inputs[min(i, len(schema.inputs) - 1)]
        if item is not None and source.type_str == formal.type_str:
            return dtype_of(item)
    if len(formal.types) != 1:
        return None
    text = next(iter(formal.types)).removeprefix("tensor(").removesuffix(")")
    return ir.DataType.__members__.get(text.upper())
