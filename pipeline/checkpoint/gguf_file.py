"""GGUF files: plain tensors as they are, quantised ones dequantised to float32, and that is said.

Format: docs/gguf.md of ggml. Sizes are listed with the fastest axis first, the reverse of ours.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.formats import reader
from ascend_migrate.pipeline.checkpoint.gguf_blocks import BLOCK_TYPES, BlockType, decode
from ascend_migrate.pipeline.checkpoint.mapped import PIECE, forget, map_file
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View, contiguous
from ascend_migrate.pipeline.dtypes import BY_NAME

_VERSIONS = (2, 3)
_MAX_DIMS = 4
_MAX_ENTRIES = 4_000_000
"""Tensors, metadata entries and texts in them: vocabularies with their merges have 850 000."""

_PLAIN = {
    0: "float32",
    1: "float16",
    24: "int8",
    25: "int16",
    26: "int32",
    27: "int64",
    28: "float64",
    30: "bfloat16",
}
_OTHER = {
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    13: "Q5_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
}

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q"}
_SCALARS |= {11: "<q", 12: "<d"}
_UINT32, _STRING, _ARRAY = 4, 8, 9


class _Cursor:
    """Reads one thing after the other, never past the end."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self.at = data, at
        self._entries = 0

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        size = self.number("<Q")
        if size > len(self._data) - self.at:
            raise FormatError("has a text that reaches past its end; damaged")
        self.at += size
        return bytes(self._data[self.at - size : self.at]).decode("utf-8")

    def count(self) -> int:
        return self.counted(int(self.number("<Q")))

    def counted(self, value: int) -> int:
        self._entries += value
        if self._entries > _MAX_ENTRIES:
            raise FormatError(f"declares more than {_MAX_ENTRIES} entries; refused")
        return value

    def value(self, kind: int) -> Any:
        """Reads a value of metadata; arrays are passed over."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise FormatError(f"has metadata of the unknown type {kind}; damaged")
        inner, length = self.number("<I"), int(self.number("<Q"))
        if inner == _ARRAY:
            raise FormatError("nests arrays in its metadata; refused")
        if inner in _SCALARS:
            self.at += length * struct.calcsize(_SCALARS[inner])
            if self.at > len(self._data):
                raise FormatError("has an array that reaches past its end; damaged")
        else:
            for _ in range(self.counted(length)):
                self.value(inner)
        return None


@reader("gguf", lambda head: head.startswith(b"GGUF"))
def read(path: Path) -> Contents:
    """Opens a GGUF file.

    Raises:
        FormatError: damaged, or of another version or byte order.
    """
    data = map_file(path)
    cursor = _Cursor(data, 4)
    version = cursor.number("<I")
    if version not in _VERSIONS:
        raise FormatError(
            f"is a GGUF file of version {version}, or big-endian; known: 2 and 3, little-endian"
        )
    tensors, entries = cursor.count(), cursor.count()
    alignment = _alignment(cursor, entries)
    listed = [_entry(cursor) for _ in range(tensors)]
    body = data[cursor.at + -cursor.at % alignment :]
    root: dict[str, View | Unsupported] = {}
    storages: dict[str, Storage] = {}
    decoded: Counter[str] = Counter()
    end = 0
    for name, shape, kind, offset in sorted(listed, key=lambda entry: entry[3]):
        if name in root:
            raise FormatError(f"holds the tensor {shown(name)} twice; refused")
        if kind not in _PLAIN and kind not in BLOCK_TYPES:
            root[name] = Unsupported(
                f"is quantised as {_OTHER.get(kind, kind)}, which is not read; get the file in "
                f"F16, BF16 or {', '.join(b.name for b in BLOCK_TYPES.values())}"
            )
            continue
        size = _nbytes(name, shape, kind)
        if offset < end or offset % alignment or offset + size > len(body):
            raise FormatError(
                f"tensor {shown(name)} overlaps another, is misplaced, or is cut off; damaged"
            )
        end = offset + size
        raw = body[offset:end]
        if block := BLOCK_TYPES.get(kind):
            decoded[block.name] += 1
            root[name] = View(name, "float32", shape, contiguous(shape), 0)
            load, stream = partial(decode, block, raw), partial(_decoded, block, raw)
            storages[name] = Storage(4 * math.prod(shape), load, made=True, stream=stream)
        else:
            root[name] = View(name, _PLAIN[kind], shape, contiguous(shape), 0)
            storages[name] = _mapped(raw)
    order = {name: root[name] for name, *_ in listed}
    notes = [f"{n} tensors were dequantised from {kind} to float32" for kind, n in decoded.items()]
    return Contents("gguf", order, storages, "", tuple(notes))


def _decoded(block: BlockType, raw: memoryview) -> Iterator[memoryview]:
    step = max(PIECE // (4 * block.elements), 1) * block.nbytes
    for at in range(0, len(raw), step):
        yield decode(block, raw[at : at + step])
        forget(raw[at : at + step])


def _alignment(cursor: _Cursor, entries: int) -> int:
    found = 32
    seen: set[str] = set()
    for _ in range(entries):
        key, kind = cursor.text(), cursor.number("<I")
        if key in seen:
            raise FormatError(f"has the metadata {shown(key)} twice; refused")
        seen.add(key)
        value = cursor.value(kind)
        if key == "general.alignment":
            if kind != _UINT32 or value == 0 or value % 8 or value > 1 << 20:
                raise FormatError(f"declares the alignment {shown(value)}; damaged")
            found = value
    return found


def _entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, rank = cursor.text(), cursor.number("<I")
    if rank > _MAX_DIMS:
        raise FormatError(f"tensor {shown(name)} has {rank} axes; the format ends at {_MAX_DIMS}")
    sizes = [cursor.number("<Q") for _ in range(rank)]
    return name, tuple(reversed(sizes)), cursor.number("<I"), cursor.number("<Q")


def _nbytes(name: str, shape: tuple[int, ...], kind: int) -> int:
    block: BlockType | None = BLOCK_TYPES.get(kind)
    if block is None:
        return math.prod(shape) * BY_NAME[_PLAIN[kind]].itemsize
    if not shape or shape[-1] % block.elements:
        raise FormatError(
            f"tensor {shown(name)} has rows that are no whole number of {block.name} blocks"
        )
    return math.prod(shape) // block.elements * block.nbytes


def _mapped(data: memoryview) -> Storage:
    return Storage(len(data), lambda: data)
