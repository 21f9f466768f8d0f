"""Small graphs around one operator, run before and after surgery."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


def one(
    op: str,
    inputs: Mapping[str, Sequence[int | str] | Array | None],
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    kinds: Mapping[str, int] | None = None,
    check: bool = True,
    **attributes: Any,
) -> onnx.ModelProto:
    """Returns a model of one node.

    Args:
        op: its type.
        inputs: in order: a shape makes an input of the graph, an array a constant, None leaves an
            optional one out.
        opset: of the model.
        outputs: names; an empty one is left out.
        kinds: element types of the graph's inputs that are not float32.
        check: whether ONNX has to find it valid.
        attributes: of the node.
    """
    names = ["" if given is None else name for name, given in inputs.items()]
    node = helper.make_node(op, names, outputs, name="the_node", **attributes)
    fed = [
        helper.make_tensor_value_info(name, (kinds or {}).get(name, TensorProto.FLOAT), given)
        for name, given in inputs.items()
        if given is not None and not isinstance(given, np.ndarray)
    ]
    constants = [
        numpy_helper.from_array(given, name)
        for name, given in inputs.items()
        if isinstance(given, np.ndarray)
    ]
    return model_of([node], fed, [name for name in outputs if name], constants, opset, check=check)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    fed: Sequence[onnx.ValueInfoProto],
    results: Sequence[str],
    constants: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    *,
    check: bool = True,
) -> onnx.ModelProto:
    """Returns a model whose results have the types that ONNX infers."""
    empty = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph(list(nodes), "one", list(fed), empty, list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(made, strict_mode=check)
    for info in inferred.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    return inferred


def feeds(model: onnx.ModelProto, sizes: Mapping[str, int] | None = None) -> dict[str, Array]:
    """Returns seeded numbers for a model's inputs; integers span all that a byte holds."""
    generator = np.random.default_rng(11)
    found = {}
    for info in model.graph.input:
        kind = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        shape = [d.dim_value or (sizes or {})[d.dim_param] for d in info.type.tensor_type.shape.dim]
        if kind.kind == "f":
            found[info.name] = generator.uniform(-2, 2, shape).astype(kind)
        elif kind.kind == "b":
            found[info.name] = generator.integers(0, 2, shape).astype(bool)
        else:
            low, high = (0, 256) if kind.kind == "u" else (-128, 128)
            found[info.name] = generator.integers(low, high, shape).astype(kind)
    return found


def run(model: onnx.ModelProto, fed: Mapping[str, Array]) -> list[Any]:
    """Returns what onnxruntime computes, with no fusion that could hide a difference."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(fed)))


def operators(model: onnx.ModelProto) -> set[str]:
    """Returns the types of a model's own nodes."""
    return {node.op_type for node in model.graph.node}
