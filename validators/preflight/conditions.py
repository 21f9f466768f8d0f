"""Asking the condition of a rule of a node. The vocabulary is closed: an unknown word is an error.

A condition is one of::

    {"attribute": NAME, TEST...}    of the value, or of the default of its schema
    {"input": INDEX, TEST...}       of what is fed there
    {"output": INDEX, "used": BOOL}
    {"inputs_below": COUNT}, {"opset_from": VERSION}
    {"all": [...]}, {"any": [...]}, {"none": [...]}

What the graph does not tell, such as a rank that shape inference did not find, is not held
against it: a condition on it is false.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx_ir as ir

from ascend_migrate.pipeline.dtypes import BY_ONNX

Condition = Mapping[str, Any]
Test = Callable[[Any, Any], bool]


def holds(condition: Condition, node: ir.Node, opset: int) -> bool:
    """Whether a condition is true of a node.

    Args:
        condition: of a rule.
        node: after shape inference.
        opset: of ai.onnx, which decides the defaults of attributes.

    Raises:
        ValueError: the condition is none.
    """
    word = next((word for word in _WORDS if word in condition), None)
    if word is None:
        raise ValueError(f"no condition: {dict(condition)}")
    tests = {key: value for key, value in condition.items() if key != word}
    return _WORDS[word](condition[word], tests, node, opset)


def _input(index: int, tests: Condition, node: ir.Node, _opset: int) -> bool:
    value = node.inputs[index] if index < len(node.inputs) else None
    return all(_INPUT[word](value, wanted) for word, wanted in tests.items())


def _output(index: int, tests: Condition, node: ir.Node, _opset: int) -> bool:
    """Whether there is such an output: its name alone is enough for the parser to make it."""
    named = index < len(node.outputs) and bool(node.outputs[index].name)
    return named == bool(tests["used"])


def _attribute(name: str, tests: Condition, node: ir.Node, opset: int) -> bool:
    given = node.attributes.get(name)
    if "given" in tests:
        return (given is not None) == bool(tests["given"])
    value = _plain(given.value) if given is not None else _default(node.op_type, name, opset)
    if value is None:
        return False
    return all(_ATTRIBUTE[word](value, wanted) for word, wanted in tests.items())


def _default(op_type: str, name: str, opset: int) -> Any:
    """Returns the default that the operator's schema gives an attribute; None where it has none."""
    try:
        attribute = onnx.defs.get_schema(op_type, opset, "").attributes.get(name)
    except onnx.defs.SchemaError:
        return None
    if attribute is None or not attribute.default_value.type:
        return None
    return _plain(onnx.helper.get_attribute_value(attribute.default_value))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_ATTRIBUTE: dict[str, Test] = {
    "is": lambda value, wanted: bool(value == wanted),
    "not": lambda value, wanted: bool(value != wanted),
    "in": lambda value, wanted: value in wanted,
    "not_in": lambda value, wanted: value not in wanted,
    "above": lambda value, wanted: any(item > wanted for item in _elements(value)),
    "below": lambda value, wanted: any(item < wanted for item in _elements(value)),
    "product_above": lambda value, wanted: math.prod(_elements(value)) > wanted,
    "parity": lambda value, wanted: ("even", "odd")[value % 2] == wanted,
}
"""What may be asked of the value of an attribute."""


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _rank_test(test: Callable[[int, Any], bool]) -> Test:
    def ask(value: Any, wanted: Any) -> bool:
        rank = _rank(value)
        return rank is not None and test(rank, wanted)

    return ask


def _dtype(value: Any, wanted: Any) -> bool:
    return element_type(value) in wanted


def element_type(value: ir.Value | None) -> str:
    """Returns our spelling of the element type of a value; empty where it is not known."""
    if value is None or value.dtype is None:
        return ""
    known = BY_ONNX.get(int(value.dtype))
    return known.name if known is not None else value.dtype.name.lower()


def _constant(value: Any, wanted: Any) -> bool:
    """Whether a given input is, or is not, a constant; one that is left out is neither."""
    return value is not None and (_known(value) is not None) == bool(wanted)


def _known(value: ir.Value) -> ir.TensorProtocol | None:
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant":
        return ir.convenience.get_const_tensor(value)
    return value.const_value


def _maker(value: ir.Value | None) -> str:
    producer = value.producer() if value is not None else None
    return producer.op_type if producer is not None else ""


def _width_above(value: Any, wanted: Any) -> bool:
    width = value.shape[-1] if value is not None and value.shape else None
    return isinstance(width, int) and width > wanted


def _value_above(value: Any, wanted: Any) -> bool:
    tensor = _known(value) if value is not None else None
    return tensor is not None and bool((tensor.numpy() > wanted).any())


def _nonzero(value: Any, wanted: Any) -> bool:
    tensor = _known(value) if value is not None else None
    return tensor is not None and bool((tensor.numpy() != 0).any()) == wanted


def _odd_count(value: Any, wanted: Any) -> bool:
    tensor = _known(value) if value is not None else None
    return tensor is not None and (tensor.numpy().size % 2 == 1) == bool(wanted)


_INPUT: dict[str, Test] = {
    "given": lambda value, wanted: (value is not None) == wanted,
    "constant": _constant,
    "dtype": _dtype,
    "rank_in": _rank_test(lambda rank, wanted: rank in wanted),
    "rank_not_in": _rank_test(lambda rank, wanted: rank not in wanted),
    "rank_above": _rank_test(lambda rank, wanted: rank > wanted),
    "made_by": lambda value, wanted: _maker(value) in wanted,
    "width_above": _width_above,
    "value_above": _value_above,
    "nonzero": _nonzero,
    "odd_count": _odd_count,
}
"""What may be asked of an input."""

_WORDS: dict[str, Callable[[Any, Condition, ir.Node, int], bool]] = {
    "all": lambda parts, _, node, opset: all(holds(part, node, opset) for part in parts),
    "any": lambda parts, _, node, opset: any(holds(part, node, opset) for part in parts),
    "none": lambda parts, _, node, opset: not any(holds(part, node, opset) for part in parts),
    "inputs_below": lambda count, _, node, _opset: len(node.inputs) < count,
    "opset_from": lambda version, _, _node, opset: bool(opset >= version),
    "attribute": _attribute,
    "input": _input,
    "output": _output,
}
"""How a condition may begin."""
