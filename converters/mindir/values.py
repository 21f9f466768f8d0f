"""What a name of an ONNX graph stands for while the graph is being lowered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Dim = int | str | None
"""A size: known, symbolic (the same symbol is the same size), or unknown."""

Shape = tuple[Dim, ...]


class UnsupportedError(Exception):
    """This node cannot be expressed exactly; the message is the reason, told to the user.

    Internal: the lowering collects these into one `UnsupportedOperatorError`.

    Attributes:
        nodes: where the node itself is sound and the fault is in its branches or its body: the
            lines that describe the faulty nodes there. None otherwise.
    """

    def __init__(self, reason: str, nodes: Sequence[str] | None = None) -> None:
        self.nodes = None if nodes is None else tuple(nodes)
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Scalar:
    """An int64 scalar that is computed when the model runs.

    Attributes:
        ref: name of the MindIR node that yields it.
        symbol: the symbolic dimension that it is the size of, if it is one.
        natural: whether it is known not to be negative.
    """

    ref: str
    symbol: str | None = None
    natural: bool = False


Element = int | Scalar


def natural(element: Element) -> bool:
    """Whether an element is known not to be negative."""
    return element.natural if isinstance(element, Scalar) else element >= 0


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the graph, in as many guises as are known.

    Attributes:
        name: its ONNX name, or that of the node that it was made for.
        dtype: our spelling of the element type.
        shape: its sizes; None where not even the rank is known.
        constant: its content where known before the model runs.
        elements: for int64 tensors of rank 0 or 1 that take part in shape arithmetic: each element.
        ref: MindIR node (or input, or parameter) that yields it as a tensor; None until needed.
        weight: whether it is an initializer, to be kept as a parameter under its own name.
        items: the tensors of a sequence, which exists during conversion only; None for a tensor.
        stack: of a sequence: those before ``items``, whose number only the running model knows,
            along a first dimension; None where there are none.
        masked: whether it may be -inf along a whole row.
    """

    name: str
    dtype: str
    shape: Shape | None
    constant: np.ndarray | None = None
    elements: tuple[Element, ...] | None = None
    ref: str | None = None
    weight: bool = False
    items: "tuple[Value, ...] | None" = None
    stack: "Value | None" = None
    masked: bool = False

    @property
    def sizes(self) -> Shape:
        """The sizes of each dimension.

        Raises:
            UnsupportedError: the rank is not known.
        """
        if self.shape is None:
            raise UnsupportedError(f"the rank of {self.name!r} is not known before the model runs")
        return self.shape

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.sizes)

    @property
    def floating(self) -> bool:
        """Whether the elements are real floating-point numbers."""
        return "float" in self.dtype


def constant(name: str, array: np.ndarray) -> Value:
    """Returns a value whose content is known; small int64 vectors also as elements."""
    elements = None
    if array.dtype == np.int64 and array.ndim <= 1:
        elements = tuple(int(item) for item in array.reshape(-1))
    return Value(name, array.dtype.name, array.shape, array, elements)


def static(shape: Sequence[Dim], what: str) -> tuple[int, ...]:
    """Returns ``shape`` if every size is known.

    Raises:
        UnsupportedError: names the dimension that is not.
    """
    for index, size in enumerate(shape):
        if not isinstance(size, int):
            raise UnsupportedError(
                f"dimension {index} ({size or 'unknown'}) of {what} must have a fixed size"
            )
    return tuple(size for size in shape if isinstance(size, int))


def broadcast(*shapes: Shape | None) -> Shape | None:
    """Returns the shape that numpy's broadcasting gives, as far as it is known."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) != len(shapes):
        return None
    rank = max((len(shape) for shape in known), default=0)
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in known), strict=True)
    return tuple(_broadcast_sizes(column) for column in columns)


def _broadcast_sizes(sizes: Sequence[Dim]) -> Dim:
    others = {size for size in sizes if size != 1}
    if len(others) <= 1:
        return others.pop() if others else 1
    # A known size other than 1 wins over one that is not known: that one must be equal to it or 1.
    known = sorted(size for size in others if isinstance(size, int))
    if len(known) > 1:
        raise UnsupportedError(f"sizes {known[0]} and {known[1]} do not broadcast")
    return known[0] if known else None


def is_exact(content: Any, narrow: np.ndarray) -> bool:
    """Whether the element type of ``narrow`` holds every number of ``content`` as it is."""
    back = narrow.astype(np.float32)
    return np.array_equal(back, np.asarray(content, np.float32), equal_nan=True)


def merge(ours: Shape | None, theirs: Shape | None) -> Shape | None:
    """Returns what two sources know together about one shape."""
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    if len(ours) != len(theirs):
        return ours
    return tuple(_better(a, b) for a, b in zip(ours, theirs, strict=True))


def _better(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int):
        return a
    return b if isinstance(b, int) or a is None else a
