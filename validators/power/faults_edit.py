"""What faults in a graph are made of: looking at one, and edits of a single node."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.power.faults import Edit

if TYPE_CHECKING:
    import onnx

HUGE = 1e30
"""Constants beyond it stand for infinity, as in a mask."""

MOVES = frozenset(
    {"Constant", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split"}
    | {"Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators that compute nothing: a cast behind one is a cast before it."""

_CUBE, _ROOT_HALF = 0.044715, 0.7071067811865476
"""GELU with tanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); with erf: erf(x sqrt(1/2))."""

_CLOSE = 1e-5
"""How near a constant of a graph comes to the one that it was rounded from."""


@dataclass(frozen=True, slots=True)
class View:
    """What one has to know of a graph to propose faults in it.

    Attributes:
        floats: names of floating values that nodes make.
        constants: small fixed numbers by name: initializers that are no weights, and constants.
        fixed: names of all initializers and constants.
        makers: the node that makes each value.
    """

    floats: frozenset[str]
    constants: dict[str, Array]
    fixed: frozenset[str]
    makers: "dict[str, onnx.NodeProto]"

    @classmethod
    def of(cls, model: "onnx.ModelProto", weights: set[str]) -> "View":
        """Looks at a graph without its external data."""
        import onnx
        from onnx import numpy_helper

        try:
            graph = onnx.shape_inference.infer_shapes(model).graph
        except (onnx.shape_inference.InferenceError, ValueError):
            graph = model.graph  # what it declares itself has to do
        kinds = onnx.TensorProto
        values = [*graph.value_info, *graph.output]
        wide = (kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16, kinds.DOUBLE)
        floats = {v.name for v in values if v.type.tensor_type.elem_type in wide}
        constants = {
            t.name: numpy_helper.to_array(t)
            for t in model.graph.initializer
            if t.name not in weights and t.data_location != kinds.EXTERNAL
        }
        for node in model.graph.node:
            value = attribute(node, "value") if node.op_type == "Constant" else None
            if value is not None:
                constants[node.output[0]] = numpy_helper.to_array(value)
        fixed = {*(t.name for t in model.graph.initializer), *constants}
        makers = {name: node for node in model.graph.node for name in node.output}
        return cls(frozenset(floats), constants, frozenset(fixed), makers)

    def scalars(self, node: "onnx.NodeProto", dtype: Any) -> Iterator[tuple[int, Any]]:
        """Yields the node's inputs that are one fixed number, by their places."""
        for place, name in enumerate(node.input):
            array = self.constants.get(name)
            if array is not None and array.size == 1 and np.issubdtype(array.dtype, dtype):
                yield place, array.item()


def attribute(node: "onnx.NodeProto", name: str) -> Any:
    """Returns the value of an attribute; None where the node has none of that name."""
    import onnx

    for item in node.attribute:
        if item.name == name:
            value = onnx.helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return None


def both(*edits: Edit) -> Edit:
    """Makes one edit of several."""

    def edit(model: "onnx.ModelProto") -> None:
        for each in edits:
            each(model)

    return edit


def with_attribute(node: "onnx.NodeProto", name: str, value: Any) -> Edit:
    """Gives an attribute another value."""

    def edit(found: "onnx.NodeProto", _graph: "onnx.GraphProto") -> None:
        import onnx

        kept = [item for item in found.attribute if item.name != name]
        del found.attribute[:]
        found.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return _on(node, edit)


def with_inputs(node: "onnx.NodeProto", names: Sequence[str]) -> Edit:
    """Gives the node other inputs."""

    def edit(found: "onnx.NodeProto", _graph: "onnx.GraphProto") -> None:
        del found.input[:]
        found.input.extend(names)

    return _on(node, edit)


def with_input(node: "onnx.NodeProto", place: int, value: float) -> Edit:
    """Puts another constant in the place of one, for this node alone."""

    def edit(found: "onnx.NodeProto", graph: "onnx.GraphProto") -> None:
        import onnx
        from onnx import numpy_helper

        name = found.input[place]
        right = _constant_of(graph, name)
        wrong = np.full(right.shape, value, right.dtype)
        made = onnx.helper.make_node(
            "Constant", [], [f"{name}/wrong"], value=numpy_helper.from_array(wrong)
        )
        found.input[place] = made.output[0]
        _before(graph, found, made)

    return _on(node, edit)


def as_operator(node: "onnx.NodeProto", operator: str, *, keep: bool = False) -> Edit:
    """Computes by another operator; ``keep`` keeps inputs and attributes, else the first input."""

    def edit(found: "onnx.NodeProto", _graph: "onnx.GraphProto") -> None:
        found.op_type = operator
        if not keep:
            del found.attribute[:]
            del found.input[1:]

    return _on(node, edit)


