"""What is known of the arithmetic of Ascend's chips, each with where it was read.

Nothing here was measured on a device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ascend_migrate.pipeline.cann.generations import load_generation, versions


@dataclass(frozen=True, slots=True)
class Chip:
    """One family of chips.

    Attributes:
        family: its short name.
        saturates: an overflow becomes the largest number, and NaN zero, instead of infinity (page
            aclrtFloatOverflowMode: the only mode of training, inference and 200I/500 A2 products;
            A2, A3 and later have infinities by default).
        bfloat16: whether there are kernels for it (--precision_mode_v2).
        hf32: whether the cube unit has it (--allow_hf32).
        cube_float32: whether the cube unit reads float32 at all (aclnnBaddbmm: "the cube unit does
            not support float32" of training and inference products; of 200I/500 A2 not known, and
            taken for the same).
    """

    family: str
    saturates: bool
    bfloat16: bool
    hf32: bool
    cube_float32: bool


def _first(family: str, *, bfloat16: bool = False) -> Chip:
    return Chip(family, saturates=True, bfloat16=bfloat16, hf32=False, cube_float32=False)


def _second(family: str) -> Chip:
    return Chip(family, saturates=False, bfloat16=True, hf32=True, cube_float32=True)


FAMILIES: Mapping[str, Chip] = MappingProxyType(
    {
        chip.family: chip
        for chip in (
            _first("Ascend310"),
            _first("Ascend310P"),
            _first("Ascend310B", bfloat16=True),
            _first("Ascend910"),
            _second("Ascend910B"),
            _second("Ascend910_93"),
            _second("Ascend910_95"),
        )
    }
)


def chip_of(soc: str) -> Chip:
    """Returns the family of a chip that is named exactly, such as Ascend310P3.

    Raises:
        SpecError: there is no such chip, or its name means another one than it seems to.
    """
    family = load_generation(versions()[-1]).family(soc)
    return FAMILIES.get(family, _first(family))


CUBE = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
"""Operators that the cube unit multiplies for: inputs in a low type, sums in float32."""

_LOWERED = frozenset({"Conv", "ConvTranspose", "Gemm", "IsInf", "MatMul"})
_KEPT = frozenset(
    {"Log", "LogSoftmax", "Pow", "ReduceLogSum", "ReduceProd", "ReduceSum", "ReduceSumSquare"}
)
_A2 = (_LOWERED | {"MaxPool"}, _KEPT)

MIXED: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "Ascend310": (_LOWERED, frozenset()),
        "Ascend310B": (_LOWERED, _KEPT),
        "Ascend310P": (_LOWERED, frozenset({"ReverseSequence"})),
        "Ascend910": (_LOWERED, _KEPT),
        "Ascend910B": _A2,
        "Ascend910_93": _A2,
        "Ascend910_95": _A2,
    }
)
"""Of each family the ONNX operators that mixed precision lowers, and those that it keeps.

The flag ``precision_reduce`` of aic-*-ops-info.json (CANN 8.1.RC1) of the operators that ATC makes
of them: true and false. Whatever is in neither follows what it reads. There is no such file for
Ascend910_95 here; it is taken for its predecessor.
"""

_GE_TYPES: Mapping[str, tuple[str, ...]] = {
    "AveragePool": ("AvgPoolV2", "AvgPool3D"),
    "BatchNormalization": ("BatchNorm",),
    "Clip": ("ClipByValue", "Maximum", "Minimum"),
    "Concat": ("ConcatD",),
    "Conv": ("Conv2D", "Conv3D"),
    "ConvTranspose": ("Conv2DTranspose", "Conv3DTranspose"),
    "CumSum": ("Cumsum",),
    "Div": ("RealDiv",),
    "GRU": ("CommonGRU",),
    "Gather": ("GatherV2",),
    "GatherND": ("GatherNd",),
    "Gemm": ("MatMulV2", "Muls", "Add"),
    "GlobalMaxPool": ("ReduceMax",),
    "GridSample": ("GridSampler2D",),
    "Hardmax": ("HardMax",),
    "InstanceNormalization": ("InstanceNorm",),
    "LSTM": ("CommonLSTM",),
    "LayerNormalization": ("LayerNorm", "Rsqrt", "Adds"),
    "LogSoftmax": ("LogSoftmaxV2",),
    "LpNormalization": ("LpNormV2", "Div"),
    "LpPool": ("Abs", "AvgPool", "AvgPoolV2", "AvgPool3D", "Muls", "Power"),
    "MatMul": ("BatchMatMulV2",),
    "Max": ("Maximum",),
    "MaxPool": ("MaxPool", "MaxPool3D", "MaxPoolV3"),
    "Mean": ("AccumulateNV2", "Muls"),
    "MeanVarianceNormalization": ("MVNV2",),
    "Min": ("Minimum",),
    "Pad": ("PadV3", "MirrorPad"),
    "ReduceL1": ("LpNormV2",),
    "ReduceL2": ("LpNormV2",),
    "ReduceLogSum": ("ReduceLogSum", "Log", "ReduceSum"),
    "ReduceSumSquare": ("SquareSumV1",),
    "Resize": ("Resize", "ResizeNearestNeighborV2"),
    "Slice": ("StridedSliceV2",),
    "Softmax": ("SoftmaxV2",),
    "Squeeze": ("Squeeze", "SqueezeV3"),
    "Sum": ("AccumulateNV2",),
    "ThresholdedRelu": ("Threshold", "Mul"),
    "Unsqueeze": ("Unsqueeze", "UnsqueezeV3"),
    "Where": ("SelectV2",),
}


def ge_types(op_type: str) -> tuple[str, ...]:
    """Returns the types of Ascend's own operators that ATC makes of an ONNX operator.

    (hicann/ops-math, ops-nn and ops-cv, ``*_onnx_plugin.cpp``, August 2026; only those that
    compute. Most have the same name.)
    """
    return _GE_TYPES.get(op_type, (op_type,))
