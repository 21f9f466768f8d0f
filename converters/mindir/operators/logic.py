"""Comparison, logic, selection and conversion of element types."""

from onnx import TensorProto

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.arithmetic import binary, select
from ascend_migrate.converters.mindir.registry import Lowering, Node, operator
from ascend_migrate.converters.mindir.values import UnsupportedError, Value, broadcast
from ascend_migrate.pipeline.dtypes import BY_ONNX

_COMPARISONS = {
    "Equal": ("Equal", (7, 11, 13, 19)),
    "Greater": ("Greater", (7, 9, 13)),
    "GreaterOrEqual": ("GreaterEqual", (12, 16)),
    "Less": ("Less", (7, 9, 13)),
    "LessOrEqual": ("LessEqual", (12, 16)),
    "And": ("LogicalAnd", (7,)),
    "Or": ("LogicalOr", (7,)),
}

_BITWISE = {"BitwiseAnd": (18,), "BitwiseOr": (18,), "BitwiseXor": (18,)}


def _comparison(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """Two inputs, a bool: https://onnx.ai/onnx/operators/ (table above)."""
        return binary(context, primitive, node[0], node[1], "bool")

    return lower


def _bitwise(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """Two integers: https://onnx.ai/onnx/operators/ (table above)."""
        return binary(context, primitive, node[0], node[1])

    return lower


for _name, (_primitive, _versions) in _COMPARISONS.items():
    operator(_name, since=_versions)(_comparison(_primitive))
for _name, _versions in _BITWISE.items():
    operator(_name, since=_versions)(_bitwise(_name))


@operator("Xor", since=7)
def xor(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Xor.html: two bools differ."""
    a, b = (context.cast(node[index], "int32") for index in (0, 1))
    return binary(context, "NotEqual", a, b, "bool")


@operator("Not", since=1)
def logical_not(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Not.html."""
    return context.emit("LogicalNot", node[0], dtype="bool", shape=node[0].shape)


@operator("IsNaN", since=(9, 13, 20))
def is_nan(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__IsNaN.html."""
    return binary(context, "NotEqual", node[0], node[0], "bool")


@operator("IsInf", since=(10, 20))
def is_inf(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__IsInf.html."""
    x = node[0]
    signs = [("detect_positive", "inf"), ("detect_negative", "-inf")]
    found = [
        binary(context, "Equal", x, context.like(float(sign), x), "bool")
        for name, sign in signs
        if node.attributes[name]
    ]
    if not found:
        return binary(context, "Less", x, x, "bool")
    if len(found) == 1:
        return found[0]
    return binary(context, "LogicalOr", found[0], found[1], "bool")


@operator("Where", since=(9, 16))
def where(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Where.html."""
    condition, x, y = node[0], node[1], node[2]
    if condition.constant is not None and x.elements is not None and y.elements is not None:
        flags = condition.constant.reshape(-1)
        if len(flags) == len(x.elements) == len(y.elements):
            triples = zip(flags, x.elements, y.elements, strict=True)
            picked = tuple(a if flag else b for flag, a, b in triples)
            shape = broadcast(condition.shape, x.shape, y.shape)
            return Value(node.name, "int64", shape, elements=picked)
    return select(context, condition, x, y)


@operator("Cast", since=(1, 6, 9, 13, 19, 21, 23, 24, 25, 28))
def cast(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Cast.html: to bool means "is not zero"."""
    target = node.attributes["to"]
    code = TensorProto.DataType.Value(target) if isinstance(target, str) else int(target)
    if code not in BY_ONNX:
        raise UnsupportedError(f"MindIR has no counterpart of ONNX element type {code}")
    return _convert(context, node[0], BY_ONNX[code].name)


@operator("CastLike", since=(15, 19, 21, 23, 24, 25))
def cast_like(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__CastLike.html."""
    return _convert(context, node[0], node[1].dtype)


def _convert(context: Context, x: Value, dtype: str) -> Value:
    if x.elements is not None and dtype == "int64":
        return x
    return context.cast(x, dtype)