def as_input(node: "onnx.NodeProto", place: int) -> Edit:
    """Passes on one input as it is."""

    def edit(found: "onnx.NodeProto", _graph: "onnx.GraphProto") -> None:
        kept = found.input[place]
        found.op_type = "Identity"
        del found.attribute[:]
        del found.input[:]
        found.input.append(kept)

    return _on(node, edit)


def through_float16(node: "onnx.NodeProto") -> Edit:
    """Rounds the node's first output to float16 and back to its own type."""

    def edit(found: "onnx.NodeProto", graph: "onnx.GraphProto") -> None:
        import onnx

        name = found.output[0]
        found.output[0] = f"{name}/exact"
        low = onnx.helper.make_node(
            "Cast", [found.output[0]], [f"{name}/low"], to=onnx.TensorProto.FLOAT16
        )
        back = onnx.helper.make_node("CastLike", [f"{name}/low", found.output[0]], [name])
        _after(graph, found, low, back)

    return _on(node, edit)


def erf_as_tanh(node: "onnx.NodeProto") -> Edit:
    """Makes erf(u), u = x sqrt(1/2), into tanh(sqrt(2/pi) (x + 0.044715 x^3)): the other GELU."""

    def edit(found: "onnx.NodeProto", graph: "onnx.GraphProto") -> None:
        # In terms of u: tanh(u (a + b u^2)).
        made = _Made(found.input[0], found.output[0])
        factor = 2 / np.sqrt(np.pi)
        square = made.node("Mul", made.of, made.of)
        cubic = made.node("Mul", square, made.number(2 * _CUBE * factor))
        total = made.node("Add", cubic, made.number(factor))
        inner = made.node("Mul", total, made.of)
        _before(graph, found, *made.nodes)
        found.op_type = "Tanh"
        found.input[0] = inner

    return _on(node, edit)


def tanh_as_erf(node: "onnx.NodeProto", origin: str) -> Edit:
    """Makes the tanh of a GELU of ``origin`` into erf(origin sqrt(1/2))."""

    def edit(found: "onnx.NodeProto", graph: "onnx.GraphProto") -> None:
        made = _Made(origin, found.output[0])
        inner = made.node("Mul", made.of, made.number(_ROOT_HALF))
        _before(graph, found, *made.nodes)
        found.op_type = "Erf"
        found.input[0] = inner

    return _on(node, edit)


def origin_of_tanh_gelu(view: View, node: "onnx.NodeProto") -> str | None:
    """Returns x where the node is the tanh in GELU's formula of x; None elsewhere."""
    if node.op_type != "Tanh":
        return None
    for total in _made_by(view, node, "Mul"):
        for inner in _made_by(view, total, "Add"):
            for place, cubic in enumerate(inner.input):
                maker = view.makers.get(cubic)
                if maker is not None and maker.op_type == "Mul":
                    numbers = [value for _, value in view.scalars(maker, np.floating)]
                    if any(abs(value - _CUBE) < _CLOSE for value in numbers):
                        return str(inner.input[1 - place])
    return None


def _made_by(view: View, node: "onnx.NodeProto", operator: str) -> "Iterator[onnx.NodeProto]":
    for name in node.input:
        maker = view.makers.get(name)
        if maker is not None and maker.op_type == operator:
            yield maker


class _Made:
    """Nodes of a small formula, in order, with names that nothing else has."""

    def __init__(self, of: str, label: str) -> None:
        self.of = of
        self.nodes: list[onnx.NodeProto] = []
        self._label = label

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        import onnx

        name = f"{self._label}/fault_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def number(self, value: float) -> str:
        """A constant of the formula's own element type."""
        constant = self.node("Constant", value_float=float(value))
        return self.node("CastLike", constant, self.of)


def _on(node: "onnx.NodeProto", change: Any) -> Edit:
    """Makes an edit of a change of the node, which is found again by its first output."""
    key = node.output[0]

    def edit(model: "onnx.ModelProto") -> None:
        found = next(item for item in model.graph.node if key in item.output[:1])
        change(found, model.graph)

    return edit


def _constant_of(graph: "onnx.GraphProto", name: str) -> Array:
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    maker = next(node for node in graph.node if name in node.output)
    return numpy_helper.to_array(attribute(maker, "value"))


def _before(graph: "onnx.GraphProto", node: "onnx.NodeProto", *new: "onnx.NodeProto") -> None:
    _insert(graph, _place(graph, node), new)


def _after(graph: "onnx.GraphProto", node: "onnx.NodeProto", *new: "onnx.NodeProto") -> None:
    _insert(graph, _place(graph, node) + 1, new)


def _place(graph: "onnx.GraphProto", node: "onnx.NodeProto") -> int:
    return next(i for i, item in enumerate(graph.node) if item.output == node.output)


def _insert(graph: "onnx.GraphProto", place: int, new: "Sequence[onnx.NodeProto]") -> None:
    for offset, node in enumerate(new):
        graph.node.insert(place + offset, node)
