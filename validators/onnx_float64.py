"""The float64 twin of an ONNX graph: every weight, constant and stated type widened."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_migrate.validators.original import NoExactTwinError

if TYPE_CHECKING:
    import onnx

_NARROW_OK = {("Resize", 2)}
"""Inputs that ONNX wants as float32 whatever the data are, and that hold no data: scales."""


def widened(path: Path) -> "onnx.ModelProto":
    """Returns the model with all data in float64.

    Raises:
        NoExactTwinError: an operator takes no float64.
    """
    import onnx

    model = onnx.load(str(path))
    opsets = {item.domain or "ai.onnx": item.version for item in model.opset_import}
    for values in _widen_graph(model.graph, opsets):
        for value in values:
            _widen_value(value)
    for function in model.functions:
        raise NoExactTwinError(f"local function {function.name}")
    return model


def _widen_graph(
    graph: "onnx.GraphProto", opsets: dict[str, int]
) -> Iterator["list[onnx.ValueInfoProto]"]:
    """Widens a graph and its subgraphs in place; yields what else declares types."""
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    del graph.value_info[:]
    yield [*graph.input, *graph.output]
    nodes = list(graph.node)
    del graph.node[:]
    for index, node in enumerate(nodes):
        for attribute in node.attribute:
            _widen_attribute(node, attribute)
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _widen_graph(inner, opsets)
        graph.node.extend([*_narrowing(node, opsets, index), node])


def _widen_attribute(node: "onnx.NodeProto", attribute: "onnx.AttributeProto") -> None:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    if attribute.HasField("t"):
        _widen_tensor(attribute.t)
    if attribute.name in ("to", "dtype") and attribute.i in _floats():
        attribute.i = onnx.TensorProto.DOUBLE
    if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        wide = numpy_helper.from_array(np.array(numbers, np.float64))
        attribute.CopyFrom(onnx.helper.make_attribute("value", wide))


def _narrowing(
    node: "onnx.NodeProto", opsets: dict[str, int], index: int
) -> list["onnx.NodeProto"]:
    """Returns the casts that the node's float32-only inputs need before it.

    Raises:
        NoExactTwinError: its data may not be float64.
    """
    import onnx

    try:
        schema = onnx.defs.get_schema(
            node.op_type, opsets.get(node.domain or "ai.onnx", 1), node.domain
        )
    except onnx.defs.SchemaError:
        raise NoExactTwinError(f"operator {node.domain}::{node.op_type}") from None
    casts = []
    for place, name in enumerate(node.input):
        formal = schema.inputs[min(place, len(schema.inputs) - 1)]
        if not name or "tensor(double)" in formal.types or "tensor(float)" not in formal.types:
            continue
        if (node.op_type, place) not in _NARROW_OK:
            raise NoExactTwinError(f"operator {node.op_type} takes no float64")
        narrow = f"{name}/narrow_{index}"
        casts.append(onnx.helper.make_node("Cast", [name], [narrow], to=onnx.TensorProto.FLOAT))
        node.input[place] = narrow
    return casts


def _widen_tensor(tensor: "onnx.TensorProto") -> None:
    import numpy as np
    from onnx import numpy_helper

    if tensor.data_type in _floats():
        name = tensor.name
        wide = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(wide, name))


def _widen_value(value: Any) -> None:
    import onnx

    if value.type.tensor_type.elem_type in _floats():
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def _floats() -> frozenset[int]:
    import onnx

    kinds = onnx.TensorProto
    return frozenset({kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16})
