"""Runs the nodes of a graph one at a time, so that what lies between them can be rounded.

onnxruntime computes each node alone, from arrays: nothing is fused, and a node of float32 has its
sums in float32, as Ascend's cube unit has them whatever it reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import CheckError, MigrationError, ModelError
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.validators import onnx_runner
from ascend_migrate.validators.cases import Array

if TYPE_CHECKING:
    import onnx

_CAST_ATTRIBUTES = ("to", "dtype")
"""Attributes that name the element type of a result."""


class NodeRunner:
    """Runs nodes; nodes alike share a session.

    Args:
        opsets: versions by domain.
        ir_version: of the model.
    """

    def __init__(self, opsets: Mapping[str, int], ir_version: int) -> None:
        self._opsets, self._ir_version = dict(opsets), ir_version
        self._sessions: dict[bytes, Any] = {}
        self._narrow: set[bytes] = set()

    def run(self, node: "onnx.NodeProto", values: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the results of a node by name.

        Args:
            node: of the model's operator sets.
            values: what it reads by name, and what the bodies inside it see.

        Raises:
            ModelError: onnxruntime cannot run it.
        """
        if node.op_type == "Constant" and not node.domain:
            return {node.output[0]: _constant(node)}
        try:
            return self._run(node, values)
        except MigrationError:
            raise
        except Exception as error:  # onnxruntime's own classes derive from Exception directly
            raise ModelError(f"{_said(node)}: {in_one_line(error)}") from None

    def exact(self, node: "onnx.NodeProto", values: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the results in float64, or computed in float32 where there is no such kernel.

        Args:
            node: of the model's operator sets.
            values: what it reads by name; float32 arrays are widened.
        """
        key = node.SerializeToString()
        if key not in self._narrow:
            try:
                return _widened(self.run(_in_float64(node), _widened(values)))
            except ModelError:
                self._narrow.add(key)
        return _widened(self.run(node, _narrowed(values)))

    def _run(self, node: "onnx.NodeProto", values: Mapping[str, Array]) -> dict[str, Array]:
        plain, names = _renamed(node)
        arrays = {new: values[old] for old, new in names.items()}
        makes = [name for name in plain.output if name]
        key = (
            plain.SerializeToString()
            + repr(
                [(name, array.dtype.name, array.ndim) for name, array in arrays.items()]
            ).encode()
        )
        if key not in self._sessions:
            self._sessions[key] = self._session(plain, arrays, _said(node))
        found = self._sessions[key].run(makes, arrays)
        return dict(zip((name for name in node.output if name), found, strict=True))

    def _session(self, node: "onnx.NodeProto", arrays: Mapping[str, Array], subject: str) -> Any:
        import onnx

        model = onnx.ModelProto(ir_version=self._ir_version)
        for domain, version in self._opsets.items():
            model.opset_import.add(domain=domain, version=version)
        model.graph.name = "node"
        model.graph.node.append(node)
        for name, array in arrays.items():
            given = model.graph.input.add()
            given.name = name
            kind = given.type.tensor_type
            kind.elem_type = BY_NAME[array.dtype.name].onnx or 0
            for _ in range(array.ndim):
                kind.shape.dim.add()
            kind.shape.SetInParent()
        for name in node.output:
            if name:
                model.graph.output.add().name = name
        try:
            return onnx_runner.session(model.SerializeToString(), subject, threads=1)
        except CheckError as error:
            raise ModelError(str(error)) from None


def captured(node: "onnx.NodeProto") -> tuple[str, ...]:
    """Returns the names that the bodies inside a node read of the graph around it."""
    found: dict[str, None] = {}
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            found |= dict.fromkeys(_free(body))
    return tuple(found)


def _free(body: "onnx.GraphProto") -> Iterator[str]:
    known = {item.name for item in body.input} | {item.name for item in body.initializer}
    for node in body.node:
        yield from (n for n in (*node.input, *captured(node)) if n and n not in known)
        known.update(node.output)
    yield from (item.name for item in body.output if item.name not in known)


def _renamed(node: "onnx.NodeProto") -> tuple["onnx.NodeProto", dict[str, str]]:
    """Returns the node with names that say nothing, and its new names by the old ones."""
    import onnx

    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    plain.ClearField("name")
    plain.ClearField("doc_string")
    plain.ClearField("metadata_props")
    outer = captured(node)
    if outer:  # bodies go by the names
        return plain, {name: name for name in dict.fromkeys((*node.input, *outer)) if name}
    names = {name: f"i{i}" for i, name in enumerate(dict.fromkeys(node.input)) if name}
    plain.input[:] = [names.get(name, "") for name in node.input]
    plain.output[:] = [f"o{i}" if name else "" for i, name in enumerate(node.output)]
    return plain, names


def _in_float64(node: "onnx.NodeProto") -> "onnx.NodeProto":
    import onnx

    kinds = onnx.TensorProto
    stated = [a for a in node.attribute if a.name in _CAST_ATTRIBUTES]
    if not any(a.i in (kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16) for a in stated):
        return node
    wide = onnx.NodeProto()
    wide.CopyFrom(node)
    for attribute in wide.attribute:
        if attribute.name in _CAST_ATTRIBUTES:
            attribute.i = kinds.DOUBLE
    return wide


def _constant(node: "onnx.NodeProto") -> Array:
    from onnx import helper, numpy_helper

    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.HasField("t"):
        return numpy_helper.to_array(value)
    kind = {"value_float": np.float32, "value_floats": np.float32}.get(attribute.name, np.int64)
    return np.asarray(value, kind)


def _widened(values: Mapping[str, Array]) -> dict[str, Array]:
    return {n: a.astype(np.float64) if a.dtype.name in _NARROW else a for n, a in values.items()}


def _narrowed(values: Mapping[str, Array]) -> dict[str, Array]:
    with np.errstate(over="ignore", under="ignore"):
        return {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in values.items()}


_NARROW = frozenset({"float32", "float16", "bfloat16"})


def _said(node: "onnx.NodeProto") -> str:
    return f"node {node.name or node.output[0]!r} ({node.op_type})"


def reads(node: "onnx.NodeProto") -> Sequence[str]:
    """Returns everything that a node reads, each once."""
    return [name for name in dict.fromkeys((*node.input, *captured(node))) if name]
