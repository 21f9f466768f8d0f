"""The opcodes of a pickle program with their arguments, as ``pickletools.genops`` reads them.

The opcodes that checkpoints are made of are read here, at a third of the time: a checkpoint of
thousands of small tensors is mostly pickle. All others are left to pickletools.
"""

import pickletools
from collections.abc import Iterator
from io import BytesIO
from typing import Any

_CODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_BARE = {code: opcode.name for code, opcode in _CODES.items() if opcode.arg is None}
_NUMBERS = {"BININT": 4, "BININT1": 1, "BININT2": 2, "BINPUT": 1, "LONG_BINPUT": 4}
_NUMBERS |= {"BINGET": 1, "LONG_BINGET": 4}
_TEXTS = {"SHORT_BINUNICODE": 1, "BINUNICODE": 4}
_WIDTHS = {
    code: (opcode.name, width, opcode.name in _TEXTS, opcode.name == "BININT")
    for code, opcode in _CODES.items()
    if (width := (_NUMBERS | _TEXTS).get(opcode.name))
}
"""By opcode: its name, the bytes of its number, whether that is the length of a text, the sign."""


def opcodes(stream: BytesIO) -> Iterator[tuple[str, Any]]:
    """Yields name and argument of each opcode up to STOP, and leaves the stream behind that.

    Raises:
        ValueError: the program is cut off, or has an opcode that does not exist.
    """
    data, at, name = stream.getvalue(), stream.tell(), ""
    while name != "STOP":
        code = data[at] if at < len(data) else -1
        arg: Any = None
        if code in _WIDTHS:
            name, width, text, signed = _WIDTHS[code]
            start = at + 1 + width
            arg = int.from_bytes(data[at + 1 : start], "little", signed=signed)
            at = start + arg if text else start
            if at > len(data):
                raise ValueError(f"its pickle ends inside {name}")
            if text:
                arg = data[start:at].decode("utf-8", "surrogatepass")
        elif code in _BARE:
            name = _BARE[code]
            at += 1
        else:
            stream.seek(at)
            opcode, arg, _ = next(pickletools.genops(stream))
            name, at = opcode.name, stream.tell()
        if name == "STOP":
            stream.seek(at)
        yield name, arg
