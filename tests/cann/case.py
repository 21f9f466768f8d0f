"""What a model is that trips a rule, and the numbers that go into one."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

F32, I64, I32 = np.float32, np.int64, np.int32
U8, I8, BOOL = TensorProto.UINT8, TensorProto.INT8, TensorProto.BOOL


@dataclass(frozen=True, eq=False)
class Case:
    """A model that trips a rule.

    ``close`` is the greatest difference, relative to the largest number of the answer, that
    rounding in another order may make; 0 asks for equal bits. ``sizes`` are of dynamic dimensions;
    ``fed`` are inputs that cannot be any numbers.
    """

    rule: str
    name: str
    model: onnx.ModelProto
    close: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)
    fed: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


ROUNDING = 2e-6
"""Sums of at most a hundred float32 products and functions thereof, each right to 6e-8."""


def ints(*numbers: int) -> Any:
    return np.array(numbers, dtype=I64)


def floats(*numbers: float) -> Any:
    return np.array(numbers, dtype=F32)


def weights(*shape: int, seed: int = 3) -> Any:
    return np.random.default_rng(seed).uniform(-0.6, 0.6, shape).astype(F32)
