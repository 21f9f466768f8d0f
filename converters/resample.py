"""Interpolation along one dimension, written as indices or as a matrix of weights.

Positions and weights follow https://onnx.ai/onnx/operators/onnx__Resize.html.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_ROUND: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}

_SAME_FACTOR = 1e-6
"""Factors are stored as float32; a relative difference below this is its rounding."""


@dataclass(frozen=True, slots=True)
class Line:
    """One dimension before and after.

    Attributes:
        size: number of elements before.
        target: number of elements after.
        scale: the factor, from which ``target`` may have been rounded.
    """

    size: int
    target: int
    scale: float

    @property
    def rounded(self) -> bool:
        """Whether the factor is another one than the quotient of the sizes."""
        return abs(self.scale * self.size - self.target) > _SAME_FACTOR * self.target

    def positions(self, grid: str, dtype: type[np.floating[Any]]) -> np.ndarray:
        """Returns where each element of the result lies between those of the input."""
        return GRIDS[grid](self, np.arange(self.target, dtype=dtype))


def _half_pixel(line: Line, index: np.ndarray) -> np.ndarray:
    return (index + 0.5) / line.scale - 0.5


def _symmetric(line: Line, index: np.ndarray) -> np.ndarray:
    adjustment = line.target / (line.scale * line.size)
    return line.size / 2 * (1 - adjustment) + _half_pixel(line, index)


GRIDS: Mapping[str, Callable[[Line, np.ndarray], np.ndarray]] = {
    "align_corners": lambda line, index: index * (line.size - 1) / max(line.target - 1, 1),
    "asymmetric": lambda line, index: index / line.scale,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda line, index: _half_pixel(line, index) if len(index) > 1 else index,
}
"""By coordinate_transformation_mode."""


def nearest(line: Line, attributes: Mapping[str, Any]) -> np.ndarray:
    """Returns the index of the input's element that each element of the result is."""
    # In float32, as every runtime does: 4.9999998 there is 5, and floor tells them apart.
    positions = line.positions(str(attributes["coordinate_transformation_mode"]), np.float32)
    index = _ROUND[str(attributes["nearest_mode"])](positions)
    return index.clip(0, line.size - 1).astype(np.int64)


def weights(line: Line, attributes: Mapping[str, Any]) -> np.ndarray:
    """Returns the matrix [size, target] whose product with the input is the result."""
    positions = line.positions(str(attributes["coordinate_transformation_mode"]), np.float64)
    cubic = attributes["mode"] == "cubic"
    # Against aliasing, the kernel of a reduction is stretched over all that becomes one element.
    stretch = min(line.scale, 1.0) if attributes.get("antialias") else 1.0
    first = np.floor(positions).astype(np.int64)
    reach = int(np.ceil((2 if cubic else 1) / stretch))
    matrix = np.zeros((line.size, line.target))
    columns = np.arange(line.target)
    for tap in range(1 - reach, 1 + reach):
        index = first + tap
        distance = np.abs(positions - index) * stretch
        if cubic:
            share = _keys(distance, float(attributes["cubic_coeff_a"]))
        else:
            share = np.clip(1 - distance, 0, 1)
        if attributes["exclude_outside"]:
            share = np.where((index < 0) | (index >= line.size), 0, share)
        # What lies outside is the element at the border.
        np.add.at(matrix, (np.clip(index, 0, line.size - 1), columns), share)
    matrix /= matrix.sum(axis=0)
    return matrix


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))  # noqa: PLR2004
