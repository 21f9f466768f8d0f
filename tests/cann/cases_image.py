"""Resampling, pooling, convolution and padding."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.cann.case import F32, I32, ROUNDING, U8, Case, floats, ints, weights
from tests.cann.graphs import model_of, one


def resize(
    shape: Any, factors: Any = None, sizes: Any = None, **attributes: Any
) -> onnx.ModelProto:
    inputs = {"x": shape, "roi": None, "scales": None if factors is None else floats(*factors)}
    if sizes is not None:
        inputs["sizes"] = ints(*sizes)
    return one("Resize", inputs, **attributes)


def resize_cases() -> list[Case]:
    image, line, volume = [1, 2, 5, 7], [1, 2, 5], [1, 2, 3, 4, 5]
    near, cubic, aa = "resize-nearest-mode", "resize-cubic", "resize-exclude-outside"
    own = "round_prefer_ceil"
    torch_like = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    cases = [
        Case(near, "torch, doubled", resize(image, [1, 1, 2, 2], **torch_like)),
        Case(
            near,
            "torch, any sizes",
            resize([1, 2, "h", "w"], [1, 1, 3, 2], **torch_like),
            0,
            {"h": 5, "w": 7},
        ),
        Case(near, "torch, to sizes", resize(image, sizes=[1, 2, 8, 11], **torch_like)),
        Case(near, "torch, halved", resize([1, 2, 6, 8], [1, 1, 0.5, 0.5], **torch_like)),
        Case(near, "a line", resize(line, [1, 1, 2], **torch_like)),
        Case(near, "a volume", resize(volume, [1, 1, 2, 2, 2], **torch_like)),
        Case("resize-nearest-rank", "a line", resize(line, [1, 1, 2], nearest_mode=own)),
        Case("resize-nearest-rank", "a volume", resize(volume, [1, 1, 2, 3, 2], nearest_mode=own)),
        Case("resize-extrapolation", "crop", _crop("linear", -3.0), ROUNDING),
        Case("resize-extrapolation", "crop, nearest", _crop("nearest", 2.0)),
        Case(
            "resize-cubic-coefficient",
            "-0.5",
            resize(image, [1, 1, 2, 1.5], mode="cubic", cubic_coeff_a=-0.5),
            ROUNDING,
        ),
        Case(aa, "cubic", resize(image, [1, 1, 2, 1.5], mode="cubic", exclude_outside=1), ROUNDING),
        Case(cubic, "half pixel", resize(image, [1, 1, 1.7, 2.3], mode="cubic"), ROUNDING),
        Case(cubic, "smaller", resize(image, [1, 1, 0.6, 0.6], mode="cubic"), ROUNDING),
        Case("resize-5d-linear", "half pixel", resize(volume, [1, 1, 2, 2, 2], mode="linear")),
        Case(
            "resize-5d-linear",
            "asymmetric",
            resize(
                volume, [1, 1, 2, 2, 2], mode="linear", coordinate_transformation_mode="asymmetric"
            ),
            ROUNDING,
        ),
    ]
    cases += [
        Case("resize-constant", f"{mode}, any batch", computed_sizes(mode, (9, 4)), close, {"n": 3})
        for mode, close in (("nearest", 0.0), ("linear", ROUNDING), ("cubic", ROUNDING))
    ]
    grids = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    roundings = ("round_prefer_floor", "floor", "ceil")
    cases += [
        Case(
            near,
            f"{grid}, {rounding}",
            resize(
                image, [1, 1, 1.6, 0.7], coordinate_transformation_mode=grid, nearest_mode=rounding
            ),
        )
        for grid in grids
        for rounding in roundings
    ]
    return cases


def computed_sizes(mode: str, target: tuple[int, int]) -> onnx.ModelProto:
    """A batch of any size resized as torch exports it: its own first sizes, and two numbers."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "from", "to"], ["first"]),
        helper.make_node("Concat", ["first", "last"], ["sizes"], axis=0),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], "the_node", mode=mode),
    ]
    constants = {"from": ints(0), "to": ints(2), "last": ints(*target)}
    model = model_of(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 6, 9])],
        ["y"],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    # As torch does, which knows what it resizes; ONNX's own inference loses the name.
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, *target])
    model.graph.output[0].CopyFrom(made)
    return model


