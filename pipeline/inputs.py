"""What a model is fed: named tensors with fixed and named dynamic dimensions.

The grammar of ``--input``, one tensor each::

    NAME=DTYPE[DIM,DIM,...]          x=float32[1,3,224,224]
    DIM     a number                 fixed
            name=LOW..HIGH           dynamic, every size from LOW to HIGH
            name                     the same dimension again
    :LOW..HIGH                       range of the random values, both ends included

    x=int64[batch=1..8,2,time=16..64]:0..138
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ascend_migrate.pipeline.dtypes import BY_NAME


@dataclass(frozen=True, slots=True)
class Dim:
    """A dynamic dimension, every size from ``low`` to ``high`` inclusive."""

    name: str
    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.name}={self.low}..{self.high}"


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

    def sizes(self, dims: dict[str, int]) -> tuple[int, ...]:
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
_DIM = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:=(?P<low>\d+)\.\.(?P<high>\d+))?")
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
    if part.isdecimal():
        return int(part) if int(part) > 0 else f"dimension {part} must be at least 1"
    match = _DIM.fullmatch(part)
    if match is None:
        return f"dimension {part!r} is neither a number nor name=LOW..HIGH"
    name = match["name"]
    if match["low"] is None:
        return dims.get(
            name, f"dimension {name!r} has no range; write {name}=1..8 at its first use"
        )
    dim = Dim(name, int(match["low"]), int(match["high"]))
    if not 1 <= dim.low <= dim.high:
        return f"dimension {part!r} must have 1 <= LOW <= HIGH"
    if dims.setdefault(name, dim) != dim:
        return f"dimension {name!r} has two ranges: {dims[name]} and {dim}"
    return dim
