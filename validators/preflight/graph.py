"""The checks of a rule file that concern the whole graph, or every operator alike.

Each takes the rule and the graph and yields where it strikes; what that means, and how it is
known, stands in the rule.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir as ir

from ascend_migrate.pipeline.cann.generations import Generation, Operator
from ascend_migrate.pipeline.onnx_checks import inner_graphs
from ascend_migrate.pipeline.onnx_signature import weight_bytes
from ascend_migrate.validators.preflight.conditions import element_type

_EXTERNAL_KEYS = frozenset({"location", "offset", "length"})
STANDARD = ("", "ai.onnx")
"""Two spellings of one domain."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A graph on its way to ATC.

    Attributes:
        proto: as it is in the file, its external data not loaded.
        model: the same after shape inference.
        opset: of ai.onnx.
        generation: of CANN.
        family: of the chip.
    """

    proto: onnx.ModelProto
    model: ir.Model
    opset: int
    generation: Generation
    family: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule strikes: a node or a tensor, its operator, and what was found there."""

    name: str
    op_type: str = ""
    said: str = ""


Check = Callable[[Mapping[str, Any], Subject], Iterator[Place]]
CHECKS: dict[str, Check] = {}
"""By the name that rules call them by."""


def check(name: str) -> Callable[[Check], Check]:
    """Registers a check."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


@check("duplicate-name")
def _duplicate_name(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    graph = given.proto.graph
    inputs = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    counted = Counter(node.name for node in graph.node if node.name)
    for node in graph.node:
        if node.name and (node.name in inputs or counted[node.name] > 1):
            yield Place(node.name, node.op_type)


@check("no-input")
def _no_input(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    if not given.model.graph.inputs:
        yield Place("graph")


@check("no-output")
def _no_output(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    if not given.proto.graph.output:
        yield Place("graph")


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yields the weights of a graph by name: initializers, and what Constant nodes hold."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield node.name or node.output[0], attribute.t


@check("external-key")
def _external_key(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    for place, tensor in _tensors(given.proto.graph):
        keys = sorted({entry.key for entry in tensor.external_data} - _EXTERNAL_KEYS)
        if keys:
            yield Place(place, said=", ".join(keys))


@check("nested-external")
def _nested_external(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    for graph in inner_graphs(given.proto.graph.node):
        for place, tensor in _tensors(graph):
            if tensor.external_data:
                yield Place(place)


@check("tensor-type")
def _tensor_type(rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    graph = given.proto.graph
    for part in (graph, *inner_graphs(graph.node)):
        for place, tensor in _tensors(part):
            name = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            if name in rule["types"]:
                yield Place(place, said=name)


@check("two-versions")
def _two_versions(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    domains = Counter("" if o.domain in STANDARD else o.domain for o in given.proto.opset_import)
    for domain, count in domains.items():
        if count > 1:
            yield Place(domain or "ai.onnx")


@check("empty-dimension")
def _empty_dimension(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    for value in given.model.graph.inputs:
        if value.shape is not None and 0 in list(value.shape):
            yield Place(str(value.name))


@check("input-type")
def _input_type(rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    for value in given.model.graph.inputs:
        if element_type(value) not in rule["types"]:
            yield Place(str(value.name), said=element_type(value))


@check("dynamic-shape")
def _dynamic_shape(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    for value in given.model.graph.inputs:
        if value.shape is None or not all(isinstance(size, int) for size in value.shape):
            sizes = "" if value.shape is None else ", ".join(map(str, value.shape))
            yield Place(str(value.name), said=f"[{sizes}]")


@check("weights-above")
def _weights_above(rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    total = weight_bytes(given.proto)
    if total > rule["bytes"]:
        yield Place("graph", said=f"{total} bytes of weights")


@check("opset-above")
def _opset_above(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    if given.opset > given.generation.opsets[1]:
        yield _of_opsets(given)


@check("opset-below")
def _opset_below(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    if given.opset < given.generation.opsets[0]:
        yield _of_opsets(given)


def _of_opsets(given: Subject) -> Place:
    low, high = given.generation.opsets
    return Place("graph", said=f"opset {given.opset}, documented are {low} to {high}")


@check("unregistered")
def _unregistered(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    yield from _not_registered(given, newer=False)


@check("unregistered-yet")
def _unregistered_yet(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    yield from _not_registered(given, newer=True)


@check("custom-domain")
def _custom_domain(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    for node in given.model.graph.all_nodes():
        if node.domain in STANDARD:
            continue
        version = given.model.opset_imports.get(node.domain, 1)
        if not given.generation.registered(node.domain, version, node.op_type):
            yield Place(_name(node), node.op_type, f"{node.domain}::{version}::{node.op_type}")


@check("no-kernel")
def _no_kernel(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    yield from _without_kernel(given, aicpu=False)


@check("cpu-kernel")
def _cpu_kernel(_rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    yield from _without_kernel(given, aicpu=True)


@check("value-type")
def _value_type(rule: Mapping[str, Any], given: Subject) -> Iterator[Place]:
    """The first place of each type: one such value rarely comes alone."""
    seen: set[str] = set()
    for value in given.model.graph.inputs:
        if element_type(value) in rule["types"]:
            yield Place(str(value.name), said=element_type(value))
            return
    for node in given.model.graph.all_nodes():
        names = {element_type(value) for value in (*node.inputs, *node.outputs)}
        for name in sorted(names & set(rule["types"]) - seen):
            seen.add(name)
            yield Place(_name(node), node.op_type, f"{name}, and whatever follows from it")


def _not_registered(given: Subject, *, newer: bool) -> Iterator[Place]:
    known, opset = given.generation, given.opset
    for node in given.model.graph.all_nodes():
        if node.domain not in STANDARD or known.registered("", opset, node.op_type):
            continue
        if (node.op_type in known.newer) == newer:
            yield Place(_name(node), node.op_type, f"ai.onnx::{opset}::{node.op_type}")


def _without_kernel(given: Subject, *, aicpu: bool) -> Iterator[Place]:
    for node in given.model.graph.all_nodes():
        if node.domain not in STANDARD or not node.inputs:
            continue
        known = given.generation.operators.get(node.op_type)
        name = element_type(node.inputs[0])
        if known is None or not name or known.aicpu != aicpu:
            continue
        kernels = _kernels(known, given.family)
        if kernels is not None and name not in kernels:
            yield Place(_name(node), node.op_type, name)


def _kernels(operator: Operator, family: str) -> frozenset[str] | None:
    """Returns the listed types, None where nothing is; the A3 lists what the A2 does."""
    found = operator.kernels.get(family)
    return operator.kernels.get("Ascend910B") if found is None and family == _A3 else found


_A3 = "Ascend910_93"


def _name(node: ir.Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else None) or node.op_type
