"""What a model is fed: named tensors with fixed and named dynamic dimensions.

The grammar of ``--input``, one tensor each::

    NAME=DTYPE[DIM,DIM,...]          x=float32[1,3,224,224]
    DIM     a number                 fixed
            name=LOW..HIGH           dynamic, every size from LOW to HIGH
            name=LOW..HIGH/STEP      dynamic, every STEP-th size from LOW to HIGH
            name=SIZE|SIZE|...       dynamic, these sizes alone
            name                     the same dimension again
    :LOW..HIGH                       range of the random values, both ends included

    x=int64[batch=1..8,2,time=16..64]:0..138
    x=float32[1,3,h=64..256/32,w=64|128|256]
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ascend_migrate.pipeline.dtypes import BY_NAME

COMBINATIONS = 64
"""Most combinations of listed sizes that each get a case of their own and, where MindSpore needs
fixed sizes, a graph of their own: a judgement runs every one of them."""


@dataclass(frozen=True, slots=True)
class Dim:
    """A dynamic dimension.

    Attributes:
        name: the same name is the same size.
        sizes: every size that it may have, ascending: a range, or a tuple where they were listed.
    """

    name: str
    sizes: range | tuple[int, ...]

    @classmethod
    def between(cls, name: str, low: int, high: int, step: int = 1) -> "Dim":
        """Returns a dimension of every ``step``-th size from ``low`` to ``high`` inclusive."""
        return cls(name, range(low, high + 1, step))

    @property
    def low(self) -> int:
        """The least size."""
        return self.sizes[0]

    @property
    def high(self) -> int:
        """The greatest size."""
        return self.sizes[-1]

    @property
    def listed(self) -> bool:
        """Whether the sizes were given one by one, so that each can have a graph of its own."""
        return isinstance(self.sizes, tuple)

    @property
    def step(self) -> int:
        """The greatest number that all differences between sizes are multiples of; at least 1."""
        if isinstance(self.sizes, range):
            return self.sizes.step
        return max(1, math.gcd(*(size - self.low for size in self.sizes)))

    def as_list(self) -> str:
        """Returns an example of how to list sizes of this dimension: least, middle, greatest."""
        shown = sorted({self.low, self.sizes[len(self.sizes) // 2], self.high})
        return f"{self.name}={'|'.join(map(str, shown))}"

    def __str__(self) -> str:
        if self.listed:
            return f"{self.name}={'|'.join(map(str, self.sizes))}"
        step = f"/{self.step}" if self.step > 1 and len(self.sizes) > 1 else ""
        return f"{self.name}={self.low}..{self.high}{step}"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input tensor of a model.

    Attributes:
        name: argument name of the model's ``forward`` and input name of every exported graph.
        dtype: our spelling of the element type.
        shape: sizes; a `Dim` where the size is dynamic.
        low: least random value; None means the default of the element type.
        high: greatest random value.
    """

    name: str
    dtype: str
    shape: tuple[int | Dim, ...]
    low: float | None = None
    high: float | None = None

    def sizes(self, dims: Mapping[str, int]) -> tuple[int, ...]:
        """Returns the concrete shape when each dynamic dimension has the size in ``dims``."""
        return tuple(dims[d.name] if isinstance(d, Dim) else d for d in self.shape)

    def __str__(self) -> str:
        text = f"{self.name}={self.dtype}[{','.join(map(str, self.shape))}]"
        if self.low is None and self.high is None:
            return text
        # Every digit: two ranges that differ must never be the same text, nor the same stage.
        return f"{text}:{_digits(self.low)}..{_digits(self.high)}"


def _digits(value: float | None) -> str:
    return repr(value).removesuffix(".0")


_INPUT = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*)=(?P<dtype>\w+)\[(?P<dims>[^\]]*)\](?::(?P<range>.+))?"
)
_SIZE = "[0-9]{1,18}"
_DIM = re.compile(
    rf"(?P<name>[A-Za-z_]\w*)(?:=(?:(?P<low>{_SIZE})\.\.(?P<high>{_SIZE})(?:/(?P<step>{_SIZE}))?"
    rf"|(?P<listed>{_SIZE}(?:\|{_SIZE})+)))?"
)
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})")


