"""What operators of newer opsets are in opset 17."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    constant_of,
    dtype_of,
    given,
    rank_of,
    replace,
    require_default,
    size_of,
)
from ascend_migrate.converters.onnx_opset_table import RULES, rewrite
from ascend_migrate.converters.onnx_resize import CROP, resize_by_weights
from ascend_migrate.converters.onnx_windows import average_by_slices, lp_pool_by_slices


def _reduce(node: ir.Node) -> None:
    axes = constant_of(node, 1)
    noop = node.attributes.get_int("noop_with_empty_axes", 0)
    if (axes is None or not axes.size) and noop:
        replace(node, _of_no_axes(node))
        return
    node.attributes.pop("noop_with_empty_axes", None)
    if len(node.inputs) > 1:
        node.resize_inputs(1)
    if axes is not None and axes.size:
        node.attributes["axes"] = ir.AttrInt64s("axes", axes.reshape(-1).tolist())


def _of_no_axes(node: ir.Node) -> ir.Value | None:
    """What is left of a reduction that reduces nothing."""
    make, source = Builder(node), node.inputs[0]
    match node.op_type:
        case "ReduceL1" | "ReduceL2":
            return make("Abs", source)
        case "ReduceSumSquare":
            return make("Mul", source, source)
        case "ReduceLogSum":
            return make("Log", source)
    return source


for _op in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"):
    RULES[f"Reduce{_op}", 18] = _reduce


@rewrite("Cast", since=24)
@rewrite("CastLike", since=24)
def _cast_rounding(node: ir.Node) -> None:
    require_default(node, round_mode="up")


@rewrite("Cast", since=19)
@rewrite("CastLike", since=19)
def _cast_saturation(node: ir.Node) -> None:
    require_default(node, saturate=1)


@rewrite("Split", since=18)
def _split(node: ir.Node) -> None:
    count = node.attributes.pop("num_outputs", None)
    if count is None:
        return
    axis = node.attributes.get_int("axis", 0)
    source = node.inputs[0]
    rank = rank_of(source)
    size = source.shape[axis % rank] if source is not None and source.shape is not None else None
    if not isinstance(size, int):
        raise NoExactRuleError("num_outputs over a dynamic dimension")
    parts = len(node.outputs)
    chunk = -(-size // parts)  # the last part takes what is left
    sizes = np.array([chunk] * (parts - 1) + [size - chunk * (parts - 1)], dtype=np.int64)
    if sizes[-1] < 0:
        raise NoExactRuleError(f"{size} elements in {parts} parts")
    value = Builder(node).constant(sizes)
    node.resize_inputs(2)
    node.replace_input_with(1, value)


@rewrite("QuantizeLinear", since=24)
@rewrite("QuantizeLinear", since=23)
@rewrite("QuantizeLinear", since=21)
@rewrite("QuantizeLinear", since=19)
def _quantize(node: ir.Node) -> None:
    require_default(node, precision=0, block_size=0)
    made = node.attributes.get_int("output_dtype", 0)
    if made not in (0, int(ir.DataType.UINT8)) and given(node, 2) is None:
        raise NoExactRuleError(f"output_dtype={made} without a zero point")
    node.attributes.pop("output_dtype", None)  # beside a zero point it can only say its type
    if node.attributes.get_int("saturate", 1) == 0 and given(node, 2) is not None:
        raise NoExactRuleError("attribute saturate=0")
    node.attributes.pop("saturate", None)


@rewrite("DequantizeLinear", since=24)
@rewrite("DequantizeLinear", since=23)
@rewrite("DequantizeLinear", since=21)
@rewrite("DequantizeLinear", since=19)
def _dequantize(node: ir.Node) -> None:
    require_default(node, output_dtype=0, block_size=0)
    if dtype_of(node.inputs[1]) != ir.DataType.FLOAT:
        raise NoExactRuleError("only float32 was a result")


@rewrite("Pad", since=19)
def _pad_wrap(node: ir.Node) -> None:
    if node.attributes.get_string("mode", "constant") != "wrap":
        return
    source, pads, axes = node.inputs[0], constant_of(node, 1), constant_of(node, 3)
    if pads is None:
        raise NoExactRuleError("no pads")
    rank, make, value = rank_of(source), Builder(node), source
    where = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    for axis, before, after in zip(where, *pads.reshape(2, -1).tolist(), strict=True):
        if (before, after) != (0, 0):
            size = size_of(source, axis)
            index = np.arange(-before, size + after, dtype=np.int64) % size
            value = make("Gather", value, make.constant(index), axis=axis)
    replace(node, value)


@rewrite("Pad", since=18)
def _pad(node: ir.Node) -> None:
    axes = constant_of(node, 3)
    if axes is None:
        return
    pads, rank = constant_of(node, 1), rank_of(node.inputs[0])
    if pads is None:
        raise NoExactRuleError("no pads")
    full = np.zeros((2, rank), dtype=np.int64)
    full[:, axes.astype(np.int64) % rank] = pads.reshape(2, -1)
    value = Builder(node).constant(full.reshape(-1))
    node.replace_input_with(1, value)
    node.resize_inputs(3)


@rewrite("Resize", since=19)
def _resize_symmetric(node: ir.Node) -> None:
    mode = node.attributes.get_string("coordinate_transformation_mode", "")
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    # What 19 made of the latter concerns the rounding of sizes.
    if mode == "half_pixel_symmetric" or policy != "stretch":
        resize_by_weights(node)


@rewrite("Resize", since=18)
def _resize(node: ir.Node) -> None:
    antialias = node.attributes.get_int("antialias", 0)
    crops = node.attributes.get_string("coordinate_transformation_mode", "") == CROP
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    axes = node.attributes.get("axes")
    if antialias or policy != "stretch" or (crops and axes is not None):
        resize_by_weights(node)
        return
    require_default(node, antialias=0, keep_aspect_ratio_policy="stretch")
    if axes is None:
        return
    del node.attributes["axes"]
    source, rank = node.inputs[0], rank_of(node.inputs[0])
    where = [axis % rank for axis in axes.as_ints()]
    scales, sizes = constant_of(node, 2), constant_of(node, 3)
    if scales is not None and scales.size:
        every = np.ones(rank, dtype=np.float32)
        every[where] = scales
        node.replace_input_with(2, Builder(node).constant(every))
        return
    known = [] if source is None or source.shape is None else list(source.shape)
    if sizes is None or any(not isinstance(known[i], int) for i in range(rank) if i not in where):
        raise NoExactRuleError("axes with sizes over dynamic dimensions")
    full = np.array([d if isinstance(d, int) else 0 for d in known], dtype=np.int64)
    full[where] = sizes
    node.replace_input_with(3, Builder(node).constant(full))


@rewrite("ScatterElements", since=18)
@rewrite("ScatterND", since=18)
def _scatter(node: ir.Node) -> None:
    reduction = node.attributes.get_string("reduction", "none")
    if reduction not in ("none", "add", "mul"):
        raise NoExactRuleError(f"reduction {reduction!r}")


@rewrite("LpPool", since=18)
def _lp_pool(node: ir.Node) -> None:
    try:
        require_default(node, ceil_mode=0, dilations="ones")
    except NoExactRuleError:
        lp_pool_by_slices(node)


@rewrite("AveragePool", since=19)
def _average_pool(node: ir.Node) -> None:
    try:
        require_default(node, dilations="ones")
    except NoExactRuleError:
        average_by_slices(node)


@rewrite("SpaceToDepth", since=28)
def _space_to_depth(node: ir.Node) -> None:
    require_default(node, mode="DCR")


@rewrite("Range", since=27)
def _range(node: ir.Node) -> None:
    require_default(node, stash_type=1)


@rewrite("Mod", since=28)
def _mod(node: ir.Node) -> None:
    """Floats had only the remainder with the sign of the dividend."""
    x, y = node.inputs
    fmod = node.attributes.get_int("fmod", 0)
    if fmod or not dtype_of(x).is_floating_point():
        return
    make = Builder(node)
    rest, zero = make("Mod", x, y, fmod=1), make.like(0, x)
    differ = make("Xor", make("Less", rest, zero), make("Less", y, zero))
    wrong = make("And", differ, make("Not", make("Equal", rest, zero)))
    replace(node, make("Where", wrong, make("Add", rest, y), rest))


@rewrite("DFT", since=20)
def _dft(node: ir.Node) -> None:
    axis = constant_of(node, 2)
    place = -2 if axis is None else int(axis.reshape(-1)[0])
    if node.attributes.get_int("inverse", 0) and node.attributes.get_int("onesided", 0):
        raise NoExactRuleError("onesided=1 with inverse=1")
    node.resize_inputs(min(len(node.inputs), 2))
    node.attributes["axis"] = ir.AttrInt64("axis", place % rank_of(node.inputs[0]))


@rewrite("Mish", since=18)
def _mish(node: ir.Node) -> None:
    make, source = Builder(node), node.inputs[0]
    replace(node, make("Mul", source, make("Tanh", make("Softplus", source))))


@rewrite("Swish", since=24)
def _swish(node: ir.Node) -> None:
    make, source = Builder(node), node.inputs[0]
    alpha = node.attributes.get_float("alpha", 1.0)
    scaled = source if alpha == 1 else make("Mul", source, make.like(alpha, source))
    replace(node, make("Mul", source, make("Sigmoid", scaled)))


@rewrite("RMSNormalization", since=23)
def _rms_norm(node: ir.Node) -> None:
    make, source, scale = Builder(node), node.inputs[0], node.inputs[1]
    kind, rank = dtype_of(source), rank_of(source)
    stash = ir.DataType(node.attributes.get_int("stash_type", int(ir.DataType.FLOAT)))
    axes = list(range(node.attributes.get_int("axis", -1) % rank, rank))
    wide = source if kind == stash else make("Cast", source, to=int(stash))
    made = dtype_of(scale)
    mean = make("ReduceMean", make("Mul", wide, wide), axes=axes, keepdims=1)
    epsilon = np.array(node.attributes.get_float("epsilon", 1e-5), dtype=stash.numpy())
    root = make("Sqrt", make("Add", mean, make.constant(epsilon)))
    normal = make("Div", wide, root)
    if made != stash:
        normal = make("Cast", normal, to=int(made))
    replace(node, make("Mul", normal, scale))


def _normalised_groups(node: ir.Node, scale: ir.Value | None, bias: ir.Value | None) -> ir.Value:
    """InstanceNormalization over [N, groups, everything else], back in the input's shape."""
    make, source = Builder(node), node.inputs[0]
    groups = node.attributes.get_int("num_groups")
    grouped = make("Reshape", source, make.ints(0, groups, -1))
    epsilon = node.attributes.get_float("epsilon", 1e-5)  # the operator's own default
    normal = make("InstanceNormalization", grouped, scale, bias, epsilon=epsilon)
    return make("Reshape", normal, make("Shape", source))


