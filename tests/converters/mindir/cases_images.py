"""Cases of sampling, of resizing by what is computed, and of rarer pooling."""

from dataclasses import replace
from typing import Any

import numpy as np
from tests.converters.mindir.case import Case, f, i64, u

_LATEST = 28


def cases() -> list[Case]:
    return [*_sampled(), *_resized(), *_pooled()]


def _new(id: str, op: str, inputs: list[Any], **rest: Any) -> Case:  # noqa: A002
    return Case(id, op, inputs, **{"opset": _LATEST, **rest})


def _sampled() -> list[Case]:
    x, grid = f(2, 3, 5, 6), u(2, 4, 7, 2, low=-1.4, high=1.4)
    volume, places = f(1, 2, 3, 4, 5), u(1, 2, 3, 4, 3, low=-1.2, high=1.2)
    found = []
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (0, 1):
                attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
                case = _new(f"GridSample-{mode}-{padding}-{corners}", "GridSample", [x, grid])
                found.append(replace(case, attributes=attributes, opset=20, rtol=1e-4))
                if mode != "cubic":
                    inputs = [volume, places]
                    volumetric = replace(case, id=f"{case.id}-3d", inputs=inputs)
                    found.append(replace(volumetric, attributes=attributes, opset=20, rtol=1e-4))
    dyn: dict[int, tuple[int | str, ...]] = {0: ("n", 3, "h", "w"), 1: ("n", "a", "b", 2)}
    found.append(Case("GridSample-16", "GridSample", [x, grid], dynamic=dyn))
    half = {"mode": "nearest", "align_corners": 1}
    ties = np.array([[[[-0.5, 0.5], [0.5, -0.5], [0.0, 1.0]]]], np.float32)
    found.append(Case("GridSample-ties", "GridSample", [f(1, 1, 4, 6), ties], attributes=half))
    boxes = np.array([[0, 0, 9, 7], [2, 1, 8, 6], [0, 0, 0.3, 0.2], [-3, -2, 15, 14]], np.float32)
    regions = [f(2, 3, 10, 12), boxes, i64(0, 1, 1, 0)]
    for mode in ("avg", "max"):
        for grid_mode in ("half_pixel", "output_half_pixel"):
            bins: dict[str, Any] = {
                "mode": mode,
                "coordinate_transformation_mode": grid_mode,
                "output_height": 3,
                "output_width": 2,
                "sampling_ratio": 2,
                "spatial_scale": 0.5,
            }
            case = Case(f"RoiAlign-{mode}-{grid_mode}", "RoiAlign", regions, attributes=bins)
            found.append(replace(case, rtol=1e-4))
    return found


def _resized() -> list[Case]:
    x, whole = f(1, 2, 5, 6), {0: (1, 2, "h", "w")}
    scales, sizes = np.array([1, 1, 1.6, 0.7], np.float32), i64(1, 2, 8, 4)
    linear, cubic = {"mode": "linear"}, {"mode": "cubic", "exclude_outside": 1}
    shrunk = i64(1, 2, 3, 4)
    found = [
        Case("Resize-runtime-nearest", "Resize", [x, None, scales]),
        Case("Resize-runtime-linear", "Resize", [x, None, scales], attributes=linear, rtol=1e-4),
        Case("Resize-runtime-cubic", "Resize", [x, None, scales], attributes=cubic, rtol=1e-4),
        Case(
            "Resize-runtime-sizes", "Resize", [x, None, None, sizes], attributes=linear, rtol=1e-4
        ),
        Case("Resize-dynamic-cubic", "Resize", [x], {3: sizes}, cubic, dynamic=whole, rtol=1e-4),
        _new("Resize-axes", "Resize", [x, None, None, i64(9, 3)], attributes={"axes": [3, 2]}),
    ]
    for mode in ("linear", "cubic"):
        attributes = {"mode": mode, "antialias": 1}
        case = Case(f"Resize-antialias-{mode}", "Resize", [x], {3: shrunk}, attributes, rtol=1e-4)
        found.append(replace(case, opset=18))
    for policy in ("not_larger", "not_smaller"):
        kept: dict[str, Any] = {"keep_aspect_ratio_policy": policy, "axes": [2, 3]}
        case = Case(f"Resize-{policy}", "Resize", [x, None, None, i64(9, 7)], attributes=kept)
        found.append(replace(case, opset=18))
    crop = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    roi = np.array([0, 0, 0.4, 0.6, 1, 1, 1.2, 0.8], np.float32)
    beyond: dict[str, Any] = {**crop, "extrapolation_value": 7.0}
    inputs = [x, roi, None, i64(1, 2, 3, 3)]
    found.append(Case("Resize-crop", "Resize", inputs, attributes=beyond, rtol=1e-4))
    doubled = np.array([1, 1, 2, 2], np.float32)
    found.append(Case("Upsample", "Upsample", [x, doubled], opset=9))
    found.append(Case("Upsample-linear", "Upsample", [x], {1: doubled}, linear, opset=9, rtol=1e-4))
    found.append(Case("Resize-10", "Resize", [x], {1: doubled}, opset=10))
    return found


