"""Rewriting one node of a graph: what rules ask of it, and how they put others in its place."""

from typing import Any

import numpy as np
import onnx_ir as ir

_MADE = "ascend_migrate.made"
"""Key in ``ir.Node.meta``: how many nodes were made in its name."""


class NoExactRuleError(Exception):
    """A rule cannot keep the meaning of this node; the text says why."""


Array = np.ndarray[Any, Any]


class Builder:
    """Puts new nodes before a node, into the same graph, under names that begin with its output's.

    Types and shapes of the results are unknown until shape inference runs again.
    """

    def __init__(self, near: ir.Node) -> None:
        if near.graph is None:
            raise TypeError("a node in a model belongs to a graph")
        self._near, self._graph = near, near.graph
        self._prefix = next((v.name for v in near.outputs if v.name), near.name)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def __call__(self, op: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        """Adds a node with one output and returns that."""
        return self.several(op, *inputs, outputs=1, **attributes)[0]

    def several(
        self, op: str, *inputs: ir.Value | None, outputs: int, **attributes: object
    ) -> tuple[ir.Value, ...]:
        """Adds a node with several outputs and returns them."""
        serial = self._near.meta.get(_MADE, 0)
        self._near.meta[_MADE] = serial + 1
        name = f"{self._prefix}/{op}_{serial}"
        node = ir.node(op, inputs, attributes=attributes, num_outputs=outputs, name=name)  # type: ignore[arg-type]
        for place, value in enumerate(node.outputs):
            value.name = f"{name}.{place}" if place else name
        node.metadata_props.update(self._near.metadata_props)
        self._graph.insert_before(self._near, node)
        return tuple(node.outputs)

    def constant(self, array: Array) -> ir.Value:
        """Adds a Constant node, which is valid in subgraphs too, once for equal arrays."""
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            value = self("Constant", value=ir.tensor(array))
            value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
            value.shape = ir.Shape(array.shape)
            self._constants[key] = value
        return self._constants[key]

    def ints(self, *numbers: int) -> ir.Value:
        """Adds a vector of int64."""
        return self.constant(np.array(numbers, dtype=np.int64))

    def like(self, number: float, value: ir.Value | None) -> ir.Value:
        """Adds a number of rank 0, of the element type of ``value``."""
        return self.constant(np.array(number, dtype=dtype_of(value).numpy()))

    def part(self, value: ir.Value, axis: int, start: int, stop: int) -> ir.Value:
        """Adds the slice [start, stop) along ``axis``."""
        return self("Slice", value, self.ints(start), self.ints(stop), self.ints(axis))


def replace(node: ir.Node, *values: ir.Value | None) -> None:
    """Lets ``values`` take the places, names and types of the outputs of ``node``; None is unused.

    A value that has a name for itself, an input of the graph, gets an Identity.
    """
    graph = node.graph
    if graph is None:
        raise TypeError("a node in a model belongs to a graph")
    for old, new in zip(node.outputs, values, strict=False):
        if new is None:
            continue
        made = new.producer()
        foreign = made is None or made.graph is not graph
        fresh = new
        if foreign or new.is_graph_output() or new in node.inputs:
            fresh = Builder(node)("Identity", new)
        fresh.type, fresh.shape, fresh.name = old.type, old.shape, old.name
        ir.convenience.replace_all_uses_with(old, fresh, replace_graph_outputs=True)
        producer = fresh.producer()
        if producer is not None:
            producer.meta[_MADE] = node.meta.get(_MADE, 0)
    graph.remove(node, safe=True)


def given(node: ir.Node, index: int) -> ir.Value | None:
    """Returns input ``index``, None if absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant_of(node: ir.Node, index: int) -> Array | None:
    """Returns input ``index`` as an array, None if absent.

    Raises:
        NoExactRuleError: it depends on what the model is fed.
    """
    value = given(node, index)
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise NoExactRuleError(f"input {index} is computed at run time")
    return tensor.numpy()


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is an initializer or a Constant's."""
    return value is not None and ir.convenience.get_const_tensor(value) is not None


def rank_of(value: ir.Value | None) -> int:
    """Returns the rank of a value.

    Raises:
        NoExactRuleError: it is unknown.
    """
    if value is None or value.shape is None:
        raise NoExactRuleError("the rank of its input is unknown")
    return len(value.shape)


def size_of(value: ir.Value | None, axis: int) -> int:
    """Returns the size of one dimension.

    Raises:
        NoExactRuleError: it is not fixed.
    """
    rank = rank_of(value)
    size = value.shape[axis % rank] if value is not None and value.shape is not None else None
    if not isinstance(size, int):
        raise NoExactRuleError(f"dimension {axis % rank} of its input is not fixed; fix its size")
    return size


def dtype_of(value: ir.Value | None) -> ir.DataType:
    """Returns the element type of a value.

    Raises:
        NoExactRuleError: it is unknown.
    """
    if value is None or value.dtype is None:
        raise NoExactRuleError("the element type of its input is unknown")
    return value.dtype


def require_default(node: ir.Node, **defaults: object) -> None:
    """Removes attributes that have their default value; another value has no other spelling.

    The default ``"ones"`` stands for a list of ones of any length.

    Raises:
        NoExactRuleError: an attribute has another value.
    """
    for name, default in defaults.items():
        attribute = node.attributes.get(name)
        if attribute is None:
            continue
        value = attribute.value
        plain = list(value) if isinstance(value, tuple | list) else value
        ones = isinstance(plain, list) and default == "ones" and set(plain) <= {1}
        if not ones and plain != default:
            raise NoExactRuleError(f"attribute {name}={plain!r}")
        del node.attributes[name]
