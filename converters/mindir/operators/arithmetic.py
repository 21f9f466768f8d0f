"""Elementwise arithmetic and activations."""

from dataclasses import replace
from functools import reduce

import numpy as np

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.registry import Lowering, Node, operator
from ascend_migrate.converters.mindir.values import (
    Element,
    UnsupportedError,
    Value,
    broadcast,
    natural,
)

_UNARY: dict[str, tuple[str, tuple[int, ...]]] = {
    "Acos": ("ACos", (7, 22)),
    "Acosh": ("Acosh", (9, 22)),
    "Asin": ("Asin", (7, 22)),
    "Asinh": ("Asinh", (9, 22)),
    "Atan": ("Atan", (7, 22)),
    "Atanh": ("Atanh", (9, 22)),
    "Ceil": ("Ceil", (1, 6, 13)),
    "Cos": ("Cos", (7, 22)),
    "Cosh": ("Cosh", (9, 22)),
    "Erf": ("Erf", (9, 13)),
    "Exp": ("Exp", (1, 6, 13)),
    "Floor": ("Floor", (1, 6, 13)),
    "HardSwish": ("HSwish", (14, 22)),
    "Neg": ("Neg", (1, 6, 13)),
    "Reciprocal": ("Reciprocal", (1, 6, 13)),
    "Relu": ("ReLU", (1, 6, 13, 14)),
    "Round": ("Round", (11, 22)),
    "Sigmoid": ("Sigmoid", (1, 6, 13)),
    "Sin": ("Sin", (7, 22)),
    "Sinh": ("Sinh", (9, 22)),
    "Softplus": ("Softplus", (1, 22)),
    "Softsign": ("Softsign", (1, 22)),
    "Sqrt": ("Sqrt", (1, 6, 13)),
    "Tan": ("Tan", (7, 22)),
}


