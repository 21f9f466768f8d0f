"""The opcodes of a pickle program with their arguments, as ``pickletools.genops`` reads them."""

import pickletools
from io import BytesIO
from typing import Any

_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}

BINPUT, LONG_BINPUT = _CODES["BINPUT"], _CODES["LONG_BINPUT"]
BINGET, LONG_BINGET = _CODES["BINGET"], _CODES["LONG_BINGET"]
BINUNICODE, STOP = _CODES["BINUNICODE"], _CODES["STOP"]


def code(name: str) -> int:
    """Returns the byte of an opcode."""
    return _CODES[name]


def opcode_at(data: bytes, at: int) -> tuple[str, Any, int]:
    """Returns name and argument of the opcode at a place, and the place behind it.

    Raises:
        ValueError: the program is cut off, or has an opcode that does not exist.
    """
    stream = BytesIO(data)  # shares the bytes
    stream.seek(at)
    opcode, arg, _ = next(pickletools.genops(stream))
    return opcode.name, arg, stream.tell()
