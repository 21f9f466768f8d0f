"""Resize: CANN rounds as round_prefer_ceil does, and never reads five of its attributes."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import NoExactRuleError, given, rank_of
from ascend_migrate.converters.onnx_resize import (
    CROP,
    attributes_of,
    lines_of,
    resize_by_weights,
    scales_of,
)
from ascend_migrate.converters.resample import nearest

_IMAGE, _VOLUME = 4, 5
"""Ranks of a batch of images, and of volumes."""
_OWN = "round_prefer_ceil"
"""The rounding that CANN computes whatever is asked for."""


@surgery("resize-nearest-mode", "Resize")
def resize_nearest(node: ir.Node) -> bool:
    """Another grid of which CANN's rounding takes the same elements, or else a Gather of them."""
    wanted = attributes_of(node)
    if wanted["mode"] != "nearest":
        return False
    grid = wanted["coordinate_transformation_mode"]
    if rank_of(node.inputs[0]) == _IMAGE and wanted["nearest_mode"] == _OWN and grid != CROP:
        return False
    for other in (grid, "half_pixel", "asymmetric"):
        if _takes_the_same(node, other):
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", _OWN)
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", other
            )
            return True
    resize_by_weights(node)
    return True


def _takes_the_same(node: ir.Node, grid: str) -> bool:
    """Whether CANN's rounding on another grid takes the elements that the node asks for."""
    wanted = attributes_of(node)
    if CROP in (grid, wanted["coordinate_transformation_mode"]):
        return False
    if rank_of(node.inputs[0]) != _IMAGE:
        return False
    try:
        lines = lines_of(node)
    except NoExactRuleError:
        return grid == "half_pixel" and _repeats(node)
    other = {**wanted, "nearest_mode": _OWN, "coordinate_transformation_mode": grid}
    if min(lines, default=_IMAGE) < _IMAGE - 2:
        return False
    return all(np.array_equal(nearest(x, wanted), nearest(x, other)) for x in lines.values())


def _repeats(node: ir.Node) -> bool:
    """Whether each element is repeated a whole number of times, whatever the sizes are.

    The element i // s: floor takes it at i / s, and every rounding at (i + 1/2) / s - 1/2, which
    lies at least 1 / 2s away from a half.
    """
    wanted, scales = attributes_of(node), scales_of(node) or {}
    grid = wanted["coordinate_transformation_mode"]
    whole = all(scale >= 1 and scale == int(scale) for scale in scales.values())
    image = all(scale == 1 for axis, scale in scales.items() if axis < _IMAGE - 2)
    floors = grid == "asymmetric" and wanted["nearest_mode"] == "floor"
    rounds = grid == "half_pixel" and str(wanted["nearest_mode"]).startswith("round")
    return bool(scales) and whole and image and (floors or rounds)


@surgery("resize-cubic", "Resize")
@surgery("resize-cubic-coefficient", "Resize")
@surgery("resize-exclude-outside", "Resize")
@surgery("resize-extrapolation", "Resize")
@surgery("resize-5d-linear", "Resize")
def resize_interpolating(node: ir.Node) -> bool:
    """Products with the weights of the interpolation."""
    wanted = attributes_of(node)
    if wanted["mode"] == "nearest":
        return False
    grid = wanted["coordinate_transformation_mode"]
    if rank_of(node.inputs[0]) == _VOLUME and grid == "half_pixel" and wanted["mode"] == "linear":
        return _volume(node)
    volume = rank_of(node.inputs[0]) == _VOLUME and grid not in (
        *("align_corners", "pytorch_half_pixel"),
    )
    if wanted["mode"] == "cubic" or wanted["exclude_outside"] or grid == CROP or volume:
        resize_by_weights(node)
        return True
    return False


def _volume(node: ir.Node) -> bool:
    """The grid of torch differs from half_pixel only where one element is left."""
    if all(line.target > 1 for line in lines_of(node).values()):
        node.attributes["coordinate_transformation_mode"] = ir.AttrString(
            "coordinate_transformation_mode", "pytorch_half_pixel"
        )
    else:
        resize_by_weights(node)
    return True


@surgery("resize-constant", "Resize")
def resize_constant(node: ir.Node) -> bool:
    """Refused: what it is resized by, or to, must be known."""
    for index, what in ((2, "scales"), (3, "sizes")):
        value = given(node, index)
        if value is not None and ir.convenience.get_const_tensor(value) is None:
            raise NoExactRuleError(f"its {what} are computed at run time; fix the sizes")
    return False