def parse_inputs(texts: Iterable[str]) -> tuple[tuple[InputSpec, ...], tuple[str, ...]]:
    """Reads inputs that may share dynamic dimensions.

    Returns:
        The inputs that could be read, and one line for each fault.
    """
    dims: dict[str, Dim] = {}
    inputs: list[InputSpec] = []
    faults: list[str] = []
    for text in texts:
        found, wrong = _parse_one(text, dims)
        faults += [f"input {text!r}: {fault}" for fault in wrong]
        if found is not None:
            inputs.append(found)
    names = [item.name for item in inputs]
    faults += [
        f"input {n!r} is given twice" for n in sorted({n for n in names if names.count(n) > 1})
    ]
    return tuple(inputs), tuple(faults)


def dynamic_dims(inputs: Iterable[InputSpec]) -> dict[str, Dim]:
    """Returns the dynamic dimensions of all inputs by name, in order of appearance."""
    return {d.name: d for item in inputs for d in item.shape if isinstance(d, Dim)}


def combinations(dims: Iterable[Dim]) -> list[dict[str, int]]:
    """Returns every combination of the sizes of some dimensions, by name, the last one fastest."""
    given = list(dims)
    names = [dim.name for dim in given]
    product = itertools.product(*(dim.sizes for dim in given))
    return [dict(zip(names, sizes, strict=True)) for sizes in product]


def _parse_one(text: str, dims: dict[str, Dim]) -> tuple[InputSpec | None, list[str]]:
    match = _INPUT.fullmatch(text.strip())
    if match is None:
        return None, ["expected NAME=DTYPE[DIM,...], such as x=int64[batch=1..8,16]:0..100"]
    faults = []
    if match["dtype"] not in BY_NAME:
        faults.append(f"unknown dtype {match['dtype']!r}; known: {', '.join(BY_NAME)}")
    shape: list[int | Dim] = []
    for part in filter(None, (p.strip() for p in match["dims"].split(","))):
        dim = _parse_dim(part, dims)
        if isinstance(dim, str):
            faults.append(dim)
        else:
            shape.append(dim)
    low = high = None
    if match["range"] is not None:
        bounds = _RANGE.fullmatch(match["range"].strip())
        if bounds is None:
            faults.append(f"value range {match['range']!r} is not LOW..HIGH")
        else:
            low, high = float(bounds["low"]), float(bounds["high"])
            if not -math.inf < low <= high < math.inf:
                faults.append(f"value range {match['range']!r} is empty or has no end")
    if faults:
        return None, faults
    return InputSpec(match["name"], match["dtype"], tuple(shape), low, high), []


def _parse_dim(part: str, dims: dict[str, Dim]) -> int | Dim | str:
    """Returns a size, a dynamic dimension, or the fault as text."""
    if re.fullmatch(_SIZE, part):
        return int(part) if int(part) > 0 else f"dimension {part} must be at least 1"
    match = _DIM.fullmatch(part)
    if match is None:
        return (
            f"dimension {part!r} is neither a number nor name=LOW..HIGH, name=LOW..HIGH/STEP or "
            "name=SIZE|SIZE"
        )
    name = match["name"]
    if part == name:
        return dims.get(
            name, f"dimension {name!r} has no range; write {name}=1..8 at its first use"
        )
    dim = _listed(match) if match["listed"] else _ranged(match)
    if isinstance(dim, str):
        return dim
    if dims.setdefault(name, dim) != dim:
        return f"dimension {name!r} is given twice: {dims[name]} and {dim}"
    return dim


def _listed(match: "re.Match[str]") -> Dim | str:
    sizes = sorted(map(int, match["listed"].split("|")))
    if sizes[0] < 1:
        return f"dimension {match[0]!r}: every size must be at least 1"
    if len(set(sizes)) < len(sizes):
        return f"dimension {match[0]!r} names a size twice"
    return Dim(match["name"], tuple(sizes))


def _ranged(match: "re.Match[str]") -> Dim | str:
    low, high, step = int(match["low"]), int(match["high"]), int(match["step"] or 1)
    if not 1 <= low <= high:
        return f"dimension {match[0]!r} must have 1 <= LOW <= HIGH"
    if step < 1 or (high - low) % step:
        return f"dimension {match[0]!r}: HIGH must be LOW and some whole steps of at least 1"
    return Dim.between(match["name"], low, high, step)