def _crop(mode: str, value: float) -> onnx.ModelProto:
    inputs = {
        "x": [1, 1, 4, 4],
        "roi": floats(0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7),
        "scales": None,
        "sizes": ints(1, 1, 3, 3),
    }
    grid = "tf_crop_and_resize"
    return one(
        "Resize", inputs, mode=mode, coordinate_transformation_mode=grid, extrapolation_value=value
    )


def pool_cases() -> list[Case]:
    image = [1, 2, 7, 9]
    pool: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2]}
    return [
        Case(
            "averagepool-same-lower",
            "even",
            one("AveragePool", {"x": image}, auto_pad="SAME_LOWER", kernel_shape=[2, 2]),
        ),
        Case(
            "averagepool-same-lower",
            "counted",
            one("AveragePool", {"x": image}, auto_pad="SAME_LOWER", count_include_pad=1, **pool),
        ),
        Case(
            "averagepool-ceil-mode",
            "upper",
            one("AveragePool", {"x": image}, auto_pad="SAME_UPPER", ceil_mode=1, **pool),
        ),
        Case(
            "maxpool-ceil-mode",
            "valid",
            one("MaxPool", {"x": image}, auto_pad="VALID", ceil_mode=1, **pool),
        ),
        Case("maxpool-storage-order", "1", one("MaxPool", {"x": image}, storage_order=1, **pool)),
        Case(
            "maxpool-dilations",
            "2",
            one("MaxPool", {"x": image}, dilations=[2, 1], pads=[1, 0, 1, 1], **pool),
        ),
        Case(
            "maxpool-dilations",
            "ceil",
            one("MaxPool", {"x": image}, dilations=[2, 2], ceil_mode=1, **pool),
        ),
        Case(
            "maxpool-dilations",
            "bytes",
            one(
                "MaxPool",
                {"x": image},
                kinds={"x": U8},
                dilations=[2, 2],
                pads=[1, 0, 1, 1],
                **pool,
            ),
        ),
        Case(
            "conv3d-auto-pad",
            "upper",
            one(
                "Conv",
                {"x": [1, 2, 4, 5, 6], "w": weights(3, 2, 2, 3, 2)},
                auto_pad="SAME_UPPER",
                strides=[2, 1, 2],
            ),
        ),
        Case(
            "conv3d-auto-pad",
            "lower",
            one("Conv", {"x": [1, 2, 4, 5, 6], "w": weights(3, 2, 2, 3, 2)}, auto_pad="SAME_LOWER"),
        ),
        Case(
            "convtranspose-auto-pad",
            "line",
            one(
                "ConvTranspose",
                {"x": [1, 2, 5], "w": weights(2, 3, 4)},
                auto_pad="SAME_UPPER",
                strides=[3],
            ),
        ),
        Case(
            "convtranspose-kernel-shape",
            "image",
            one("ConvTranspose", {"x": [1, 2, 5, 5], "w": weights(2, 3, 4, 3)}),
        ),
        Case("conv-attributes", "none", one("Conv", {"x": [1, 2, 5, 5], "w": weights(3, 2, 2, 3)})),
        Case(
            "pad-value",
            "infinite",
            one(
                "Pad",
                {"x": image, "pads": ints(0, 0, 1, 0, 0, 0, 2, 1), "v": np.array(-np.inf, F32)},
            ),
        ),
        Case(
            "pad-value",
            "cropped",
            one(
                "Pad", {"x": image, "pads": ints(0, 0, 1, -2, 0, 0, 2, 1), "v": np.array(1.5, F32)}
            ),
        ),
        Case(
            "pad-value",
            "any sizes",
            one(
                "Pad",
                {
                    "x": ["n", 2, "h"],
                    "pads": ints(1, 0, 2, 0, 0, -1),
                    "v": np.array(-np.inf, F32),
                },
            ),
            0,
            {"n": 2, "h": 5},
        ),
        Case(
            "pad-value",
            "any pads",
            one(
                "Pad",
                {"x": [2, 3], "pads": [4], "v": np.array(7, I32)},
                kinds={"x": TensorProto.INT32, "pads": TensorProto.INT64},
            ),
            fed={"pads": ints(1, 0, 0, 2)},
        ),
    ]