@rewrite("GroupNormalization", since=18)
def _group_norm_18(node: ir.Node) -> None:
    replace(node, _normalised_groups(node, node.inputs[1], node.inputs[2]))


@rewrite("GroupNormalization", since=21)
def _group_norm_21(node: ir.Node) -> None:
    require_default(node, stash_type=1)
    make, source = Builder(node), node.inputs[0]
    rank, groups = rank_of(source), node.attributes.get_int("num_groups")
    ones = np.ones(groups, dtype=dtype_of(source).numpy())
    normal = _normalised_groups(node, make.constant(ones), make.constant(ones * 0))
    column = make.ints(-1, *[1] * (rank - 2))
    scaled = make("Mul", normal, make("Reshape", node.inputs[1], column))
    replace(node, make("Add", scaled, make("Reshape", node.inputs[2], column)))


@rewrite("GridSample", since=20)
def _grid_sample(node: ir.Node) -> None:
    if rank_of(node.inputs[0]) != 4:  # noqa: PLR2004
        raise NoExactRuleError("only 4-D input existed before opset 20")
    mode = node.attributes.get_string("mode", "linear")
    older = {"linear": "bilinear", "cubic": "bicubic"}.get(mode or "", mode)
    node.attributes["mode"] = ir.AttrString("mode", older or "bilinear")


@rewrite("Gelu", since=20)
def _gelu(node: ir.Node) -> None:
    make, source = Builder(node), node.inputs[0]
    if node.attributes.get_string("approximate", "none") == "tanh":
        cube = make("Mul", make("Mul", source, source), source)
        inner = make("Add", source, make("Mul", cube, make.like(0.044715, source)))
        shape = make("Tanh", make("Mul", inner, make.like(float(np.sqrt(2 / np.pi)), source)))
    else:
        shape = make("Erf", make("Div", source, make.like(float(np.sqrt(2)), source)))
    half = make("Mul", source, make.like(0.5, source))
    replace(node, make("Mul", half, make("Add", shape, make.like(1.0, source))))
