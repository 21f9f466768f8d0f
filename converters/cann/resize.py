"""Resize: CANN rounds as round_prefer_ceil does, and never reads five of its attributes."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Array,
    Builder,
    NoExactRuleError,
    given,
    rank_of,
)
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


@surgery("resize-inputs", "Resize")
def resize_inputs(node: ir.Node) -> bool:
    """Refused: what it is resized by, or to, must be given."""
    if given(node, 2) is None and given(node, 3) is None:
        raise NoExactRuleError("it has neither scales nor sizes; give one of them")
    return False


@surgery("resize-constant", "Resize")
def resize_constant(node: ir.Node) -> bool:
    """Factors for sizes that are computed only where nothing is resampled; others are refused."""
    for index, what in ((2, "scales"), (3, "sizes")):
        value = given(node, index)
        if value is None or ir.convenience.get_const_tensor(value) is not None:
            continue
        factors = _factors(node) if what == "sizes" else None
        if factors is None:
            raise NoExactRuleError(f"its {what} are computed at run time; fix the sizes")
        node.replace_input_with(2, Builder(node).constant(factors))
        node.resize_inputs(3)
        return True
    return False


def _factors(node: ir.Node) -> Array | None:
    """Returns by what each dimension grows, where ONNX infers the sizes; None where it does not.

    onnxruntime divides the sizes in float32, and takes the floor of size times factor.
    """
    before, after = (value.shape for value in (node.inputs[0], node.outputs[0]) if value)
    if before is None or after is None or CROP in str(attributes_of(node)):
        return None
    factors = np.ones(len(before), dtype=np.float32)
    for axis, (size, target) in enumerate(zip(before, after, strict=True)):
        if isinstance(size, int) and isinstance(target, int):
            factors[axis] = np.float32(target) / np.float32(size)
            if np.floor(np.float32(size) * factors[axis]) != target:
                return None
        elif size != target or (isinstance(size, ir.SymbolicDim) and size.value is None):
            return None
    return factors


@surgery("resize-nearest-mode", "Resize")
@surgery("resize-nearest-rank", "Resize")
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
