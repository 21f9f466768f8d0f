"""Kinds of faults in a graph: one node computes something else, or one constant is another.

What a kind proposes need not load or run: a transposed dimension may not fit what follows. Such a
fault hides nowhere, and whoever plants it leaves it out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ascend_migrate.validators.power import faults_edit as edits
from ascend_migrate.validators.power.faults import Edit, GraphFault
from ascend_migrate.validators.power.faults_edit import View

if TYPE_CHECKING:
    import onnx

Kind = Callable[[View, "onnx.NodeProto"], Iterator[tuple[Edit, str]]]
"""Yields edits of one node, each with what is wrong then."""

KINDS: dict[str, Kind] = {}

EPSILON = 1e-3
"""Above it a small constant is no epsilon."""

_TO_THE_END = 2**31 - 1
"""From here on an integer is no index: in a slice it stands for the end, whatever the size."""


def kind(name: str) -> Callable[[Kind], Kind]:
    """Enters a function in `KINDS`."""

    def enter(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return enter


def graph_faults(model: "onnx.ModelProto", weights: set[str]) -> Iterator[GraphFault]:
    """Yields every fault of every kind that a graph can have.

    Args:
        model: the graph, without its external data; it is not changed.
        weights: names of the initializers that are weights: those are no constants.
    """
    view = View.of(model, weights)
    for node in model.graph.node:
        if not node.output or not node.output[0]:
            continue
        for label, function in KINDS.items():
            for edit, note in function(view, node):
                yield GraphFault(label, node.output[0], edit, f"{node.op_type}: {note}")


@kind("epsilon times ten")
def _epsilon(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    value = edits.attribute(node, "epsilon")
    if value is not None:
        yield edits.with_attribute(node, "epsilon", value * 10), f"epsilon {value * 10:.1g}"
    for place, constant in view.scalars(node, np.floating):
        if 0 < constant < EPSILON:
            note = f"adds {constant * 10:.1g} in place of {constant:.1g}"
            yield edits.with_input(node, place, constant * 10), note


@kind("constant changed")
def _constant(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    for place, constant in view.scalars(node, np.floating):
        # A multiple of the largest number would be infinite.
        factor = 1.01 if abs(constant) < edits.HUGE else 0.99
        if constant and not 0 < constant < EPSILON:
            note = f"{constant * factor:.4g} in place of {constant:.4g}"
            yield edits.with_input(node, place, constant * factor), note
    alpha = edits.attribute(node, "alpha")
    if alpha is not None:
        yield edits.with_attribute(node, "alpha", alpha * 1.01), f"alpha {alpha * 1.01:.4g}"


@kind("index off by one")
def _index(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    for place, constant in view.scalars(node, np.integer):
        if abs(constant) >= _TO_THE_END:
            continue
        yield edits.with_input(node, place, constant + 1), f"{constant + 1} in place of {constant}"


@kind("axis off by one")
def _axis(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    del view
    axis = edits.attribute(node, "axis")
    if axis is not None:
        for wrong in (axis - 1, axis + 1):
            yield edits.with_attribute(node, "axis", wrong), f"axis {wrong} in place of {axis}"
    axes = edits.attribute(node, "axes")
    if axes is not None and node.op_type != "Unsqueeze":
        for step in (-1, 1):
            wrong_axes = [a + step for a in axes]
            yield edits.with_attribute(node, "axes", wrong_axes), f"axes {wrong_axes}"


@kind("transposed otherwise")
def _perm(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    del view
    perm = edits.attribute(node, "perm")
    if perm is None:
        return
    for first, second in ((-1, -2), (0, 1), (1, 2)):
        wrong = list(perm)
        if len(wrong) > max(first, second):
            wrong[first], wrong[second] = wrong[second], wrong[first]
            yield edits.with_attribute(node, "perm", wrong), f"perm {wrong}"


_OTHER_ACTIVATION = {
    "Relu": "LeakyRelu",
    "LeakyRelu": "Relu",
    "PRelu": "Relu",
    "Elu": "Relu",
    "Sigmoid": "HardSigmoid",
    "HardSigmoid": "Sigmoid",
    "HardSwish": "Relu",
    "Tanh": "Softsign",
    "Softplus": "Relu",
    "Softmax": "Sigmoid",
}


@kind("other activation")
def _activation(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    del view
    other = _OTHER_ACTIVATION.get(node.op_type)
    if other is not None:
        yield edits.as_operator(node, other), f"computed as {other}"


@kind("other GELU")
def _gelu(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    if node.op_type == "Gelu":
        exact = edits.attribute(node, "approximate") in (None, "none")
        flavour = "tanh" if exact else "none"
        yield edits.with_attribute(node, "approximate", flavour), f"approximate={flavour}"
    if node.op_type == "Erf":
        yield edits.erf_as_tanh(node), "by its formula with tanh"
    origin = edits.origin_of_tanh_gelu(view, node)
    if origin is not None:
        yield edits.tanh_as_erf(node, origin), "by its formula with erf"


@kind("term dropped")
def _dropped(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    if node.op_type not in ("Add", "Sub", "Mul") or view.fixed & {*node.input}:
        return
    if node.output[0] in view.floats:
        yield edits.as_input(node, 0), f"without {node.input[1]}"
        if node.op_type == "Add":
            yield edits.as_input(node, 1), f"without {node.input[0]}"


@kind("operands exchanged")
def _exchanged(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    del view
    first = {"Sub": 0, "Div": 0, "MatMul": 0, "Concat": 0, "Where": 1}.get(node.op_type)
    if first is not None and len(node.input) > first + 1:
        order = list(node.input)
        order[first], order[first + 1] = order[first + 1], order[first]
        if order != list(node.input):
            yield edits.with_inputs(node, order), f"{order[first]} before {order[first + 1]}"


_OTHER_OPERATOR = {
    "Add": "Sub",
    "Sub": "Add",
    "Max": "Min",
    "Min": "Max",
    "ReduceMean": "ReduceMax",
    "ReduceMax": "ReduceMean",
    "GlobalAveragePool": "GlobalMaxPool",
    "Floor": "Ceil",
    "Ceil": "Floor",
    "Round": "Floor",
    "Sin": "Cos",
    "Cos": "Sin",
}


@kind("other operator")
def _operator(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    other = _OTHER_OPERATOR.get(node.op_type)
    if other is not None and node.output[0] in view.floats:
        yield edits.as_operator(node, other, keep=True), f"computed as {other}"


_OTHER_MODE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "mode": {
        "reflect": ("edge", "constant"),
        "edge": ("constant",),
        "constant": ("edge",),
        "linear": ("nearest",),
        "cubic": ("linear",),
        "nearest": ("linear",),
    },
    "coordinate_transformation_mode": {
        "half_pixel": ("asymmetric", "align_corners"),
        "pytorch_half_pixel": ("asymmetric",),
        "align_corners": ("half_pixel",),
        "asymmetric": ("half_pixel",),
    },
    "nearest_mode": {
        "floor": ("ceil",),
        "ceil": ("floor",),
        "round_prefer_floor": ("ceil",),
        "round_prefer_ceil": ("floor",),
    },
    "direction": {"forward": ("reverse",), "reverse": ("forward",)},
}


@kind("padding or rounding mode")
def _mode(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    del view
    for name, others in _OTHER_MODE.items():
        value = edits.attribute(node, name)
        for wrong in others.get(value, ()) if isinstance(value, str) else ():
            yield edits.with_attribute(node, name, wrong), f"{name}={wrong}"
    for name in ("count_include_pad", "ceil_mode", "linear_before_reset", "upper"):
        flag = edits.attribute(node, name)
        if flag is not None:
            yield edits.with_attribute(node, name, 1 - flag), f"{name}={1 - flag}"


@kind("window moved or dilated")
def _window(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    del view
    pads: Any = edits.attribute(node, "pads")
    if not pads:
        return
    half = len(pads) // 2
    if pads[0] and "Pool" not in node.op_type:
        moved = [pads[0] - 1, *pads[1:half], pads[half] + 1, *pads[half + 1 :]]
        yield edits.with_attribute(node, "pads", moved), f"pads {moved}"
    dilations = edits.attribute(node, "dilations") or [1] * half
    sizes = edits.attribute(node, "kernel_shape")
    if node.op_type == "Conv" and sizes and all(size == 3 for size in sizes):  # noqa: PLR2004
        wider = [p + d for p, d in zip(pads, [*dilations, *dilations], strict=True)]
        twice = [2 * d for d in dilations]
        one = edits.with_attribute(node, "pads", wider)
        other = edits.with_attribute(node, "dilations", twice)
        yield edits.both(one, other), f"dilations {twice}"


@kind("cast to float16")
def _cast(view: View, node: "onnx.NodeProto") -> Iterator[tuple[Edit, str]]:
    if node.output[0] in view.floats and node.op_type not in edits.MOVES:
        yield edits.through_float16(node), "its result passes through float16"
