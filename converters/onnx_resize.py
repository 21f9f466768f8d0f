"""Resampling said as the choice of elements, or as products with matrices of weights.

Both hold for every mode of ONNX, where the sizes along the resampled dimensions are fixed. A
product sums zeros for the elements that have no part in a result: infinities do not stay in place.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    constant_of,
    dtype_of,
    rank_of,
    replace,
    size_of,
)
from ascend_migrate.converters.resample import Line, nearest, weights

CROP = "tf_crop_and_resize"
_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})


@dataclass(frozen=True, slots=True)
class _Crop(Line):
    """A part of a dimension, from ``start`` to ``end`` as shares of it."""

    start: float
    end: float

    def positions(self, grid: str, dtype: type[np.floating[Any]]) -> np.ndarray:
        del grid
        last = dtype(self.size - 1)
        index = np.arange(self.target, dtype=dtype)
        if self.target == 1:
            return np.full(1, dtype(0.5) * dtype(self.start + self.end) * last)
        step = dtype(self.end - self.start) * last / dtype(self.target - 1)
        found: np.ndarray = dtype(self.start) * last + index * step
        return found


def attributes_of(node: ir.Node) -> dict[str, Any]:
    """Returns the attributes of a Resize, the defaults included."""
    get = node.attributes
    return {
        "mode": get.get_string("mode", "nearest"),
        "coordinate_transformation_mode": get.get_string(
            "coordinate_transformation_mode", "half_pixel"
        ),
        "nearest_mode": get.get_string("nearest_mode", "round_prefer_floor"),
        "cubic_coeff_a": get.get_float("cubic_coeff_a", -0.75),
        "exclude_outside": get.get_int("exclude_outside", 0),
        "extrapolation_value": get.get_float("extrapolation_value", 0.0),
        "antialias": get.get_int("antialias", 0),
    }


def scales_of(node: ir.Node) -> dict[int, float] | None:
    """Returns the factor of each dimension by its axis; None where sizes are given instead.

    Raises:
        NoExactRuleError: they are computed at run time.
    """
    scales = constant_of(node, 2)
    if scales is None or not scales.size:
        return None
    axes = _axes(node)
    return {axis: float(scale) for axis, scale in zip(axes, scales, strict=True)}


def lines_of(node: ir.Node) -> dict[int, Line]:
    """Returns the dimensions that change, by axis.

    Raises:
        NoExactRuleError: a size is not fixed, or computed at run time.
    """
    source, axes = node.inputs[0], _axes(node)
    crops = attributes_of(node)["coordinate_transformation_mode"] == CROP
    roi = constant_of(node, 1) if crops else None
    if crops and roi is None:
        raise NoExactRuleError("no region is given")
    scales = scales_of(node)
    if scales is not None:
        known = {a: s for a, s in scales.items() if s != 1 or crops}
        found = {
            axis: Line(
                size_of(source, axis),
                int(np.floor(np.float32(size_of(source, axis)) * np.float32(scale))),
                scale,
            )
            for axis, scale in known.items()
        }
    else:
        sizes = constant_of(node, 3)
        if sizes is None:
            raise NoExactRuleError("neither scales nor sizes are given")
        found = _fitted(node, dict(zip(axes, sizes.tolist(), strict=True)))
    if roi is None:
        return {
            axis: line
            for axis, line in found.items()
            if line.size != line.target or line.scale != 1
        }
    count = len(axes)
    return {
        axis: _Crop(
            line.size,
            line.target,
            line.scale,
            float(roi[axes.index(axis)]),
            float(roi[count + axes.index(axis)]),
        )
        for axis, line in found.items()
    }


def _axes(node: ir.Node) -> list[int]:
    rank, axes = rank_of(node.inputs[0]), node.attributes.get("axes")
    return list(range(rank)) if axes is None else [axis % rank for axis in axes.as_ints()]


def _fitted(node: ir.Node, sizes: dict[int, int]) -> dict[int, Line]:
    source = node.inputs[0]
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    before = {axis: size_of(source, axis) for axis in sizes}
    if policy != "stretch":
        # One factor for all: the least that fits inside, or the greatest that covers.
        choose = min if policy == "not_larger" else max
        scale = choose(sizes[axis] / before[axis] for axis in sizes)
        return {a: Line(n, int(np.floor(n * scale + 0.5)), scale) for a, n in before.items()}
    return {axis: Line(n, sizes[axis], sizes[axis] / n) for axis, n in before.items()}


def resize_by_weights(node: ir.Node) -> None:
    """Says a Resize by Gather (nearest) or by MatMul (linear, cubic), dimension by dimension.

    Raises:
        NoExactRuleError: a size along a resampled dimension is not fixed.
    """
    make, given, lines = Builder(node), attributes_of(node), lines_of(node)
    value = node.inputs[0]
    if given["mode"] != "nearest" and dtype_of(value) not in _FLOATS:
        raise NoExactRuleError("interpolates integers")
    rank = rank_of(value)
    for axis, line in lines.items():
        if given["mode"] == "nearest":
            value = make("Gather", value, make.constant(nearest(line, given)), axis=axis)
        else:
            matrix = weights(line, given).astype(dtype_of(node.inputs[0]).numpy())
            value = _along(make, value, axis, rank, matrix)
    if given["coordinate_transformation_mode"] == CROP:
        value = _extrapolated(make, node, value, lines, given)
    replace(node, value)


def _along(
    make: Builder, value: ir.Value | None, axis: int, rank: int, matrix: np.ndarray
) -> ir.Value:
    """Multiplies one dimension by [size, target]."""
    if axis == rank - 1:
        return make("MatMul", value, make.constant(matrix))
    if axis == rank - 2:
        return make("MatMul", make.constant(np.ascontiguousarray(matrix.T)), value)
    order = [*(i for i in range(rank) if i != axis), axis]
    product = make("MatMul", make("Transpose", value, perm=order), make.constant(matrix))
    return make("Transpose", product, perm=[order.index(i) for i in range(rank)])


def _extrapolated(
    make: Builder,
    node: ir.Node,
    value: ir.Value | None,
    lines: dict[int, Line],
    given: dict[str, Any],
) -> ir.Value | None:
    """Fills what was taken from outside of the input."""
    outside = np.zeros((1,), dtype=bool)
    rank = rank_of(node.inputs[0])
    for axis, line in lines.items():
        at = line.positions(CROP, np.float32)
        wrong = (at < 0) | (at > line.size - 1)
        outside = outside | wrong.reshape([-1 if i == axis else 1 for i in range(rank)])
    if not outside.any():
        return value
    filling = make.like(given["extrapolation_value"], node.inputs[0])
    return make("Where", make.constant(outside), filling, value)
