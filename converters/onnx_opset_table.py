"""How each operator is said in the opset before; filled by the modules that hold the rules."""

from collections.abc import Callable

import onnx_ir as ir

Rule = Callable[[ir.Node], None]
RULES: dict[tuple[str, int], Rule] = {}
"""By operator, and the opset that changed it."""

# Schema changes that only admit more element types, or concern only 8-bit floats; each was read
# against the ONNX changelog. The checker refuses a type that the older schema does not admit.
_EVERY_FLOAT = """
    Acos Acosh Asin Asinh Atan Atanh AveragePool Bernoulli Conv ConvTranspose Cos Cosh DeformConv
    Det Dropout Elu EyeLike GRU GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample HardSigmoid
    HardSwish InstanceNormalization LSTM LpNormalization LpPool MaxPool MaxRoiPool MaxUnpool Mish
    Multinomial NegativeLogLikelihoodLoss RNN RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike RoiAlign Round Selu Sin Sinh Softplus Softsign Tan ThresholdedRelu"""
_EVERY_TYPE = """
    Constant ConstantOfShape Flatten Identity If Loop Reshape Scan Shape Size Squeeze Transpose
    Unsqueeze"""
_QUANTISED = " QuantizeLinear DequantizeLinear"
TYPES_ONLY: dict[int, frozenset[str]] = {
    version: frozenset(names.split())
    for version, names in {
        14: "Add Sub Mul Div CumSum Identity Relu",
        15: "BatchNormalization Pow",
        16: "Identity If LeakyRelu Loop PRelu Scan Where GreaterOrEqual LessOrEqual",
        19: "Constant Equal Identity If Loop Reshape Scan Shape Size",
        20: "ConstantOfShape IsInf IsNaN ReduceMax ReduceMin",
        21: _EVERY_TYPE + " Cast CastLike Pad QLinearMatMul",
        22: _EVERY_FLOAT,
        23: _EVERY_TYPE + " Cast CastLike Pad",
        24: _EVERY_TYPE + " Pad SplitToSequence TopK",
        25: _EVERY_TYPE + " Cast CastLike Pad" + _QUANTISED,
        28: "BitShift Cast Celu Compress DepthToSpace Einsum OneHot Optional OptionalGetElement"
        " OptionalHasElement ReduceLogSum ReduceLogSumExp ReverseSequence Unique" + _QUANTISED,
    }.items()
}


def rewrite(op_type: str, *, since: int) -> Callable[[Rule], Rule]:
    """Registers how ``op_type`` as defined by opset ``since`` is said in opset ``since - 1``."""

    def register(rule: Rule) -> Rule:
        RULES[op_type, since] = rule
        return rule

    return register
