"""Casts of floating tensors on their way from file to file, and what the casts lose.

Rounding is to nearest, ties to even, as IEEE 754 has it and as torch does it; a NaN stays one, with
other bits where torch's own depend on the length of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ascend_migrate.converters.safetensors_layout import Stored
from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype
from ascend_migrate.pipeline.precision import LOWER_TYPES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    Array = NDArray[Any]

CASTS = LOWER_TYPES
"""What float32 tensors can be stored as."""

_NORMAL = MappingProxyType({"float16": (0x0400, 0x7C00), "bfloat16": (0x0080, 0x7F80)})
"""Bits of the smallest normal number and of the infinite one, without their signs. Between them
rounding changes a number by no more than the type's unit roundoff."""


@dataclass(slots=True)
class Loss:
    """What the casts of a conversion have lost; filled in while the tensors are written.

    Attributes:
        tensors: number of tensors that were cast.
        overflowed: finite elements that became infinite.
        vanished: elements that became zero.
        change: bound of the relative change of all others.
    """

    tensors: int = 0
    overflowed: int = 0
    vanished: int = 0
    change: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, other: Loss) -> None:
        """Adds what another cast has lost; from any thread."""
        with self._lock:
            self.tensors += other.tensors
            self.overflowed += other.overflowed
            self.vanished += other.vanished
            self.change = max(self.change, other.change)

    def said(self, dtype: str) -> str:
        """Returns the loss as a sentence."""
        return (
            f"{self.tensors} tensors were cast to {dtype}: {self.overflowed} elements became "
            f"infinite, {self.vanished} became zero, the others changed by at most "
            f"{self.change:.2g} of their size."
        )


def cast(tensor: Stored, dtype: str, loss: Loss) -> Stored:
    """Returns a float32 tensor with its elements cast, and any other as it is.

    Args:
        tensor: what would be written.
        dtype: one of `CASTS`.
        loss: is added to once all pieces are taken.
    """
    if tensor.dtype != "float32":
        return tensor
    return Stored(tensor.name, dtype, tensor.shape, partial(_pieces, tensor, dtype, loss))


def _pieces(tensor: Stored, dtype: str, loss: Loss) -> Iterator[memoryview]:
    import numpy as np

    here = Loss(tensors=1)
    source = np.dtype(np.float32)
    lowered = _engine(dtype)
    for piece in _whole_elements(tensor.pieces(), source.itemsize):
        before = np.frombuffer(piece, source)
        after = lowered(before)
        _count(before, after.view(np.uint16), dtype, here)
        yield after.view(np.uint8).data
    loss.add(here)


def _whole_elements(pieces: Iterable[memoryview], width: int) -> Iterator[memoryview]:
    """Passes the bytes on so that no element is cut."""
    rest = b""
    for piece in pieces:
        whole = memoryview(rest + bytes(piece)) if rest else piece
        end = len(whole) - len(whole) % width
        rest = bytes(whole[end:])
        if end:
            yield whole[:end]
    if rest:
        yield memoryview(rest)


def _engine(dtype: str) -> Callable[[Array], Array]:
    """Returns the fastest exact cast: NumPy makes float16 at a tenth of onnxruntime's speed.

    Both were compared with torch for each of the 2**32 bit patterns of float32.
    """
    if dtype == "float16":
        return _with_onnxruntime
    return partial(_with_numpy, dtype=numpy_dtype(dtype))


def _with_onnxruntime(array: Array) -> Array:
    lowered: Array = _to_float16().run(None, {"x": array})[0]
    return lowered


@cache
def _to_float16() -> InferenceSession:
    """Returns a program of one Cast, which any number of threads may run."""
    import onnxruntime
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n"])
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)
    opset = helper.make_opsetid("", 21)
    graph = helper.make_graph([node], "cast", [x], [y])
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # others would only wait for the same disk
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _with_numpy(array: Array, dtype: np.dtype[Any]) -> Array:
    import numpy as np

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return array.astype(dtype)


def _count(before: Array, bits: NDArray[np.uint16], dtype: str, loss: Loss) -> None:
    """Adds what a piece lost; only elements out of the normal range need a closer look."""
    import numpy as np

    smallest, infinite = _NORMAL[dtype]
    place = bits & 0x7FFF
    place -= smallest  # what is below comes out on top, as unsigned numbers wrap
    odd = np.flatnonzero(place >= infinite - smallest)
    if len(odd) < len(bits):
        loss.change = max(loss.change, BY_NAME[dtype].epsilon or 0.0)
    if not len(odd):
        return
    with np.errstate(invalid="ignore"):  # what a signalling NaN is called
        exact = before[odd].astype(np.float64)
        found = bits[odd].view(numpy_dtype(dtype)).astype(np.float64)
    loss.overflowed += int(np.count_nonzero(np.isinf(found) & np.isfinite(exact)))
    loss.vanished += int(np.count_nonzero((found == 0) & (exact != 0)))
    kept = np.isfinite(found) & (found != 0)
    if kept.any():
        change = np.abs(found[kept] - exact[kept]) / np.abs(exact[kept])
        loss.change = max(loss.change, float(change.max()))
