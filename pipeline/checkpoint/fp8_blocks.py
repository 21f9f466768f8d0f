"""Weights in 8-bit floats with a scale for each block, as DeepSeek-V3 publishes them.

``X.weight`` is float8_e4m3fn [rows, columns]; ``X.weight_scale_inv`` is float32, one number for
each block of 128 x 128. The weight is their product, computed in float32, rounded to bfloat16:
https://huggingface.co/deepseek-ai/DeepSeek-V3, inference/fp8_cast_bf16.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.streams import stream_view
from ascend_migrate.pipeline.checkpoint.views import View, contiguous, materialise
from ascend_migrate.pipeline.dtypes import numpy_dtype

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 128
"""Rows, and columns, that share a scale."""

SUFFIX = "_scale_inv"
"""What the name of the scales has behind the name of the weight."""


def scales_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Returns the sizes that the scales of a weight must have."""
    rows, columns = shape
    return -(-rows // BLOCK), -(-columns // BLOCK)


def unpack_blocks(
    contents: Contents, tree: Mapping[str, Any]
) -> tuple[dict[str, Storage], dict[str, Any], int]:
    """Turns every weight that has scales beside it into a plain one.

    Args:
        contents: the file.
        tree: a state dict in it.

    Returns:
        The storages of the plain weights, the state dict without scales, and the number of weights.

    Raises:
        FormatError: the scales do not fit their weight.
    """
    storages: dict[str, Storage] = {}
    found = dict(tree)
    source = replace(contents, _mapped={}, _made={})
    for name, weight in tree.items():
        scales = tree.get(f"{name}{SUFFIX}")
        if not isinstance(scales, View) or not isinstance(weight, View):
            continue
        _check(name, weight, scales)
        key = f"unpacked:{name}"
        stream = partial(_stream, source, weight, scales)
        nbytes = 2 * math.prod(weight.shape)
        storages[key] = Storage.of_stream(nbytes, stream)
        steps = contiguous(weight.shape)
        found[name] = View(key, "bfloat16", weight.shape, steps, 0, weight.device)
        del found[f"{name}{SUFFIX}"]
    return storages, found, len(storages)


def _check(name: str, weight: View, scales: View) -> None:
    if (weight.dtype, len(weight.shape), scales.dtype) != ("float8_e4m3fn", 2, "float32"):
        raise FormatError(
            f"tensor {shown(name)} has scales beside it, but is {weight.dtype}"
            f"{list(weight.shape)} with {scales.dtype} scales, not float8_e4m3fn[rows, columns] "
            "with float32 ones"
        )
    rows, columns = weight.shape
    if scales.shape != scales_shape((rows, columns)):
        raise FormatError(
            f"tensor {shown(name)} of sizes {list(weight.shape)} has {list(scales.shape)} scales "
            f"for its blocks of {BLOCK}, not {list(scales_shape((rows, columns)))}"
        )


def _stream(contents: Contents, weight: View, scales: View) -> Iterator[memoryview]:
    factors = materialise(scales, contents.storage(scales.storage))
    return dequantised(stream_view(contents, weight), factors, weight.shape[1])


def dequantised(
    codes: Iterable[memoryview], scales: NDArray[Any], columns: int
) -> Iterator[memoryview]:
    """Yields the bytes of the bfloat16 weight, piece by piece.

    Args:
        codes: bytes of the weight, row after row, in pieces of any size.
        scales: float32, as `scales_shape`.
        columns: elements of a row.
    """
    import numpy as np

    row = 0
    for block in _stripes(codes, columns):
        factors = np.repeat(scales[row // BLOCK], BLOCK)[:columns]
        # A table of all 256 numbers is several times faster than a cast from 8-bit floats.
        plain = np.take(_numbers(), block)
        plain *= factors
        yield plain.astype(numpy_dtype("bfloat16")).reshape(-1).view(np.uint8).data
        row += len(block)


def _stripes(pieces: Iterable[memoryview], columns: int) -> Iterator[NDArray[np.uint8]]:
    """Regroups bytes into whole rows, as many at a time as lie in one piece and one block."""
    import numpy as np

    rest = bytearray()
    row = 0
    for piece in pieces:
        rest += piece
        whole = len(rest) - len(rest) % columns
        if not whole:
            continue
        rows = np.frombuffer(bytes(rest[:whole]), np.uint8)
        del rest[:whole]
        table = rows.reshape(-1, columns)
        while len(table):
            count = BLOCK - row % BLOCK
            yield table[:count]
            row += len(table[:count])
            table = table[count:]


@cache
def _numbers() -> NDArray[Any]:
    import numpy as np

    codes = np.arange(256, dtype=np.uint8)
    numbers: NDArray[Any] = codes.view(numpy_dtype("float8_e4m3fn")).astype(np.float32)
    return numbers
