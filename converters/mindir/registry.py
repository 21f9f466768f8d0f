"""Which function lowers which version of which ONNX operator.

An operator's versions are told apart by the opset in which their schema was introduced, which is
what ``onnx.defs.get_schema(name, opset).since_version`` gives for any opset.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import onnx
from onnx import defs

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.values import Shape, UnsupportedError, Value

_MODULES = (
    "arithmetic",
    "logic",
    "nn",
    "normalization",
    "pooling",
    "resize",
    "shape",
    "slicing",
    "padding",
    "indexing",
    "reduce",
    "recurrent",
    "bits",
    "control",
    "deformable",
    "detection",
    "extremes",
    "generate",
    "legacy",
    "linear",
    "mel",
    "patches",
    "quantized",
    "regions",
    "running",
    "sequences",
    "sampling",
    "selection",
    "spectrum",
    "upsample",
    "windows",
)


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A branch, or the body of a loop, as the operator that owns it sees it.

    Attributes:
        size: number of its nodes, inner graphs included.
        outputs: element type and shape of each output as declared; None where they are not.
        lower: lowers its nodes into a graph, given the values of its inputs; returns the values
            of its outputs. It sees the values around it by itself.
    """

    size: int
    outputs: tuple[tuple[str, Shape | None] | None, ...]
    lower: Callable[[Context, Sequence[Value]], list[Value]]


@dataclass(frozen=True, slots=True)
class Node:
    """One ONNX node as an operator's function sees it.

    Attributes:
        name: its name in the graph.
        op_type: operator.
        since: version of the operator's schema.
        inputs: one value each; None where an optional input is left out in the middle.
        attributes: as plain Python, completed by the schema's defaults; a graph as `Subgraph`.
        outputs: names; "" where an optional output is not wanted.
    """

    name: str
    op_type: str
    since: int
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]

    def __getitem__(self, index: int) -> Value:
        """Returns a required input."""
        value = self.optional(index)
        if value is None:
            raise UnsupportedError(f"input {index} is missing")
        return value

    def optional(self, index: int) -> Value | None:
        """Returns an input that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def wants(self, index: int) -> bool:
        """Whether the output ``index`` is used."""
        return index < len(self.outputs) and bool(self.outputs[index])

    def axis(self, rank: int, name: str = "axis") -> int:
        """Returns the attribute ``axis`` counted from the front."""
        return int(self.attributes[name]) % rank if rank else 0

    def integers(self, index: int, name: str) -> tuple[int, ...] | None:
        """Returns integers that older versions have as attribute ``name``, newer as input.

        Raises:
            UnsupportedError: the input is computed when the model runs.
        """
        if self.attributes.get(name) is not None:
            return tuple(self.attributes[name])
        value = self.optional(index)
        if value is None:
            return None
        if value.constant is not None:
            return tuple(int(item) for item in value.constant.reshape(-1))
        if value.elements is not None and all(isinstance(e, int) for e in value.elements):
            return tuple(e for e in value.elements if isinstance(e, int))
        raise UnsupportedError(f"{name} ({value.name!r}) is computed when the model runs")


Lowering = Callable[[Context, Node], Value | Sequence[Value]]

_REGISTRY: dict[tuple[str, int], Lowering] = {}


def operator(name: str, since: int | Iterable[int]) -> Callable[[Lowering], Lowering]:
    """Registers a function as the lowering of an operator's schema versions.

    Raises:
        ValueError: a version is registered twice, or is no version of this operator.
    """
    versions = (since,) if isinstance(since, int) else tuple(since)

    def register(function: Lowering) -> Lowering:
        for version in versions:
            if defs.get_schema(name, version).since_version != version:
                raise ValueError(f"{name} has no version {version}")
            if (name, version) in _REGISTRY:
                raise ValueError(f"{name} version {version} is registered twice")
            _REGISTRY[name, version] = function
        return function

    return register


@cache
def registry() -> Mapping[tuple[str, int], Lowering]:
    """Loads every operator module; by operator and schema version."""
    for module in _MODULES:
        import_module(f"ascend_migrate.converters.mindir.operators.{module}")
    return _REGISTRY


def schema_of(node: onnx.NodeProto, opsets: Mapping[str, int]) -> defs.OpSchema | None:
    """Returns the schema of a node's operator, or None where ONNX knows none."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        return defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except defs.SchemaError:
        return None


def lowering_of(node: onnx.NodeProto, opsets: Mapping[str, int]) -> Lowering | None:
    """Returns the function that lowers a node, if there is one."""
    schema = schema_of(node, opsets)
    if schema is None or schema.domain:
        return None
    return registry().get((node.op_type, schema.since_version))


def attributes_of(node: onnx.NodeProto, schema: defs.OpSchema) -> dict[str, Any]:
    """Returns all attributes as plain Python: given ones, then the schema's defaults."""
    found = {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED
    }
    found |= {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return {name: _text(value) for name, value in found.items()}


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
