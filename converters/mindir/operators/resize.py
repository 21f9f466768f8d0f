"""Resampling of images, natively where MindSpore's grid is exactly ONNX's."""

from collections.abc import Sequence

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.nn import matrices
from ascend_migrate.converters.mindir.operators.resize_general import resize_at_run_time
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Dim, Element, Shape, UnsupportedError, Value
from ascend_migrate.converters.resample import GRIDS, Line, nearest, weights

_AS_PRODUCT = (
    "A Resize for which MindSpore has no exact kernel (cubic, antialias, some grids) is written as "
    "a product with a matrix of weights, and is one on the device, too."
)

_IMAGE = 4
"""Rank of a batch of images."""


@operator("Resize", since=(11, 13, 18, 19))
def resize(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Resize.html."""
    x = node[0]
    if _at_run_time(node):
        return resize_at_run_time(context, node)
    target, factors = _target(context, node)
    lines = [_line(*item) for item in zip(x.sizes, target, factors, strict=True)]
    # A factor may also move the positions where rounding leaves the size as it was.
    changed = [
        axis
        for axis, line in enumerate(lines)
        if not _same(x.sizes[axis], target[axis]) or (line is not None and line.rounded)
    ]
    native = _native(node, target, factors)
    rounded = any(line is not None and line.rounded for line in lines)
    if native and not rounded and x.rank in {_IMAGE - 1, _IMAGE} and min(changed, default=0) > 1:
        return _image(context, x, target, native)
    if any(lines[axis] is None for axis in changed):
        return resize_at_run_time(context, node)
    for axis in changed:
        x = _along(context, node, x, axis, lines[axis])
    return x


def _at_run_time(node: Node) -> bool:
    """Whether how to resize depends on what the model computes, or on MindSpore's least."""
    if node.attributes["coordinate_transformation_mode"] not in GRIDS or node.attributes.get(
        "axes"
    ):
        return True
    sizes, scales = node.optional(3), node.optional(2)
    if sizes is None or sizes.shape == (0,):
        return scales is None or scales.constant is None
    return bool(node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch")


def _target(context: Context, node: Node) -> tuple[tuple[Element, ...], tuple[float | None, ...]]:
    """Returns the sizes of the result and the factor of each dimension, where known."""
    x = node[0]
    scales, sizes = node.optional(2), node.optional(3)
    if sizes is not None and sizes.shape != (0,):
        target = context.elements(sizes)
        pairs = zip(target, x.sizes, strict=True)
        return target, tuple(_factor(after, before) for after, before in pairs)
    if scales is None or scales.constant is None:
        raise UnsupportedError("scales are computed when the model runs")
    factors = tuple(float(item) for item in scales.constant.reshape(-1))
    return tuple(_scaled(context, x, axis, f) for axis, f in enumerate(factors)), factors


def _factor(after: Element, before: Dim) -> float | None:
    if isinstance(after, int) and isinstance(before, int):
        return after / before
    return 1.0 if _same(before, after) else None


def _same(before: Dim, after: Element) -> bool:
    return before is not None and before == known((after,))[0]


def _scaled(context: Context, x: Value, axis: int, factor: float) -> Element:
    size = context.dim(x, axis)
    if isinstance(size, int):
        return int(size * factor)
    if factor != int(factor):
        raise UnsupportedError(f"a factor of {factor} on dimension {axis}, whose size is dynamic")
    return context.arithmetic("Mul", size, int(factor))


def _native(
    node: Node, target: Sequence[Element], factors: Sequence[float | None]
) -> tuple[str, bool, bool] | None:
    """Returns the primitive that samples where ONNX does, and its two flags; None if none does.

    MindSpore computes the factor from the sizes, which a rounded size would make another one.
    """
    grid = str(node.attributes["coordinate_transformation_mode"])
    if node.attributes["mode"] == "nearest":
        rounding = str(node.attributes["nearest_mode"])
        whole = all(f is not None and f >= 1 and f == int(f) for f in factors)
        # Enlarged by a whole factor, every grid that rounds to the nearest repeats the elements.
        repeats = whole and grid.endswith("half_pixel") and rounding.startswith("round")
        floors = grid == "asymmetric" and rounding == "floor"
        return ("ResizeNearestNeighbor", False, False) if repeats or floors else None
    if node.attributes.get("antialias") and not all(f is not None and f >= 1 for f in factors):
        return None
    # Bicubic kernels take their coefficients from a table, and are wrong by 1e-3.
    if node.attributes["mode"] == "cubic":
        return None
    several = all(isinstance(size, int) and size > 1 for size in target[2:])
    if grid == "half_pixel" or (grid == "pytorch_half_pixel" and several):
        return "ResizeBilinearV2", False, True
    return ("ResizeBilinearV2", True, False) if grid == "align_corners" else None


def _image(
    context: Context, x: Value, target: Sequence[Element], native: tuple[str, bool, bool]
) -> Value:
    """Resizes a batch of images, or of signals as images of height 1."""
    signal = x.rank < _IMAGE
    image = context.unsqueeze(x, (2,)) if signal else x
    size = (1, target[-1]) if signal else tuple(target[-2:])
    name, align, half = native
    shape: Shape = (*image.sizes[:2], *known(size))
    result = context.emit(name, image, size, align, half, dtype=x.dtype, shape=shape)
    return context.squeeze(result, (2,)) if signal else result


def _line(before: Dim, after: Element, factor: float | None) -> Line | None:
    if isinstance(before, int) and isinstance(after, int) and factor is not None:
        return Line(before, after, factor)
    return None


def _along(context: Context, node: Node, x: Value, axis: int, line: Line | None) -> Value:
    """Resizes one dimension by picking elements or by a product with a matrix of weights."""
    if line is None:
        grid = node.attributes["coordinate_transformation_mode"]
        raise UnsupportedError(
            f"mode={node.attributes['mode']} with {grid} on dimension {axis}, whose size is dynamic"
        )
    if node.attributes["mode"] == "nearest":
        index = context.constant(nearest(line, node.attributes), "int64")
        shape = (*x.sizes[:axis], line.target, *x.sizes[axis + 1 :])
        return context.emit("Gather", x, index, axis, 0, dtype=x.dtype, shape=shape)
    if not x.floating:
        raise UnsupportedError(f"mode={node.attributes['mode']} on {x.dtype}")
    order = [other for other in range(x.rank) if other != axis] + [axis]
    context.note(_AS_PRODUCT)
    matrix = context.constant(weights(line, node.attributes), x.dtype)
    product = matrices(context, context.transpose(x, order), matrix)
    return context.transpose(product, [order.index(other) for other in range(x.rank)])


@operator("DepthToSpace", since=(1, 11, 13, 28))
def depth_to_space(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__DepthToSpace.html: both orders."""
    x, block = node[0], int(node.attributes["blocksize"])
    batch, depth, height, width = context.dims(x)
    inner = context.arithmetic("FloorDiv", depth, block * block)
    if node.attributes.get("mode", "DCR") == "CRD":
        split: tuple[Element, ...] = (batch, inner, block, block, height, width)
        order = (0, 1, 4, 2, 5, 3)
    else:
        split, order = (batch, block, block, inner, height, width), (0, 3, 4, 1, 5, 2)
    moved = context.transpose(context.reshape(x, split), order)
    tall, wide = (context.arithmetic("Mul", size, block) for size in (height, width))
    return context.reshape(moved, (batch, inner, tall, wide))


@operator("SpaceToDepth", since=(1, 13, 28))
def space_to_depth(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html: both orders."""
    x, block = node[0], int(node.attributes["blocksize"])
    batch, depth, height, width = context.dims(x)
    low, narrow = (context.arithmetic("FloorDiv", size, block) for size in (height, width))
    split = context.reshape(x, (batch, depth, low, block, narrow, block))
    crd = node.attributes.get("mode", "DCR") == "CRD"
    moved = context.transpose(split, (0, 1, 3, 5, 2, 4) if crd else (0, 3, 5, 1, 2, 4))
    return context.reshape(
        moved, (batch, context.arithmetic("Mul", depth, block * block), low, narrow)
    )
