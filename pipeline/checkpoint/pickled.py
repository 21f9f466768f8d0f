"""Pickle programs run as data: a small machine that builds trees and can call nothing.

``pickle`` resolves names to functions and calls them, which is how a checkpoint takes over a
process. This machine knows the opcodes and a table of names that build tensor descriptions.
Everything else becomes an `Inert` object, so nothing outside this package is ever imported or
called, however the program is written. A file that wants a function called, or that names anything
of Python's own library, is refused all the same; instances of other classes are left out.

Opcodes: CPython's Lib/pickletools.py. Names: torch/_utils.py and torch/storage.py.
"""

import pickle
import struct
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

from ascend_migrate.pipeline.checkpoint import pickle_opcodes as ops
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.torch_names import Global, Inert, resolve

_MAX_OPCODES = 8_000_000
"""About 40 opcodes describe a tensor: room for 200 000 tensors, twice the largest public model."""

_MAX_FOREIGN = 1000
"""Foreign names that are listed; whole pickled modules have some dozens."""

_MARK = object()


class Machine:
    """Runs one pickle program.

    Args:
        persistent: turns a persistent id into a value.

    Attributes:
        foreign: names that the program wants called, and suspicious ones, as they appear.
        classes: names of classes of which the program makes instances.
    """

    def __init__(self, persistent: Callable[[Any], Any] | None = None) -> None:
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.foreign: dict[str, None] = {}
        self.classes: dict[str, None] = {}

    def run(self, stream: BytesIO) -> Any:
        """Runs the program at the stream's position and leaves the stream behind it.

        Raises:
            FormatError: too long, or an opcode that no checkpoint has.
            ValueError, LookupError, TypeError: damaged.
        """
        self._stack, self._memo = [], {}
        stream.seek(self._steps(stream.getvalue(), stream.tell()))
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise FormatError("its pickle ends with a stack that is not one value; damaged")
        return self._stack[0]

    def _steps(self, data: bytes, at: int) -> int:
        """Carries out the opcodes from ``at`` on, and returns the place behind STOP.

        A checkpoint of thousands of small tensors is mostly pickle, and most of that is a dozen
        opcodes: calling a function for each of them would cost more than all the rest.
        """
        stack, memo = self._stack, self._memo
        for _ in range(_MAX_OPCODES):
            code = data[at]
            at += 1
            if code == ops.LONG_BINPUT:
                memo[_UNSIGNED(data, at)[0]] = stack[-1]
                at += 4
            elif code == ops.BINGET:
                stack.append(memo[data[at]])
                at += 1
            elif code in _VALUES:
                stack.append(_VALUES[code])
            elif code in _BUILD:
                _BUILD[code](self)
            elif code in _NUMBERS:
                width, number = _NUMBERS[code]
                stack.append(number(data, at)[0])
                at += width
            elif code == ops.BINUNICODE:
                start = at + 4
                at = start + _UNSIGNED(data, at)[0]
                if at > len(data):
                    raise ValueError("its pickle ends inside a text")
                stack.append(data[start:at].decode("utf-8", "surrogatepass"))
            elif code == ops.BINPUT:
                memo[data[at]] = stack[-1]
                at += 1
            elif code == ops.LONG_BINGET:
                stack.append(memo[_UNSIGNED(data, at)[0]])
                at += 4
            elif code == ops.STOP:
                return at
            else:
                name, arg, at = ops.opcode_at(data, at - 1)
                self._other(name, arg)
        raise FormatError(f"its pickle has more than {_MAX_OPCODES} opcodes; refused")

    def _other(self, name: str, arg: Any) -> None:
        if name == "PUT":
            self._memo[arg] = self._stack[-1]
        elif name == "GET":
            self._stack.append(self._memo[arg])
        elif name in _PUSH:
            self._stack.append(arg)
        elif name in ("GLOBAL", "INST"):
            module, _, attribute = arg.partition(" ")
            if name == "INST":
                self._items()
                self._stack.append(self._called(self._named(module, attribute)))
            else:
                self._stack.append(self._named(module, attribute))
        elif name == "PROTO":
            if arg > pickle.HIGHEST_PROTOCOL:
                raise FormatError(f"its pickle is of the unknown protocol {arg}; damaged")
        elif name != "FRAME":
            raise FormatError(
                f"its pickle uses the opcode {name}, which no checkpoint has; refused"
            )

    def _named(self, module: str, attribute: str) -> Global:
        found = Global(f"{module}.{attribute}", resolve(module, attribute))
        if found.call is None and module.partition(".")[0] in _OWN_LIBRARY:
            self._report(self.foreign, found)
        return found

    def _called(self, call: Any) -> Inert:
        if isinstance(call, Global) and call.call is None:
            self._report(self.foreign, call)
        return Inert(call.name if isinstance(call, Global) else "object")

    def _instance(self, made: Any) -> Inert:
        if isinstance(made, Global) and made.call is None:
            self._report(self.classes, made)
        return Inert(made.name if isinstance(made, Global) else "object")

    def _report(self, where: dict[str, None], found: Global) -> None:
        if len(where) < _MAX_FOREIGN:
            where[found.name] = None

    def _items(self) -> list[Any]:
        """Takes everything above the topmost mark, and the mark."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark on the stack")
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise IndexError("a mark where a value belongs")
        return value

    def _collect(self, make: Callable[[list[Any]], Any]) -> None:
        self._stack.append(make(self._items()))

    def _tuple(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) < count or _MARK in items:
            raise IndexError("a mark, or nothing, where a value belongs")
        self._stack[-count:] = [tuple(items)]

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise TypeError("items added to what is no list")

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            found = pairs(items)
            for key in found:
                if key in target:
                    raise FormatError(f"the name {shown(key)} occurs twice in one dict; refused")
            target.update(found)
        elif not isinstance(target, Inert):
            raise TypeError("entries set on what is no dict")

    def _reduce(self) -> None:
        args, call = self._pop(), self._pop()
        if isinstance(call, Global) and isinstance(args, tuple) and call.call is not None:
            self._stack.append(call.call(args))
        else:
            self._stack.append(self._called(call))

    def _state(self) -> None:
        state, target = self._pop(), self._stack[-1]
        if isinstance(target, Inert):
            target.state = state

    def _new(self, extra: int) -> None:
        for _ in range(extra):
            self._pop()
        self._stack.append(self._instance(self._pop()))

    def _object(self) -> None:
        self._stack.append(self._called(self._items()[0]))

    def _stack_global(self) -> None:
        attribute, module = self._pop(), self._pop()
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise TypeError("a global that is not named by text")
        self._stack.append(self._named(module, attribute))

    def _persist(self) -> None:
        if self._persistent is None:
            raise FormatError("its pickle refers to storages where there are none; damaged")
        self._stack.append(self._persistent(self._pop()))

    def _append(self) -> None:
        self._extend([self._pop()])

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _discard(self) -> None:
        self._stack.pop()


def pairs(items: list[Any]) -> dict[Any, Any]:
    """Returns alternating keys and values as a dict.

    Raises:
        FormatError: a key occurs twice among them.
        ValueError: an odd number of items.
    """
    found: dict[Any, Any] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing nested tuples recurses in C without a limit: only scalars are used as keys, and
        # objects, which are hashed by identity.
        plain = key if key is None or isinstance(key, _KEYS) else Inert("key")
        if plain in found:
            raise FormatError(f"the name {shown(plain)} occurs twice in one dict; refused")
        found[plain] = value
    return found


def foreign_refusal(root: Any, machine: Machine) -> str:
    """Returns why a file with Python objects in it is refused, or an empty text."""
    strange = {**machine.foreign, **machine.classes}
    unknown = isinstance(root, Global) and root.call is None
    if unknown or (isinstance(root, Inert) and root.name in strange):
        return (
            f"is a whole pickled {shown(root.name)[1:-1]} object, and only its class's code could "
            "open it; load it once where you trust it and the class lives, then save "
            "model.state_dict() and migrate that file, or let --trust-pickle run it, confined"
        )
    if not machine.foreign:
        return ""
    names = list(machine.foreign)
    listed = ", ".join(shown(name)[1:-1] for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004
    return (
        f"holds Python objects, not only tensors: {listed}{more}; save a file that holds only "
        "model.state_dict() where you trust this one, or let --trust-pickle run it, confined"
    )


_OWN_LIBRARY = sys.stdlib_module_names | {"__builtin__", "posix", "nt", "pip"}
"""Packages that are on every computer, so that a hostile file can count on them."""

_KEYS = (str, int, float, bytes, Inert)
_UNSIGNED = struct.Struct("<I").unpack_from
_NUMBERS = {
    ops.code("BININT1"): (1, struct.Struct("B").unpack_from),
    ops.code("BININT2"): (2, struct.Struct("<H").unpack_from),
    ops.code("BININT"): (4, struct.Struct("<i").unpack_from),
}
"""By opcode: the bytes of its number, and what reads them."""

_VALUES = {
    ops.code(name): value
    for name, value in (
        ("MARK", _MARK),
        ("NONE", None),
        ("NEWTRUE", True),
        ("NEWFALSE", False),
        ("EMPTY_TUPLE", ()),
    )
}
_PUSH = frozenset(
    (
        *("INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_STEPS: dict[str, Callable[[Machine], None]] = {
    "POP": Machine._discard,
    "POP_MARK": lambda m: m._items().clear(),
    "DUP": lambda m: m._stack.append(m._stack[-1]),
    "MEMOIZE": Machine._memoize,
    "EMPTY_LIST": lambda m: m._stack.append([]),
    "EMPTY_SET": lambda m: m._stack.append([]),
    "EMPTY_DICT": lambda m: m._stack.append({}),
    "LIST": lambda m: m._collect(list),
    "FROZENSET": lambda m: m._collect(list),
    "TUPLE": lambda m: m._collect(tuple),
    "DICT": lambda m: m._collect(pairs),
    "TUPLE1": lambda m: m._tuple(1),
    "TUPLE2": lambda m: m._tuple(2),
    "TUPLE3": lambda m: m._tuple(3),
    "APPEND": Machine._append,
    "APPENDS": lambda m: m._extend(m._items()),
    "ADDITEMS": lambda m: m._extend(m._items()),
    "SETITEM": Machine._set_item,
    "SETITEMS": lambda m: m._update(m._items()),
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "BUILD": Machine._state,
    "NEWOBJ": lambda m: m._new(1),
    "NEWOBJ_EX": lambda m: m._new(2),
    "OBJ": Machine._object,
    "BINPERSID": Machine._persist,
}
_BUILD = {ops.code(name): step for name, step in _STEPS.items()}
