"""The functions inside recurrent layers, which attributes name and scale."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from ascend_migrate.converters.onnx_building import Builder, NoExactRuleError, dtype_of

Activation = Callable[[Builder, ir.Value], ir.Value]

_OPERATORS = (
    *("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus"),
    *("LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu"),
)
"""Those that are operators as well, whose attributes have the same defaults."""

_SCALED = ("Affine", "ScaledTanh")
"""The others, for whose factors ONNX has no defaults."""

_BY_NAME = {name.lower(): name for name in (*_OPERATORS, *_SCALED)}
"""onnxruntime takes the names in any case."""

_GATES = 2
"""Functions of a direction that are applied to gates; the third is applied to an LSTM's cell."""


def activations(node: ir.Node, own: Sequence[str]) -> list[tuple[Activation, ...]]:
    """Returns the functions of each direction, in the order of the operator's page.

    https://onnx.ai/onnx/operators/onnx__LSTM.html: activation_alpha and activation_beta are taken
    one after the other by those functions that have such a factor; clip bounds what goes in.

    Raises:
        NoExactRuleError: names a function that ONNX does not have.
    """
    both = node.attributes.get_string("direction", "forward") == "bidirectional"
    directions, count = 1 + both, len(own)
    stated = node.attributes.get("activations")
    names = list(stated.as_strings()) if stated is not None else list(own) * directions
    if len(names) < count * directions:
        raise NoExactRuleError(f"activations {names}; {count} for each direction")
    factors = {name: _factors(node, f"activation_{name}") for name in ("alpha", "beta")}
    clip = node.attributes.get_float("clip", 0.0) if "clip" in node.attributes else None
    kind = dtype_of(node.inputs[0])
    # The schema's default names one for each direction, even where there is only one.
    found = [
        # What an LSTM does to its cell is no gate: onnxruntime clips the gates only.
        _activation(name, factors, clip if index % count < _GATES else None, kind)
        for index, name in enumerate(names[: count * directions])
    ]
    return [tuple(found[i : i + count]) for i in range(0, len(found), count)]


def _factors(node: ir.Node, name: str) -> Iterator[float]:
    attribute = node.attributes.get(name)
    return iter(() if attribute is None else attribute.as_floats())


def _activation(
    name: str, factors: dict[str, Iterator[float]], clip: float | None, kind: ir.DataType
) -> Activation:
    own = _BY_NAME.get(name.lower())
    if own is None:
        raise NoExactRuleError(f"activation {name}")
    taken = {key: next(factors[key], default) for key, default in _defaults(own).items()}
    if None in taken.values():
        raise NoExactRuleError(f"activation {name} without activation_alpha and activation_beta")

    def apply(make: Builder, x: ir.Value) -> ir.Value:
        def number(value: float | None) -> ir.Value:
            return make.constant(np.array(value, dtype=kind.numpy()))

        if clip is not None:
            x = make("Clip", x, number(-clip), number(clip))
        if own not in _SCALED:
            return make(own, x, **taken)
        alpha, beta = number(taken["alpha"]), number(taken["beta"])
        if own == "Affine":
            return make("Add", make("Mul", alpha, x), beta)
        return make("Mul", alpha, make("Tanh", make("Mul", beta, x)))

    return apply


def _defaults(own: str) -> dict[str, float | None]:
    if own in _SCALED:
        return {"alpha": None, "beta": None}
    attributes = onnx.defs.get_schema(own, 17).attributes
    return {name: item.default_value.f for name, item in attributes.items()}
