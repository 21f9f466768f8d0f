"""The fault kit: seeded faults as bad copies and broken converters make them.

Planted on purpose, to measure what a verdict sees (`power`, ``ascend-migrate selftest`` and ``make
power``). Kinds that change weights are in `faults_weights`, those that change a graph in
`faults_graph`; a new kind is one function there. Nothing here rewrites a file.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ascend_migrate.validators.cases import Array

if TYPE_CHECKING:
    import onnx

Weights = Mapping[str, Array]
"""Floating tensors of an artifact by name; they may be mapped from its file."""

Edit = Callable[["onnx.ModelProto"], None]
"""Plants a fault in a graph, in place; finds its node by the name of the node's first output, so
that it works as well on the graph's float64 twin."""


@dataclass(frozen=True, slots=True)
class WeightFault:
    """Tensors that took the place of the right ones.

    Attributes:
        kind: name of the kind.
        place: name of the tensor.
        weights: the wrong tensors by name, of unchanged types and sizes; two after an exchange.
        note: what is wrong with it.
    """

    kind: str
    place: str
    weights: Weights
    note: str


@dataclass(frozen=True, slots=True)
class GraphFault:
    """An edit of one node, or of one small constant.

    Attributes:
        kind: name of the kind.
        place: first output of the node, or name of the constant.
        edit: plants it.
        note: what is wrong with it.
    """

    kind: str
    place: str
    edit: Edit
    note: str


Fault = WeightFault | GraphFault


def together(faults: Iterable[WeightFault]) -> WeightFault:
    """Returns faults of different tensors as one: what it does not show, none of them does.

    Which is no theorem, but random numbers do not undo each other.
    """
    weights = {name: wrong for fault in faults for name, wrong in fault.weights.items()}
    return WeightFault("together", ", ".join(weights), weights, "")
