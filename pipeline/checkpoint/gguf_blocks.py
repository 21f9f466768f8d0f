"""The block formats of GGUF files, turned back into float32 exactly as ggml's own functions do.

Reference: ``dequantize_row_*`` and the block structures of ggml (ggml-quants.c, ggml-common.h). All
products are float32 and in the reference's order, so that the results are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Blocks = NDArray[np.uint8]
    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BlockType:
    """A block format.

    Attributes:
        name: ggml's spelling.
        elements: how many a block stands for.
        nbytes: size of a block.
        decode: blocks, one a row -> numbers, one block a row.
    """

    name: str
    elements: int
    nbytes: int
    decode: Callable[[Blocks], Floats]


def _half(blocks: Blocks, at: int) -> Floats:
    """Returns the float16 at byte ``at`` of each block, as a column."""
    import numpy as np

    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16).astype(np.float32)


def _q8_0(blocks: Blocks) -> Floats:
    import numpy as np

    return np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32) * _half(blocks, 0)


def _q4_0(blocks: Blocks) -> Floats:
    import numpy as np

    packed = blocks[:, 2:]
    numbers = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.int8) - np.int8(8)
    return numbers.astype(np.float32) * _half(blocks, 0)


def _q4_k(blocks: Blocks) -> Floats:
    """256 numbers in 8 groups, each with a 6-bit scale and a 6-bit minimum."""
    import numpy as np

    packed = blocks[:, 4:16]
    low, middle, high = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([low & 63, (high & 15) | ((low >> 6) << 4)], axis=1)
    minima = np.concatenate([middle & 63, (high >> 4) | ((middle >> 6) << 4)], axis=1)
    pairs = blocks[:, 16:].reshape(-1, 4, 1, 32)
    numbers = np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)
    step = (_half(blocks, 0) * scales.astype(np.float32))[:, :, None]
    floor = (_half(blocks, 2) * minima.astype(np.float32))[:, :, None]
    return (step * numbers.astype(np.float32) - floor).reshape(len(blocks), 256)


def _q6_k(blocks: Blocks) -> Floats:
    """256 numbers in 16 groups, each with an 8-bit scale; 4 low bits and 2 high bits apart."""
    import numpy as np

    packed = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 2, 4, 32)
    upper = blocks[:, 128:192].reshape(-1, 2, 1, 32)
    high = np.concatenate([(upper >> shift) & 3 for shift in (0, 2, 4, 6)], axis=2)
    numbers = (low | (high << 4)).astype(np.int8) - np.int8(32)
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    step = (_half(blocks, 208) * scales)[:, :, None]
    floats: Floats = step * numbers.reshape(-1, 16, 16).astype(np.float32)
    return floats.reshape(len(blocks), 256)


BLOCK_TYPES = {
    2: BlockType("Q4_0", 32, 18, _q4_0),
    8: BlockType("Q8_0", 32, 34, _q8_0),
    12: BlockType("Q4_K", 256, 144, _q4_k),
    14: BlockType("Q6_K", 256, 210, _q6_k),
}
"""By the number in the file (``enum ggml_type``)."""

_STEP = 4096
"""Blocks that are decoded at a time: about 1 MiB of numbers, which stays in the cache."""


def decode(kind: BlockType, data: memoryview) -> memoryview:
    """Returns the float32 numbers that the blocks in ``data`` stand for."""
    import numpy as np

    blocks = np.frombuffer(data, np.uint8).reshape(-1, kind.nbytes)
    out = np.empty((len(blocks), kind.elements), np.float32)
    with np.errstate(all="ignore"):  # a scale may be Inf or NaN, as in the reference
        for at in range(0, len(blocks), _STEP):
            out[at : at + _STEP] = kind.decode(blocks[at : at + _STEP])
    return out.reshape(-1).view(np.uint8).data
