"""TorchScript archives and exported programs that bring code along, or lie about their weights."""

import io
import json
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from tests.checkpoint.archives import pack, unpack
from tests.hostile.case import Case, from_bytes
from tests.hostile.words import beside, call, named, program, text, tup
from torch import nn

jit: Any = torch.jit

Records = dict[str, bytes]
EVIL = program(call(named("os", "system"), text("touch canary")))
TABLE = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


@cache
def _records(kind: str) -> tuple[tuple[str, bytes], ...]:
    """The records of a good archive."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        if kind == "script":
            jit.save(jit.script(nn.Linear(2, 2)), buffer)
        else:
            torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), buffer)
    buffer.seek(0)
    return tuple(unpack(buffer).items())


def _of(kind: str, change: Callable[[Records], object]) -> Callable[[], bytes]:
    def write() -> bytes:
        records = dict(_records(kind))
        top = next(iter(records)).partition("/")[0]
        bare = {name.removeprefix(f"{top}/"): data for name, data in records.items()}
        change(bare)
        return pack({f"{top}/{name}": data for name, data in bare.items()})

    return write


def _put(name: str, data: bytes) -> Callable[[Records], object]:
    return lambda records: records.update({name: data})


def _json(name: str, change: Callable[[Any], Any]) -> Callable[[Records], object]:
    """Changes a table of JSON; a new one takes its place if one is returned."""

    def apply(records: Records) -> None:
        found = json.loads(records[name])
        records[name] = json.dumps(change(found) or found).encode()

    return apply


def _weight(**fields: Any) -> Callable[[Records], object]:
    return _json(TABLE, lambda t: t["config"]["weight"].update(fields))


def _meta(**fields: Any) -> Callable[[Records], object]:
    return _json(TABLE, lambda t: t["config"]["weight"]["tensor_meta"].update(fields))


def _number(value: Any) -> dict[str, Any]:
    return {"as_int": value}


def _exported() -> dict[str, tuple[Callable[[Records], object], str]]:
    natural, damaged = "no natural number", "damaged"
    whole = json.dumps({"config": {}}).encode()

    def old(records: Records) -> None:
        records.clear()
        records.update(
            {
                "serialized_exported_program.json": b"{}",
                "serialized_state_dict.pt": beside(
                    call(named("os", "system"), text("touch canary"))
                ),
                "serialized_constants.pt": beside(b"N"),
            }
        )

    return {
        "weights kept as a pickle": (_weight(use_pickle=True), "kept as a pickle"),
        "weights kept as perhaps a pickle": (_weight(use_pickle="no"), "kept as a pickle"),
        "weights of torch before 2.8 that call": (old, "holds Python objects"),
        "a record above the folder": (_weight(path_name="../../canary"), "lacks the record"),
        "an absolute record": (_weight(path_name="/etc/hostname"), "lacks the record"),
        "a record that is missing": (_weight(path_name="weight_9"), "lacks the record"),
        "a record whose name is a number": (_weight(path_name=7), "names no record"),
        "a size of -1": (_meta(sizes=[_number(-1), _number(2)]), natural),
        "a size that is true": (_meta(sizes=[_number(True), _number(2)]), natural),
        "a size that is text": (_meta(sizes=[_number("2"), _number(2)]), natural),
        "a size that is symbolic": (_meta(sizes=[{"as_expr": "x"}, _number(2)]), natural),
        "sizes that are a number": (_meta(sizes=7), damaged),
        "a size past the end": (_meta(sizes=[_number(3), _number(2)]), "reaches byte"),
        "sizes of 2**62": (_meta(sizes=[_number(2**62)] * 2, strides=[_number(0)] * 2), ""),
        "four bytes that become 4 TiB": (
            _meta(sizes=[_number(2**20)] * 2, strides=[_number(0)] * 2),
            "bomb",
        ),
        "a negative stride": (_meta(strides=[_number(-2), _number(1)]), natural),
        "a negative offset": (_meta(storage_offset=_number(-1)), natural),
        "an offset past the end": (_meta(storage_offset=_number(2**40)), "reaches byte"),
        "an element type of the future": (_meta(dtype=99), "element type or layout"),
        "an element type that is text": (_meta(dtype="7"), "element type or layout"),
        "an element type that is a list": (_meta(dtype=[7]), damaged),
        "a sparse layout": (_meta(layout=1), "element type or layout"),
        "no description": (_weight(tensor_meta=None), "does not describe"),
        "a description that is a list": (_weight(tensor_meta=[]), damaged),
        "a description without a device": (
            _json(TABLE, lambda t: t["config"]["weight"]["tensor_meta"].pop("device") and t),
            damaged,
        ),
        "a table that is a list": (_put(TABLE, b"[]"), "table of weights"),
        "a table of numbers": (_put(TABLE, b'{"config": {"w": 7}}'), "table of weights"),
        "a table that is cut off": (_put(TABLE, b'{"config": {'), damaged),
        "a table that is a pickle": (_put(TABLE, EVIL), damaged),
        "a table of 100 000 levels": (_put(TABLE, b'{"config":' * 100_000), damaged),
        "a table with a name twice": (
            _put(TABLE, b'{"config": {"w": {}, "w": {}}}'),
            "twice",
        ),
        "a table above the limit": (_put(TABLE, whole + b" " * (1 << 26)), "declares an index"),
        "no table": (lambda r: r.pop(TABLE), "without a table"),
        "a name that is a weight and a constant": (
            lambda r: r.update({CONSTANTS: r[TABLE]}),
            "a weight and a constant",
        ),
        "constants that are cut off": (_put(CONSTANTS, b"{"), damaged),
        "a record that is cut off": (
            _put("data/weights/weight_0", b"abc"),
            "reaches byte",
        ),
        "a big-endian program": (_put("byteorder", b"big"), "big-endian"),
    }


def _opaque(records: Records) -> None:
    """A constant that torch.export.load unpickles, and then goes on as if nothing had been."""
    entry = {
        "path_name": "opaque_obj_0",
        "is_param": False,
        "use_pickle": True,
        "tensor_meta": None,
    }
    records["data/constants/opaque_obj_0"] = EVIL
    records[CONSTANTS] = json.dumps({"config": {"evil": entry}}).encode()


def _scripts() -> dict[str, tuple[Callable[[Records], object], str]]:
    tensor_list = call(named("torch.jit._pickle", "build_tensorlist"), tup(b"N"))

    def with_code(data: bytes) -> Callable[[Records], object]:
        # torch gives a class that it has scripted before another name.
        return lambda records: records.update(
            {name: data for name in records if name.startswith("code/") and name.endswith(".py")}
        )

    def without_code(records: Records) -> None:
        for name in [name for name in records if name.startswith("code/")]:
            del records[name]

    def cyclic() -> bytes:
        module = named("__torch__.torch.nn.modules.linear", "Linear") + b")\x81q\0"
        return program(module + b"}(" + text("again") + b"h\0ub")

    def wide() -> bytes:
        """A tree of 2**40 modules."""
        kind = named("__torch__.torch.nn.modules.linear", "Linear")
        levels = b"".join(
            b"0" + kind + b")\x81}(" + text("a") + b"h%c" % n + text("b") + b"h%cubq%c" % (n, n + 1)
            for n in range(40)
        )
        return program(b"Nq\0" + levels)

    return {
        "a call in its pickle": (_put("data.pkl", EVIL), "holds Python objects"),
        "a call beside its weights": (
            lambda r: r.update({"data.pkl": r["data.pkl"][:-1] + b"0" + EVIL[2:]}),
            "holds Python objects",
        ),
        "no pickle": (lambda r: r.pop("data.pkl"), "of another layout"),
        "a pickle that is cut off": (
            lambda r: r.update({"data.pkl": r["data.pkl"][:-20]}),
            "damaged",
        ),
        "a pickle of a number": (_put("data.pkl", program(b"K\1")), "no module"),
        "a pickle of a list of tensors": (_put("data.pkl", program(tensor_list)), "no module"),
        "no program": (without_code, ""),
        "no declaration": (with_code(b""), "lacks the declaration"),
        "a program that is not in UTF-8": (with_code(b"\xff\xfe"), "damaged"),
        "a program of blanks": (with_code(b"class Linear(Module):\n" + b"  \n" * 100_000), ""),
        "a program of brackets": (
            with_code(b"class Linear(Module):\n  __parameters__ = [" + b'"' * 100_000),
            "",
        ),
        "a module in itself": (_put("data.pkl", cyclic()), "without end"),
        "a tree of 2**40 modules": (_put("data.pkl", wide()), "without end"),
    }


def cases() -> list[Case]:
    """Returns all of them."""
    exported = {f"pt2: {k}": (_of("export", c), reason) for k, (c, reason) in _exported().items()}
    scripts = {f"script: {k}": (_of("script", c), reason) for k, (c, reason) in _scripts().items()}
    return [
        *from_bytes("exported programs", "evil.pt2", exported),
        *from_bytes("TorchScript archives", "evil.pt", scripts),
    ]
