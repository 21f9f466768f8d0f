"""Pooling beyond what CANN's kernels are documented for."""

import math

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import Builder, dtype_of, rank_of, replace
from ascend_migrate.converters.onnx_windows import slices, state_pads, windows_of

_IMAGE, _VOLUME = 4, 5


@surgery("averagepool-same-lower", "AveragePool")
@surgery("averagepool-ceil-mode", "AveragePool")
def average_pool(node: ir.Node) -> bool:
    """Explicit pads."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    ceil = node.attributes.get_int("ceil_mode", 0)
    if mode != "SAME_LOWER" and not (ceil and mode != "NOTSET"):
        return False
    state_pads(node, windows_of(node))
    return True


@surgery("maxpool-dilations", "MaxPool")
@surgery("maxpool-ceil-mode", "MaxPool")
def max_pool(node: ir.Node) -> bool:
    """The largest of strided slices, or explicit pads."""
    ceil = bool(node.attributes.get_int("ceil_mode", 0))
    dilations = node.attributes.get("dilations")
    if dilations is not None and max(dilations.as_ints()) > 1 and rank_of(node.inputs[0]) == _IMAGE:
        make, source = Builder(node), node.inputs[0]
        kind = dtype_of(source)
        least = -math.inf if kind.is_floating_point() else int(np.iinfo(kind.numpy()).min)
        found = list(slices(make, source, windows_of(node), least, ceil=ceil))
        replace(node, make("Max", *found))
        return True
    if not ceil or node.attributes.get_string("auto_pad", "NOTSET") != "VALID":
        return False
    state_pads(node, windows_of(node))
    return True


@surgery("conv3d-auto-pad", "Conv")
def conv(node: ir.Node) -> bool:
    """Explicit pads."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID") or rank_of(node.inputs[0]) != _VOLUME:
        return False
    state_pads(node, windows_of(node))
    return True


@surgery("convtranspose-auto-pad", "ConvTranspose")
def conv_transpose(node: ir.Node) -> bool:
    """Explicit pads: the result is a stride's multiple of the input."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode == "NOTSET" or rank_of(node.inputs[0]) == _IMAGE:
        return False
    found = windows_of(node)
    extra = node.attributes.get("output_padding")
    added = [0] * len(found) if extra is None else list(extra.as_ints())
    wanted = node.attributes.get("output_shape")
    befores, afters = [], []
    for place, window in enumerate(found):
        size = window.size * window.stride
        if wanted is not None:
            size = wanted.as_ints()[place]
        whole = window.stride * (window.size - 1) + added[place] + window.reach
        total = 0 if mode == "VALID" else max(whole - size, 0)
        small, large = total // 2, total - total // 2
        befores.append(small if mode == "SAME_UPPER" else large)
        afters.append(large if mode == "SAME_UPPER" else small)
    node.attributes.pop("auto_pad")
    node.attributes.pop("output_shape", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", [*befores, *afters])
    return True
