"""Sliding windows said as strided slices, one for each element of the kernel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    dtype_of,
    rank_of,
    size_of,
)
from ascend_migrate.converters.onnx_building import replace as replace_node

_MOST = 64
"""Elements of a kernel that are written out: each is a slice of the whole input."""


@dataclass(frozen=True, slots=True)
class Window:
    """How one spatial dimension is walked over.

    Attributes:
        size: of the input.
        kernel: number of elements of the window.
        stride: from one window to the next.
        dilation: from one element of the window to the next.
        before: elements added in front.
        after: elements added behind.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        """From the first to the last element of the window, both included."""
        return (self.kernel - 1) * self.dilation + 1

    def count(self, *, ceil: bool) -> int:
        """Returns how many windows there are; one that begins behind the input does not count."""
        room = self.size + self.before + self.after - self.reach
        found = -(-room // self.stride) + 1 if ceil else room // self.stride + 1
        if ceil and (found - 1) * self.stride >= self.size + self.before:
            found -= 1
        return found

    def seen(self, *, ceil: bool, pads: bool) -> np.ndarray:
        """Returns how many elements each window sees, those that were added only if ``pads``."""
        starts = np.arange(self.count(ceil=ceil)) * self.stride - self.before
        at = starts[:, None] + np.arange(self.kernel) * self.dilation
        low, high = (-self.before, self.size + self.after) if pads else (0, self.size)
        return np.asarray(((at >= low) & (at < high)).sum(axis=1))


def windows_of(node: ir.Node) -> list[Window]:
    """Returns the windows of a pooling or a convolution, one for each spatial dimension.

    Raises:
        NoExactRuleError: a size is not fixed.
    """
    source, given = node.inputs[0], node.attributes
    count = rank_of(source) - 2

    def numbers(name: str, default: int, length: int = count) -> Sequence[int]:
        attribute = given.get(name)
        return [default] * length if attribute is None else attribute.as_ints()

    kernel = numbers("kernel_shape", 0)
    if 0 in kernel:
        kernel = [size_of(node.inputs[1], axis + 2) for axis in range(count)]
    strides, dilations = numbers("strides", 1), numbers("dilations", 1)
    pads = numbers("pads", 0, 2 * count)
    found = [
        Window(
            size_of(source, axis + 2), kernel[axis], strides[axis], dilations[axis],
            pads[axis], pads[axis + count],
        )
        for axis in range(count)
    ]  # fmt: skip
    mode = given.get_string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return found
    return [_padded(window, str(mode)) for window in found]


def _padded(window: Window, mode: str) -> Window:
    """Returns the pads that auto_pad stands for: as many windows as strides in the input."""
    if mode == "VALID":
        return replace(window, before=0, after=0)
    wanted = -(-window.size // window.stride)
    total = max((wanted - 1) * window.stride + window.reach - window.size, 0)
    small, large = total // 2, total - total // 2
    before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
    return replace(window, before=before, after=after)


def state_pads(node: ir.Node, found: Sequence[Window]) -> None:
    """Writes the pads out in the place of auto_pad."""
    pads = [*(w.before for w in found), *(w.after for w in found)]
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)


def slices(
    make: Builder, source: ir.Value | None, found: Sequence[Window], filling: float, *, ceil: bool
) -> Iterator[ir.Value]:
    """Yields for each element of the kernel what every window sees in its place.

    Raises:
        NoExactRuleError: the kernel has too many elements.
    """
    total = int(np.prod([window.kernel for window in found]))
    if total > _MOST:
        raise NoExactRuleError(f"a kernel of {total} elements; up to {_MOST} are written out")
    counts = [window.count(ceil=ceil) for window in found]
    # Behind the pads, as far as the last window reaches.
    needed = [
        max((n - 1) * w.stride + w.reach - w.before - w.size, 0)
        for n, w in zip(counts, found, strict=True)
    ]
    wide = padded(make, source, [w.before for w in found], needed, filling)
    axes = range(2, 2 + len(found))
    for place in product(*(range(window.kernel) for window in found)):
        starts = [k * window.dilation for k, window in zip(place, found, strict=True)]
        ends = [
            start + (n - 1) * window.stride + 1
            for start, n, window in zip(starts, counts, found, strict=True)
        ]
        steps = [window.stride for window in found]
        yield make(
            "Slice", wide, make.ints(*starts), make.ints(*ends), make.ints(*axes), make.ints(*steps)
        )


def padded(
    make: Builder,
    source: ir.Value | None,
    before: Sequence[int],
    after: Sequence[int],
    filling: float,
) -> ir.Value | None:
    """Adds elements around the spatial dimensions."""
    if not any((*before, *after)):
        return source
    pads = make.ints(0, 0, *before, 0, 0, *after)
    return make("Pad", source, pads, make.like(filling, source), mode="constant")


def lp_pool_by_slices(node: ir.Node) -> None:
    """The root of a sum of powers.

    Raises:
        NoExactRuleError: a size is not fixed, or the kernel too large.
    """
    make, source, p = Builder(node), node.inputs[0], node.attributes.get_int("p", 2)
    ceil = bool(node.attributes.get_int("ceil_mode", 0))
    found = slices(make, source, windows_of(node), 0, ceil=ceil)
    powers = [make("Abs", item) for item in found]
    if p != 1:
        powers = [make("Pow", item, make.like(p, source)) for item in powers]
    total = _sum(make, powers)
    replace_node(node, total if p == 1 else make("Pow", total, make.like(1 / p, source)))


def average_by_slices(node: ir.Node) -> None:
    """A sum, divided by the number of elements that each window sees.

    Raises:
        NoExactRuleError: a size is not fixed, or the kernel too large.
    """
    make, source, windows = Builder(node), node.inputs[0], windows_of(node)
    ceil = bool(node.attributes.get_int("ceil_mode", 0))
    pads = bool(node.attributes.get_int("count_include_pad", 0))
    total = _sum(make, list(slices(make, source, windows, 0, ceil=ceil)))
    counts = np.ones(())
    for window in windows:
        counts = np.multiply.outer(counts, window.seen(ceil=ceil, pads=pads))
    replace_node(node, make("Div", total, make.constant(counts.astype(dtype_of(source).numpy()))))


def _sum(make: Builder, values: Sequence[ir.Value]) -> ir.Value:
    return reduce(lambda a, b: make("Add", a, b), values)