def _unary(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """One input, one primitive: https://onnx.ai/onnx/operators/ (table above)."""
        x = node[0]
        return context.emit(primitive, x, dtype=x.dtype, shape=x.shape)

    return lower


for _name, (_primitive, _versions) in _UNARY.items():
    operator(_name, since=_versions)(_unary(_primitive))


def binary(context: Context, primitive: str, a: Value, b: Value, dtype: str | None = None) -> Value:
    """Emits an elementwise primitive of two broadcast inputs."""
    shape = broadcast(a.shape, b.shape)
    return context.emit(primitive, a, b, dtype=dtype or a.dtype, shape=shape)


@operator("Abs", since=(1, 6, 13))
def absolute(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Abs.html."""
    x = node[0]
    return x if x.dtype.startswith("uint") else context.emit("Abs", x, dtype=x.dtype, shape=x.shape)


@operator("Sign", since=(9, 13))
def sign(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Sign.html."""
    x = node[0]
    if x.dtype.startswith("uint"):
        return context.cast(binary(context, "NotEqual", x, context.like(0, x), "bool"), x.dtype)
    # The primitive takes no narrower integers.
    wide = context.cast(x, "int32") if x.dtype in {"int8", "int16"} else x
    return context.cast(context.emit("Sign", wide, dtype=wide.dtype, shape=x.shape), x.dtype)


@operator("Mish", since=(18, 22))
def mish(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Mish.html: from 20 on, x itself.

    There the difference is less than any of our types can hold, but MindSpore's kernel for the CPU
    computes an exponential that overflows, and gives NaN.
    """
    x = node[0]
    limit = context.like(20, x)
    low = binary(context, "Minimum", x, limit)
    curved = context.emit("Mish", low, dtype=x.dtype, shape=x.shape)
    return select(context, binary(context, "Less", x, limit, "bool"), curved, x)


@operator("Tanh", since=(1, 6, 13))
def tanh_(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Tanh.html."""
    return tanh(context, node[0])


def tanh(context: Context, x: Value) -> Value:
    """Emits the hyperbolic tangent; in float32 as 2t / (1 + t * t), where t is that of x / 2.

    MindSpore's float32 kernel for the CPU is a quotient of polynomials that is wrong by 1e-4 at 5,
    which no check could tell from a fault of the model. Where it is wrong, the formula is flat: the
    result is right to 1.3e-7 everywhere.
    """
    if x.dtype != "float32":
        return context.emit("Tanh", x, dtype=x.dtype, shape=x.shape)
    half = binary(context, "Mul", x, context.like(0.5, x))
    t = context.emit("Tanh", half, dtype=x.dtype, shape=x.shape)
    square = context.emit("Square", t, dtype=x.dtype, shape=x.shape)
    below = binary(context, "Add", square, context.like(1, x))
    return binary(context, "RealDiv", binary(context, "Add", t, t), below)


@operator("Log", since=(1, 6, 13))
def log(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Log.html; in float32 as log1p(x - 1) above one half.

    MindSpore's float32 kernel of Log for the CPU is up to 5 units off, even at powers of two. Where
    the next operator cuts off the fraction, as in the position buckets of T5, that is another
    integer. Its kernel of Log1p rounds correctly, and x - 1 is exact there up to 2 and for what
    has few bits.
    """
    x = node[0]
    plain = context.emit("Log", x, dtype=x.dtype, shape=x.shape)
    if x.dtype != "float32":
        return plain
    less = binary(context, "Sub", x, context.like(1, x))
    fine = context.emit("Log1p", less, dtype=x.dtype, shape=x.shape)
    return select(context, binary(context, "Greater", x, context.like(0.5, x), "bool"), fine, plain)


def _sizes(context: Context, node: Node, name: str) -> Value | None:
    """Computes with sizes where both inputs are elements of shapes."""
    a, b = node[0], node[1]
    if a.elements is None or b.elements is None:
        return None
    count = max(len(a.elements), len(b.elements))
    if {len(a.elements), len(b.elements)} - {1, count}:
        return None
    pairs = zip(_stretch(a.elements, count), _stretch(b.elements, count), strict=True)
    elements = tuple(context.arithmetic(name, x, y) for x, y in pairs)
    return Value(node.name, "int64", broadcast(a.shape, b.shape), elements=elements)


def _stretch(elements: tuple[Element, ...], count: int) -> tuple[Element, ...]:
    return elements * count if len(elements) == 1 else elements


@operator("Add", since=(7, 13, 14))
def add(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Add.html."""
    return _sizes(context, node, "Add") or binary(context, "Add", node[0], node[1])


@operator("Sub", since=(7, 13, 14))
def sub(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Sub.html."""
    return _sizes(context, node, "Sub") or subtract(context, node[0], node[1])


def subtract(context: Context, a: Value, b: Value) -> Value:
    """Subtracts; MindSpore has no kernel for wide unsigned integers, whose bits int64 holds."""
    if a.dtype not in {"uint32", "uint64"}:
        return binary(context, "Sub", a, b)
    left, right = context.cast(a, "int64"), context.cast(b, "int64")
    return context.cast(binary(context, "Sub", left, right), a.dtype)


@operator("Mul", since=(7, 13, 14))
def mul(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Mul.html."""
    return _sizes(context, node, "Mul") or binary(context, "Mul", node[0], node[1])


@operator("Div", since=(7, 13, 14))
def div(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Div.html: integers are truncated towards zero."""
    a, b = node[0], node[1]
    if a.floating:
        return binary(context, "RealDiv", a, b)
    # Of what is not negative, the floor is the truncation.
    if all(natural(item) for value in (a, b) for item in value.elements or (-1,)):
        sizes = _sizes(context, node, "FloorDiv")
        if sizes is not None:
            return sizes
    return binary(context, "TruncateDiv", a, b)


@operator("Mod", since=(10, 13, 28))
def mod(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Mod.html: fmod=1 takes the sign of the dividend."""
    a, b = node[0], node[1]
    if a.floating:
        rest = binary(context, "TruncateMod", a, b)
        return rest if node.attributes["fmod"] else _towards_divisor(context, rest, b)
    if not node.attributes["fmod"] and not a.dtype.startswith("uint"):
        return binary(context, "FloorMod", a, b)
    # TruncateMod has no int64, FloorMod no unsigned integers.
    whole = binary(context, "Mul", binary(context, "TruncateDiv", a, b), b)
    return subtract(context, a, whole)


def _towards_divisor(context: Context, rest: Value, b: Value) -> Value:
    """Gives a remainder the sign of the divisor; FloorMod does not know infinite ones."""
    zero = context.like(0, b)
    sign = context.emit("Sign", b, dtype=b.dtype, shape=b.shape)
    crossed = binary(context, "Less", binary(context, "Mul", rest, sign), zero, "bool")
    moved = select(context, crossed, binary(context, "Add", rest, b), rest)
    below = binary(context, "Less", b, zero, "bool")
    signed = select(context, below, context.like(-0.0, b), zero)
    return select(context, binary(context, "Equal", rest, zero, "bool"), signed, moved)


@operator("Pow", since=(7, 12, 13, 15))
def power(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Pow.html: the result has the type of the base."""
    base, exponent = node[0], node[1]
    shape = broadcast(base.shape, exponent.shape)
    # The square is by far the most frequent power (RMSNorm), and has a kernel of its own.
    squared = exponent.constant is not None and (exponent.constant == 2).all()  # noqa: PLR2004
    if base.floating and squared and shape == base.shape:
        return context.emit("Square", base, dtype=base.dtype, shape=shape)
    if base.floating or not exponent.floating:
        return binary(context, "Pow", base, context.cast(exponent, base.dtype))
    wide = binary(context, "Pow", context.cast(base, exponent.dtype), exponent)
    return context.cast(wide, base.dtype)


def _variadic(primitive: str) -> Lowering:
    def lower(context: Context, node: Node) -> Value:
        """Any number of inputs, folded from the left."""
        if len(node.inputs) == 1:
            return node[0]
        values = [node[index] for index in range(len(node.inputs))]
        return reduce(lambda a, b: binary(context, primitive, a, b), values)

    return lower


operator("Sum", since=(1, 6, 8, 13))(_variadic("Add"))


def _extreme(primitive: str, sizes: str) -> Lowering:
    plain = _variadic(primitive)

    def lower(context: Context, node: Node) -> Value:
        """Largest or smallest of any number of inputs."""
        if len(node.inputs) == 2:  # noqa: PLR2004 - sizes are compared in pairs
            found = _sizes(context, node, sizes)
            if found is not None:
                return found
        narrow = node[0].dtype == "uint16"
        if narrow:
            # Maximum has no kernel for it.
            wide = tuple(value and context.cast(value, "int32") for value in node.inputs)
            node = replace(node, inputs=wide)
        result = plain(context, node)
        result = result if isinstance(result, Value) else result[0]
        return context.cast(result, "uint16") if narrow else result

    return lower


operator("Max", since=(1, 6, 8, 12, 13))(_extreme("Maximum", "Max"))
operator("Min", since=(1, 6, 8, 12, 13))(_extreme("Minimum", "Min"))


@operator("Mean", since=(1, 6, 8, 13))
def mean(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Mean.html."""
    total = _variadic("Add")(context, node)
    assert isinstance(total, Value)  # noqa: S101 - narrows the type
    return binary(context, "RealDiv", total, context.like(len(node.inputs), total))


@operator("Clip", since=(1, 6, 11, 12, 13))
def clip(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Clip.html: either bound may be missing."""
    x = node[0]
    bounds: list[Value | None] = [node.optional(1), node.optional(2)]
    if node.since < 11:  # noqa: PLR2004 - bounds were attributes
        given = [node.attributes.get(name) for name in ("min", "max")]
        bounds = [None if item is None else context.like(item, x) for item in given]
    # Minimum last: where the bounds cross, ONNX gives the upper one.
    for primitive, bound in zip(("Maximum", "Minimum"), bounds, strict=True):
        if bound is not None:
            x = context.emit(primitive, x, bound, dtype=x.dtype, shape=x.shape)
    return x


@operator("Gelu", since=20)
def gelu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Gelu.html: exact, or by tanh."""
    x = node[0]
    if node.attributes["approximate"] == "tanh":
        return context.emit("GeLU", x, dtype=x.dtype, shape=x.shape)
    scaled = binary(context, "Mul", x, context.like(float(np.sqrt(0.5)), x))
    erf = context.emit("Erf", scaled, dtype=x.dtype, shape=x.shape)
    weight = binary(context, "Mul", context.like(0.5, x), x)
    return binary(context, "Mul", weight, binary(context, "Add", erf, context.like(1, x)))


@operator("LeakyRelu", since=(1, 6, 16))
def leaky_relu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__LeakyRelu.html."""
    x = node[0]
    return _where_negative(context, x, binary(context, "Mul", x, _number(context, node, "alpha")))


@operator("Elu", since=(1, 6, 22))
def elu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Elu.html."""
    x = node[0]
    negative = binary(context, "Mul", _number(context, node, "alpha"), _expm1(context, x))
    return _where_negative(context, x, negative)


@operator("Celu", since=(12, 28))
def celu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Celu.html."""
    x, alpha = node[0], _number(context, node, "alpha")
    inner = _expm1(context, binary(context, "RealDiv", x, alpha))
    return _where_negative(context, x, binary(context, "Mul", alpha, inner))


@operator("Selu", since=(1, 6, 22))
def selu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Selu.html."""
    x = node[0]
    inner = binary(context, "Mul", _number(context, node, "alpha"), _expm1(context, x))
    both = _where_negative(context, x, inner)
    return binary(context, "Mul", _number(context, node, "gamma"), both)


@operator("PRelu", since=(7, 9, 16))
def prelu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__PRelu.html: the slope is broadcast."""
    x, slope = node[0], node[1]
    return _where_negative(context, x, binary(context, "Mul", x, slope))


@operator("ThresholdedRelu", since=(10, 22))
def thresholded_relu(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html."""
    x = node[0]
    above = binary(context, "Greater", x, _number(context, node, "alpha"), "bool")
    return select(context, above, x, context.like(0, x))


@operator("HardSigmoid", since=(1, 6, 22))
def hard_sigmoid(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__HardSigmoid.html."""
    x = binary(context, "Mul", node[0], _number(context, node, "alpha"))
    x = binary(context, "Add", x, _number(context, node, "beta"))
    x = binary(context, "Maximum", x, context.like(0, x))
    return binary(context, "Minimum", x, context.like(1, x))


@operator("Shrink", since=9)
def shrink(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Shrink.html."""
    x, limit = node[0], float(node.attributes["lambd"])
    bias = context.like(node.attributes["bias"], x)
    low = binary(context, "Less", x, context.like(-limit, x), "bool")
    high = binary(context, "Greater", x, context.like(limit, x), "bool")
    inner = select(context, high, binary(context, "Sub", x, bias), context.like(0, x))
    return select(context, low, binary(context, "Add", x, bias), inner)


def select(context: Context, condition: Value, x: Value, y: Value) -> Value:
    """Takes ``x`` where the condition holds and ``y`` elsewhere; all three are broadcast."""
    shape = broadcast(condition.shape, x.shape, y.shape)
    return context.emit("Select", condition, x, y, dtype=x.dtype, shape=shape)


def _where_negative(context: Context, x: Value, negative: Value) -> Value:
    below = binary(context, "Less", x, context.like(0, x), "bool")
    return select(context, below, negative, x)


def _expm1(context: Context, x: Value) -> Value:
    return context.emit("Expm1", x, dtype=x.dtype, shape=x.shape)


def _number(context: Context, node: Node, name: str) -> Value:
    if name not in node.attributes:
        raise UnsupportedError(f"attribute {name} is missing")
    return context.like(node.attributes[name], node[0])
