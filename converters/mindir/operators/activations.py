"""The functions inside recurrent layers, which attributes name and scale."""

from collections.abc import Callable, Iterator
from typing import Any

import onnx
from onnx import defs

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, tanh
from ascend_migrate.converters.mindir.registry import Node, attributes_of, registry
from ascend_migrate.converters.mindir.values import UnsupportedError, Value

Activation = Callable[[Context, Value], Value]

_OPERATORS = (
    *("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus"),
    *("LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu"),
)
"""Those that are operators as well, whose attributes have the same defaults."""

_SCALED = ("Affine", "ScaledTanh")
"""The others, for whose factors ONNX has no defaults."""

_BY_NAME = {name.lower(): name for name in (*_OPERATORS, *_SCALED)}
"""onnxruntime takes the names in any case."""

_OPSET = 17

_GATES = 2
"""Functions of a direction that are applied to gates; the third is applied to an LSTM's cell."""


def activations(node: Node, *defaults: str) -> list[tuple[Activation, ...]]:
    """Returns the functions of each direction, in the order of the operator's page.

    https://onnx.ai/onnx/operators/onnx__LSTM.html: activation_alpha and activation_beta are taken
    one after the other by those functions that have such a factor; clip bounds what goes in.

    Raises:
        UnsupportedError: names a function that ONNX does not have.
    """
    directions = 2 if node.attributes["direction"] == "bidirectional" else 1
    names = [str(name) for name in node.attributes.get("activations") or defaults * directions]
    if len(names) < len(defaults) * directions:
        raise UnsupportedError(f"activations {names}; {len(defaults)} for each direction")
    factors = {
        name: iter(node.attributes.get(f"activation_{name}") or ()) for name in ("alpha", "beta")
    }
    # The schema's default names one for each direction, even where there is only one.
    names = names[: len(defaults) * directions]
    found = []
    for index, name in enumerate(names):
        # What an LSTM does to its cell is no gate: onnxruntime clips the gates only.
        clip = node.attributes.get("clip") if index % len(defaults) < _GATES else None
        found.append(_activation(name, factors, clip))
    count = len(defaults)
    return [tuple(found[i : i + count]) for i in range(0, len(found), count)]


def _activation(name: str, factors: dict[str, Iterator[float]], clip: float | None) -> Activation:
    own = _BY_NAME.get(name.lower())
    if own is None:
        raise UnsupportedError(f"activation {name}")
    given = {key: next(factors[key], default) for key, default in _defaults(own).items()}
    if None in given.values():
        raise UnsupportedError(f"activation {name} without activation_alpha and activation_beta")

    def apply(context: Context, x: Value) -> Value:
        if clip is not None:
            x = binary(context, "Maximum", x, context.like(-clip, x))
            x = binary(context, "Minimum", x, context.like(clip, x))
        if own not in _SCALED:
            return _operator(context, own, x, given)
        alpha, beta = (context.like(given[key], x) for key in ("alpha", "beta"))
        if own == "Affine":
            return binary(context, "Add", binary(context, "Mul", alpha, x), beta)
        return binary(context, "Mul", alpha, tanh(context, binary(context, "Mul", beta, x)))

    return apply


def _defaults(name: str) -> dict[str, Any]:
    if name in _SCALED:
        return {"alpha": None, "beta": None}
    return attributes_of(onnx.NodeProto(), defs.get_schema(name, _OPSET))


def _operator(context: Context, name: str, x: Value, attributes: dict[str, Any]) -> Value:
    since = defs.get_schema(name, _OPSET).since_version
    node = Node(context.scope, name, since, (x,), attributes, ("y",))
    found = registry()[name, since](context, node)
    return found if isinstance(found, Value) else found[0]
