"""Tests of sequences and optionals, turned into tests of tensors: MindIR has nothing else.

What a sequence holds becomes so many inputs, from which the model's first node makes it; a sequence
that is returned is taken apart by the model's last nodes, and its length is returned as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TypeProto, ValueInfoProto, helper, numpy_helper
from tests.conformance.suite import Example


def of_sequences(model: onnx.ModelProto) -> bool:
    """Whether the model takes or returns anything else than tensors."""
    infos = (*model.graph.input, *model.graph.output)
    return any(info.type.WhichOneof("value") != "tensor_type" for info in infos)


def unpacked(example: Example) -> Example | None:
    """Returns the test with tensors only; None where an optional has no element to be given."""
    if len(example.data) != 1:
        return None
    (inputs, outputs), graph = example.data[0], example.model.graph
    if any(value is None for value in (*inputs, *outputs)):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(example.model)
    for kept in (model.graph.node, model.graph.input, model.graph.output):
        del kept[:]
    fed = [_given(info, value) for info, value in zip(graph.input, inputs, strict=True)]
    taken = [_returned(info, value) for info, value in zip(graph.output, outputs, strict=True)]
    model.graph.node.extend(n for nodes, _, _ in fed for n in nodes)
    model.graph.node.extend(graph.node)
    model.graph.node.extend(n for nodes, _, _ in taken for n in nodes)
    model.graph.input.extend(i for _, infos, _ in fed for i in infos)
    model.graph.output.extend(i for _, infos, _ in taken for i in infos)
    data = tuple([v for _, _, values in part for v in values] for part in (fed, taken))
    return replace(example, model=model, data=((data[0], data[1]),))


_Parts = tuple[list[NodeProto], list[ValueInfoProto], list[Any]]
"""Nodes, the tensors that they take or return, and what these hold."""


def _given(info: ValueInfoProto, value: Any) -> _Parts:
    name, kind = info.name, info.type
    if kind.HasField("tensor_type"):
        return [], [info], [value]
    inner = kind.optional_type.elem_type if kind.HasField("optional_type") else kind
    whole = f"{name}_whole" if inner is not kind else name
    nodes: list[NodeProto] = []
    if inner.HasField("sequence_type"):
        infos = list(_infos(name, inner.sequence_type.elem_type, value))
        nodes.append(_sequence(whole, inner.sequence_type.elem_type, infos))
        values = list(value)
    else:
        infos, values = list(_infos(whole, inner, [value])), [value]
        whole = infos[0].name
    if inner is not kind:
        nodes.append(helper.make_node("Optional", [whole], [name]))
    return nodes, infos, values


def _returned(info: ValueInfoProto, value: Any) -> _Parts:
    name, kind = info.name, info.type
    if kind.HasField("tensor_type"):
        return [], [info], [value]
    nodes: list[NodeProto] = []
    if kind.HasField("optional_type"):
        nodes.append(helper.make_node("OptionalGetElement", [name], [f"{name}_whole"]))
        name, kind = f"{name}_whole", kind.optional_type.elem_type
    for index in range(len(value)):
        place = numpy_helper.from_array(np.array(index, np.int64))
        nodes.append(helper.make_node("Constant", [], [f"{name}_at_{index}"], value=place))
        at = [name, f"{name}_at_{index}"]
        nodes.append(helper.make_node("SequenceAt", at, [f"{name}_{index}"]))
    nodes.append(helper.make_node("SequenceLength", [name], [f"{name}_length"]))
    infos = list(_infos(name, kind.sequence_type.elem_type, value, shaped=False))
    infos.append(helper.make_tensor_value_info(f"{name}_length", onnx.TensorProto.INT64, []))
    return nodes, infos, [*value, np.array(len(value), np.int64)]


def _infos(
    name: str, kind: TypeProto, values: Sequence[Any], *, shaped: bool = True
) -> Iterator[ValueInfoProto]:
    for index, value in enumerate(values):
        shape = value.shape if shaped else None
        code = kind.tensor_type.elem_type
        yield helper.make_tensor_value_info(f"{name}_{index}", code, shape)


def _sequence(name: str, kind: TypeProto, infos: Sequence[ValueInfoProto]) -> NodeProto:
    if not infos:
        return helper.make_node("SequenceEmpty", [], [name], dtype=kind.tensor_type.elem_type)
    return helper.make_node("SequenceConstruct", [info.name for info in infos], [name])
