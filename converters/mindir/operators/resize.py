"""Resampling of images, natively where MindSpore's grid is exactly ONNX's."""

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Element, Shape, UnsupportedError, Value

_IMAGE = 4
"""Rank of a batch of images."""


@operator("Resize", since=(11, 13, 18, 19))
def resize(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Resize.html: the last two dimensions of images."""
    x = node[0]
    if node.attributes.get("antialias") or node.attributes.get("axes"):
        raise UnsupportedError("antialias or axes")
    signal = x.rank == _IMAGE - 1
    if x.rank not in {_IMAGE - 1, _IMAGE}:
        raise UnsupportedError(f"an input of rank {x.rank}")
    sizes, factors = _target(context, node)
    image = context.unsqueeze(x, (2,)) if signal else x
    size = (1, sizes[-1]) if signal else sizes[-2:]
    factors = factors[2:]
    shape: Shape = (*image.sizes[:2], *(s if isinstance(s, int) else None for s in size))
    mode, grid = (
        str(node.attributes["mode"]),
        str(node.attributes["coordinate_transformation_mode"]),
    )
    if mode == "nearest":
        _check_nearest(node, grid, factors)
        name, align, half = "ResizeNearestNeighbor", False, False
    else:
        name = {"linear": "ResizeBilinearV2", "cubic": "ResizeBicubic"}[mode]
        align, half = grid == "align_corners", grid in {"half_pixel", "pytorch_half_pixel"}
        _check_smooth(node, mode, grid, (image, size))
    result = context.emit(name, image, tuple(size), align, half, dtype=x.dtype, shape=shape)
    return context.squeeze(result, (2,)) if signal else result


def _target(context: Context, node: Node) -> tuple[tuple[Element, ...], tuple[float | None, ...]]:
    """Returns the sizes of the result and the factor of each dimension, where known."""
    x = node[0]
    scales, sizes = node.optional(2), node.optional(3)
    if sizes is not None and sizes.shape != (0,):
        if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise UnsupportedError("keep_aspect_ratio_policy other than stretch")
        target = context.elements(sizes)
        factors = tuple(
            a / b if isinstance(a, int) and isinstance(b, int) else None
            for a, b in zip(target, x.sizes, strict=True)
        )
        return _spatial(node, target, factors)
    if scales is None or scales.constant is None:
        raise UnsupportedError("scales are computed when the model runs")
    given = tuple(float(item) for item in scales.constant.reshape(-1))
    found: list[Element] = []
    for axis, factor in enumerate(given):
        size = context.dim(x, axis)
        if isinstance(size, int):
            found.append(int(size * factor))
        elif factor == int(factor):
            found.append(context.arithmetic("Mul", size, int(factor)))
        else:
            raise UnsupportedError(f"a factor of {factor} on dimension {axis}, which is dynamic")
    return _spatial(node, tuple(found), given)


def _spatial(
    node: Node, sizes: tuple[Element, ...], factors: tuple[float | None, ...]
) -> tuple[tuple[Element, ...], tuple[float | None, ...]]:
    for axis in (0, 1):
        same = factors[axis] == 1 or _symbol(sizes[axis]) == node[0].sizes[axis]
        if not same:
            raise UnsupportedError(f"dimension {axis} is resized too")
    return sizes, factors


def _symbol(element: Element) -> int | str | None:
    return element if isinstance(element, int) else element.symbol


def _check_nearest(node: Node, grid: str, factors: tuple[float | None, ...]) -> None:
    rounding = str(node.attributes["nearest_mode"])
    if grid == "asymmetric" and rounding == "floor":
        return
    whole = all(f is not None and f >= 1 and f == int(f) for f in factors)
    # Enlarged by a whole factor, every grid that rounds to the nearest repeats the elements.
    if whole and grid in {"half_pixel", "pytorch_half_pixel"} and rounding.startswith("round"):
        return
    raise UnsupportedError(f"nearest with {grid} and {rounding} by factors {factors}")


def _check_smooth(
    node: Node, mode: str, grid: str, target: tuple[Value, tuple[Element, ...]]
) -> None:
    if grid not in {"half_pixel", "pytorch_half_pixel", "align_corners"}:
        raise UnsupportedError(f"{mode} with {grid}")
    image, size = target
    if grid == "pytorch_half_pixel" and any(
        not isinstance(item, int) or item == 1 != image.sizes[axis + 2]
        for axis, item in enumerate(size)
    ):
        raise UnsupportedError("pytorch_half_pixel with an output size that may be 1")
    # MindSpore's cubic kernel has the coefficient -0.75 on this grid only, and clamps at the border.
    if mode == "cubic" and grid != "align_corners":
        raise UnsupportedError(f"cubic with {grid}")
    if mode == "cubic" and abs(float(node.attributes["cubic_coeff_a"]) + 0.75) > 1e-7:  # noqa: PLR2004
        raise UnsupportedError("a cubic coefficient other than -0.75")
    if mode == "cubic" and node.attributes["exclude_outside"]:
        raise UnsupportedError("exclude_outside=1")


@operator("DepthToSpace", since=(1, 11, 13))
def depth_to_space(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__DepthToSpace.html: both orders."""
    x, block = node[0], int(node.attributes["blocksize"])
    batch, depth, height, width = context.dims(x)
    inner = context.arithmetic("FloorDiv", depth, block * block)
    if node.attributes.get("mode", "DCR") == "CRD":
        split, order = (batch, inner, block, block, height, width), (0, 1, 4, 2, 5, 3)
    else:
        split, order = (batch, block, block, inner, height, width), (0, 3, 4, 1, 5, 2)
    moved = context.transpose(context.reshape(x, split), order)
    tall, wide = (context.arithmetic("Mul", size, block) for size in (height, width))
    return context.reshape(moved, (batch, inner, tall, wide))


@operator("SpaceToDepth", since=(1, 13))
def space_to_depth(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html."""
    x, block = node[0], int(node.attributes["blocksize"])
    batch, depth, height, width = context.dims(x)
    low, narrow = (context.arithmetic("FloorDiv", size, block) for size in (height, width))
    split = context.reshape(x, (batch, depth, low, block, narrow, block))
    moved = context.transpose(split, (0, 3, 5, 1, 2, 4))
    return context.reshape(
        moved, (batch, context.arithmetic("Mul", depth, block * block), low, narrow)
    )
