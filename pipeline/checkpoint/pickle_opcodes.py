"""The opcodes of a pickle program with their arguments, as ``pickletools.genops`` reads them.

The opcodes that checkpoints are made of are read here, at a third of the time: a checkpoint of
thousands of small tensors is mostly pickle. All others are left to pickletools.
"""

import pickletools
from collections.abc import Iterator
from io import BytesIO
from typing import Any

_NUMBERS = {"BININT": 4, "BININT1": 1, "BININT2": 2, "BINPUT": 1, "LONG_BINPUT": 4}
_NUMBERS |= {"BINGET": 1, "LONG_BINGET": 4}
_TEXTS = {"SHORT_BINUNICODE": 1, "BINUNICODE": 4}
_FAMILIAR = {
    ord(opcode.code): (opcode.name, width, opcode.name in _TEXTS, opcode.name == "BININT")
    for opcode in pickletools.opcodes
    if (width := (_NUMBERS | _TEXTS).get(opcode.name, 0)) or opcode.arg is None
}
"""By opcode: its name, the bytes of its number, whether that is the length of a text, the sign."""


def opcodes(stream: BytesIO) -> Iterator[tuple[str, Any]]:
    """Yields name and argument of each opcode up to STOP, and leaves the stream behind that.

    Raises:
        ValueError: the program is cut off, or has an opcode that does not exist.
    """
    data, at, name = stream.getvalue(), stream.tell(), ""
    size = len(data)
    while name != "STOP":
        familiar = _FAMILIAR.get(data[at]) if at < size else None
        arg: Any = None
        if familiar is None:
            stream.seek(at)
            opcode, arg, _ = next(pickletools.genops(stream))
            name, at = opcode.name, stream.tell()
        else:
            name, width, text, signed = familiar
            start = at + 1 + width
            if start > size:
                raise ValueError(f"its pickle ends inside {name}")
            if width == 1:
                arg = data[at + 1]
            elif width:
                arg = int.from_bytes(data[at + 1 : start], "little", signed=signed)
            at = start
            if text:
                at += arg
                if at > size:
                    raise ValueError(f"its pickle ends inside {name}")
                arg = data[start:at].decode("utf-8", "surrogatepass")
        if name == "STOP":
            stream.seek(at)
        yield name, arg