def _pooled() -> list[Case]:
    x1, x2, x3 = f(2, 3, 9), f(2, 3, 8, 9), f(1, 2, 5, 6, 7)
    ceil = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1}
    dilated = {**ceil, "dilations": [2, 3]}
    cube = {"kernel_shape": [2, 3, 2], "pads": [1, 1, 0, 0, 1, 1], "strides": [1, 2, 2]}
    square = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return [
        _new("MaxPool-dilated", "MaxPool", [x2], attributes=dilated),
        _new("MaxPool-dilated-3d", "MaxPool", [x3], attributes={**cube, "dilations": [2, 1, 2]}),
        Case("MaxPool-uint8", "MaxPool", [(x2 * 9).astype(np.uint8)], attributes=ceil, opset=12),
        Case("MaxPool-indices", "MaxPool", [x2], attributes=dilated, outputs=2),
        Case(
            "MaxPool-columns", "MaxPool", [x2], attributes={**ceil, "storage_order": 1}, outputs=2
        ),
        Case("MaxPool-indices-1d", "MaxPool", [x1], attributes={"kernel_shape": [3]}, outputs=2),
        Case("MaxPool-indices-3d", "MaxPool", [x3], attributes=cube, outputs=2),
        _new("AveragePool-dilated", "AveragePool", [x2], attributes=dilated),
        _new(
            "AveragePool-dilated-counted",
            "AveragePool",
            [x2],
            attributes={**dilated, "count_include_pad": 1},
        ),
        _new("AveragePool-3d", "AveragePool", [x3], attributes=cube),
        _new(
            "AveragePool-dilated-1d",
            "AveragePool",
            [x1],
            attributes={"kernel_shape": [3], "dilations": [2]},
        ),
        _new("LpPool", "LpPool", [x2], attributes=square),
        Case("LpPool-3", "LpPool", [x2], attributes={**square, "p": 3, "pads": [1, 0, 0, 1]}),
        Case("GlobalLpPool", "GlobalLpPool", [x2], attributes={"p": 1}),
        Case(
            "MaxUnpool",
            "MaxUnpool",
            [f(1, 1, 2, 2), i64(5, 7, 13, 15).reshape(1, 1, 2, 2)],
            attributes=square,
        ),
        Case("LRN", "LRN", [x2], attributes={"size": 3, "alpha": 0.01, "bias": 2.0}),
        Case("LRN-even", "LRN", [f(4, 4, 3, 5)], attributes={"size": 2, "beta": 0.5}),
        Case(
            "Col2Im",
            "Col2Im",
            [f(2, 12, 20)],
            {1: i64(5, 6), 2: i64(2, 3)},
            {"pads": [0, 0, 0, 1]},
            opset=18,
        ),
    ]
