"""The policy of a lower precision: its type, and what goes on computing in float32.

The converter carries it out and the validators foresee what it costs; they share only this.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from ascend_migrate.pipeline.dtypes import BY_NAME

MODULE = "ascend_migrate.module"
"""Key of the only metadata that we keep on an ONNX node: the name of its module."""

_TORCH_SCOPES = "pkg.torch.onnx.name_scopes"

LOWER_TYPES = ("float16", "bfloat16")

# (IEEE 754-2008, binary16; bfloat16 is binary32 without its lower half.)
_RANGES = {
    "float16": (2.0**-14, (2 - 2.0**-10) * 2.0**15),
    "bfloat16": (2.0**-126, (2 - 2.0**-7) * 2.0**127),
}
"""Smallest normal and largest finite number of each."""

_SUM = "adds many terms: their sum leaves the range, and loses the small ones"
_NORM = "squares and adds what it normalises: 256 squared is already out of float16's range"
_GROWS = "grows faster than its argument, and leaves float16's range from about 11 on"
_SMALL = "is taken of sums of squares, which need not be in range"
_ANGLE = "a rounded argument is another angle: from 2048 on float16 holds no fractions"

KEPT_OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "CumSum": _SUM,
        "MeanVarianceNormalization": _NORM,
        "GroupNormalization": _NORM,
        "InstanceNormalization": _NORM,
        "LRN": _NORM,
        "LayerNormalization": _NORM,
        "LpNormalization": _NORM,
        "LpPool": _NORM,
        "GlobalLpPool": _NORM,
        "RMSNormalization": _NORM,
        "SimplifiedLayerNormalization": _NORM,
        "ReduceL1": _SUM,
        "ReduceL2": _NORM,
        "ReduceLogSum": _SUM,
        "ReduceLogSumExp": _GROWS,
        "ReduceMean": _SUM,
        "ReduceProd": _GROWS,
        "ReduceSum": _SUM,
        "ReduceSumSquare": _NORM,
        "Exp": _GROWS,
        "Pow": _GROWS,
        "Softmax": "adds exponentials, and its small shares would all round to the same number",
        "LogSoftmax": "is a difference of large numbers where a share is small",
        "Log": "magnifies the rounding of arguments near 1 without bound",
        "Sqrt": _SMALL,
        "Reciprocal": _SMALL,
        "Sin": _ANGLE,
        "Cos": _ANGLE,
    }
)
"""Operators that stay in float32 under every policy, each with its reason."""

_CRASHES = "onnxruntime 1.31 has no float16 kernel, and crashes while it loads the graph"

_WITHOUT: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "bfloat16": {
            "BatchNormalization": "MindSpore's BatchNorm takes none, and its loader refuses one"
        },
        "float16": {"GRU": _CRASHES, "LSTM": _CRASHES, "RNN": _CRASHES},
    }
)
"""Operators that stay in float32 because of one type, each with its reason."""

MOVES = frozenset(
    {
        "Compress",
        "Concat",
        "DepthToSpace",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Reshape",
        "ReverseSequence",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
    }
)
"""Operators that only move elements: rounding before or after them is the same."""


SPREADING = frozenset({"Abs", "Add", "Div", "Max", "Min", "Mul", "Neg", "Sub", "Sum"})
"""Operators whose result is out of range where what they read is, as the -3.4e38 of a mask.

They stay in float32 from such a constant on, until another operator brings it back: rounded, a mask
would be minus infinity, and a row that it hides whole would be NaN.
"""


@dataclass(frozen=True, slots=True)
class Precision:
    """What a model is lowered to.

    Attributes:
        dtype: element type, one of `LOWER_TYPES`.
        keep_float32: shell patterns of what stays in float32: operator types, qualified names of
            modules (and so all modules inside them) or, of an ONNX source, names of nodes.
    """

    dtype: str
    keep_float32: tuple[str, ...] = ()

    @property
    def largest(self) -> float:
        """The largest finite number of the type."""
        return _RANGES[self.dtype][1]

    @property
    def smallest(self) -> float:
        """The smallest positive number of the type that has all of its digits."""
        return _RANGES[self.dtype][0]

    @property
    def epsilon(self) -> float:
        """The unit roundoff of the type."""
        return BY_NAME[self.dtype].epsilon or 0.0

    def patterns_for(self, operator: str, *names: str) -> tuple[str, ...]:
        """Returns the patterns that keep an operation in float32.

        Args:
            operator: its ONNX type.
            *names: of the module that it belongs to, and of itself.
        """
        spelled = [operator, *(part for name in names for part in _whole_and_parents(name))]
        return tuple(p for p in self.keep_float32 if any(fnmatchcase(text, p) for text in spelled))

    def keeps(self, operator: str, *names: str) -> bool:
        """Whether an operation stays in float32, by default or by a pattern."""
        return self.keeps_by_default(operator) or bool(self.patterns_for(operator, *names))

    def keeps_by_default(self, operator: str) -> bool:
        """Whether an operation stays in float32 under every policy of this type."""
        return operator in _WITHOUT[self.dtype] or operator in KEPT_OPERATORS

    def to_json(self) -> dict[str, Any]:
        """Returns the policy as plain JSON data."""
        return {"type": self.dtype, "keep_float32": list(self.keep_float32)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Precision":
        """Inverse of `to_json`."""
        return cls(str(data["type"]), tuple(str(item) for item in data["keep_float32"]))

    def __str__(self) -> str:
        kept = f", {', '.join(self.keep_float32)} in float32" if self.keep_float32 else ""
        return f"{self.dtype}{kept}"


def module_of(metadata: Mapping[str, str]) -> str:
    """Returns the qualified name of the module that an ONNX node came from, or nothing.

    Args:
        metadata: of the node, as we write it (`MODULE`) or as torch's exporter does.
    """
    if MODULE in metadata:
        return metadata[MODULE]
    names = [part.strip(" '\"") for part in metadata.get(_TORCH_SCOPES, "").strip("[]").split(",")]
    return names[-2] if len(names) > 1 else ""  # the last one is the operation itself


def _whole_and_parents(name: str) -> Iterator[str]:
    """Yields ``a.b.c``, ``a.b`` and ``a``."""
    while name:
        yield name
        name = name.rpartition(".")[0]
