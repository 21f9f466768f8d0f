"""The wire format of protobuf, for messages that are too large to be built or parsed as a whole.

A parsed message holds its own copy of every byte, and so does a serialised one. With where its
fields begin and end, large ones can be written from where they lie, and mapped where they are.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

Buffer = bytes | memoryview | mmap

_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of the values of the other wire types in use."""


class Field(NamedTuple):
    """One field of a message, as positions in the buffer.

    Attributes:
        number: as in the .proto file.
        start: of its key.
        content: of what it holds.
        end: of what it holds.
    """

    number: int
    start: int
    content: int
    end: int


def fields(data: Buffer, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """Walks the fields of the message in ``data[start:end]``; what they hold is not read.

    Raises:
        ValueError: it is no message, or cut short.
    """
    end = len(data) if end is None else end
    while start < end:
        key, content = _read_varint(data, start, end)
        wire = key & 7
        if wire == _VARINT:
            _, stop = _read_varint(data, content, end)
        elif wire == _LENGTH_DELIMITED:
            length, content = _read_varint(data, content, end)
            stop = content + length
        elif wire in _FIXED:
            stop = content + _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire} is not in use")
        if stop > end:
            raise ValueError("a field is longer than its message")
        yield Field(key >> 3, start, content, stop)
        start = stop


def opening(number: int, length: int) -> bytes:
    """Returns what stands before the ``length`` bytes of a message, a text or a run of bytes."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _read_varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """Returns a number and the position behind it."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= end:
            raise ValueError("the message ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at
    raise ValueError("a number has more than ten bytes")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - the continuation bit
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
