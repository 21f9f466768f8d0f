"""Hostile pickle programs, written opcode by opcode, inside torch's zip and legacy files."""

import struct

from tests.hostile.case import CHECKPOINT, Case, from_bytes
from tests.hostile.words import (
    GOOD,
    HOOKS,
    LEGACY_HEAD,
    NUMEL,
    OLD_GOOD,
    REBUILD,
    beside,
    call,
    legacy,
    named,
    old_storage,
    program,
    sizes,
    storage,
    table,
    tensor,
    text,
    tup,
    whole,
    zipped,
)

_TOUCH = text("touch canary")

_CALLS = (
    *("os.system", "posix.system", "nt.system", "os.popen", "os.execv", "os.spawnl", "os.putenv"),
    *("subprocess.Popen", "subprocess.run", "subprocess.getoutput", "pty.spawn", "platform.popen"),
    *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.getattr"),
    *("builtins.__import__", "builtins.setattr", "builtins.map", "__builtin__.eval", "io.FileIO"),
    *("operator.attrgetter", "operator.methodcaller", "functools.partial", "functools.reduce"),
    *("importlib.import_module", "runpy.run_path", "runpy._run_code", "types.CodeType"),
    *("types.FunctionType", "copyreg._reconstructor", "copyreg.add_extension", "pickle.loads"),
    *("marshal.loads", "ctypes.CDLL", "code.InteractiveInterpreter.runcode", "shutil.rmtree"),
    *("socket.create_connection", "urllib.request.urlopen", "webbrowser.open", "timeit.timeit"),
    *(
        "cProfile.run",
        "pdb.run",
        "doctest.debug_script",
        "logging.config.listen",
        "pydoc.pipepager",
    ),
    *("asyncio.run", "multiprocessing.util.spawnv_passfds", "pip._internal.cli.main.main"),
    *("unittest.mock._importer", "ensurepip._run_pip", "idlelib.run.Executive", "venv.create"),
    *("torch.load", "torch.hub.load", "torch.serialization.load", "torch.storage._load_from_bytes"),
    *("torch.serialization.add_safe_globals", "torch.ops.load_library", "torch.jit.load"),
    *("torch.utils.collect_env.run", "torch._dynamo.guards.GuardBuilder.get", "numpy.load"),
    *("numpy.testing._private.utils.runstring", "numpy.f2py.crackfortran.param_eval"),
    *("collections.namedtuple", "torch.nn.Module", "numpy.memmap", "posixpath.join"),
)
"""What scanners list, what they forgot, and what only sounds harmless."""

_LOOKALIKES = (
    *(("torch._utils", "_rebuild_tensor_v2.__globals__"), ("torch._Utils", "_rebuild_tensor_v2")),
    *(("torch._utils", "_rebuild_tensor_v9"), ("torch. _utils", "_rebuild_tensor_v2")),
    *(("collections", "OrderedDict.fromkeys"), ("collections.abc", "OrderedDict")),
    *(("torch", "FloatStorage.from_buffer"), ("torch", "_utils._rebuild_tensor_v2")),
    *(("torch.serialization", "_get_layout.__class__"), ("builtins", "getattr.__call__")),
    *(("_codecs", "decode"), ("torch", "Size.__reduce__"), ("torch._utils", "")),
)


def _attribute(dotted: str) -> bytes:
    module, _, attribute = dotted.rpartition(".")
    return named(module, attribute)


def _ways() -> dict[str, bytes]:
    """Every way in which an opcode makes Python call something."""
    system = named("os", "system")
    return {
        "INST": b"(" + _TOUCH + b"ios\nsystem\n",
        "OBJ": b"(" + system + _TOUCH + b"o",
        "NEWOBJ": named("subprocess", "Popen") + tup(_TOUCH) + b"\x81",
        "NEWOBJ_EX": named("subprocess", "Popen") + tup(_TOUCH) + b"}\x92",
        "STACK_GLOBAL": text("os") + text("system") + b"\x93" + tup(_TOUCH) + b"R",
        "STACK_GLOBAL from the memo": text("os")
        + b"q\x07"
        + text("system")
        + b"h\x070h\x07"
        + text("system")
        + b"\x93"
        + tup(_TOUCH)
        + b"R",
        "a dotted STACK_GLOBAL": text("os") + text("path.os.system") + b"\x93" + tup(_TOUCH) + b"R",
        "a result that is popped": system + tup(_TOUCH) + b"R0N",
        "a name that is only pushed": system,
        "a name inside a tuple": tup(system, _TOUCH),
        "a call in a key": b"}" + call(system, _TOUCH) + b"Ns",
        "BUILD with a state": named("os", "_wrap_close")
        + b")\x81}("
        + text("_proc")
        + _TOUCH
        + b"ub",
        "BUILD on a class": named("subprocess", "Popen") + table(__setstate__=system) + b"b",
        "a call as argument of torch.Size": call(named("torch", "Size"), call(system, _TOUCH)),
        "a call as argument of OrderedDict": call(
            named("collections", "OrderedDict"), call(system, _TOUCH)
        ),
        "a defaultdict's factory": call(named("collections", "defaultdict"), system),
        "a parameter of a call": call(
            named("torch._utils", "_rebuild_parameter"), call(system, _TOUCH), b"\x89", HOOKS
        ),
        "_rebuild_from_type_v2": call(
            named("torch._tensor", "_rebuild_from_type_v2"),
            system,
            named("torch", "Tensor"),
            tup(_TOUCH),
            b"}",
        ),
        "hooks": call(
            REBUILD, storage(), whole(0), sizes(4), sizes(1), b"\x89", table(hook=system)
        ),
        "numpy's _reconstruct": call(
            named("numpy.core.multiarray", "_reconstruct"),
            named("subprocess", "Popen"),
            tup(),
            b"C\1b",
        ),
        "eval of text": call(named("builtins", "eval"), text("open('canary', 'w')")),
    }


def _tensors() -> dict[str, tuple[bytes, str]]:
    """Tensors that are none."""
    double = named("torch", "DoubleStorage")
    v3 = named("torch._utils", "_rebuild_tensor_v3")
    natural, past = "no natural number", "reaches past the end"
    return {
        "a negative stride": (tensor(stride=sizes(-1)), natural),
        "a negative offset": (tensor(offset=whole(-4)), natural),
        "a negative size": (tensor(shape=sizes(-64)), natural),
        "two negative sizes": (tensor(shape=sizes(-8, -8), stride=sizes(8, 1)), natural),
        "an offset past the end": (tensor(offset=whole(1)), past),
        "strides past the end": (tensor(shape=sizes(8, 8), stride=sizes(9, 1)), past),
        "a size past the end": (tensor(shape=sizes(65)), past),
        "sizes whose product overflows 64 bits": (
            tensor(shape=sizes(2**32, 2**32, 2**32), stride=sizes(0, 0, 0)),
            "no computer can address",
        ),
        "a size beyond 64 bits": (tensor(shape=sizes(2**70), stride=sizes(0)), "cannot be"),
        "an empty tensor with a size beyond 64 bits": (
            tensor(shape=sizes(0, 2**70), stride=sizes(1, 1)),
            "cannot be",
        ),
        "four bytes that become 4 TiB": (
            tensor(shape=sizes(2**20, 2**20), stride=sizes(0, 0)),
            "bomb",
        ),
        "one row that becomes 4 GiB": (tensor(shape=sizes(2**24, 64), stride=sizes(0, 1)), "bomb"),
        "65 axes": (tensor(shape=sizes(*[1] * 65), stride=sizes(*[1] * 65)), "65 sizes"),
        "more sizes than strides": (tensor(shape=sizes(8, 8)), "2 sizes and 1 strides"),
        "a size that is text": (tensor(shape=tup(text("64"))), natural),
        "a size that is true": (tensor(shape=tup(b"\x88")), natural),
        "a size that is a float": (tensor(shape=tup(b"G" + struct.pack(">d", 4.0))), natural),
        "sizes that are a number": (tensor(shape=whole(64)), "damaged"),
        "a stride that is none": (tensor(stride=tup(b"N")), natural),
        "no storage": (tensor(store=b"N"), "without a storage"),
        "a storage that is a tensor": (tensor(store=GOOD), "without a storage"),
        "too few arguments": (call(REBUILD, storage()), "damaged"),
        "2**61 elements": (tensor(storage(numel=whole(2**61))), "declares"),
        "2**62 elements, whose bytes are 0 modulo 2**64": (
            tensor(storage(numel=whole(2**62))),
            "declares",
        ),
        "a storage of -1 elements": (tensor(storage(numel=whole(-1))), natural),
        "a storage of half its bytes": (tensor(storage(kind=double)), "declares"),
        "a storage that is not there": (tensor(storage(key=text("9"))), "lacks the storage"),
        "a storage with a path for a name": (
            tensor(storage(key=text("../data.pkl"))),
            "lacks the storage",
        ),
        "a storage whose name is a number": (tensor(storage(key=whole(0))), "is no text"),
        "a storage of an unknown type": (
            tensor(storage(kind=named("torch", "EvilStorage"))),
            "is not supported",
        ),
        "a storage whose type is a text": (
            tensor(storage(kind=text("FloatStorage"))),
            "is not supported",
        ),
        "a reference of three parts": (
            tensor(tup(text("storage"), text("0"), text("cpu")) + b"Q"),
            "not a storage",
        ),
        "a reference that is no tuple": (tensor(text("0") + b"Q"), "not a storage"),
        "a storage view past the end": (
            tensor(
                tup(
                    *(text("storage"), named("torch", "FloatStorage"), text("0"), text("cpu")),
                    *(whole(NUMEL), tup(text("v"), whole(32), whole(64))),
                )
                + b"Q"
            ),
            "past its end",
        ),
        "an element type that is a function": (
            call(
                *(v3, storage(), whole(0), sizes(1), sizes(1), b"\x89", HOOKS),
                named("os", "system"),
            ),
            "",
        ),
        "an element type that is text": (
            call(*(v3, storage(), whole(0), sizes(1), sizes(1), b"\x89", HOOKS), text("float32")),
            "element type is none",
        ),
        "a sparse tensor whose indices are out of range": (
            call(
                named("torch._utils", "_rebuild_sparse_tensor"),
                named("torch", "sparse_coo"),
                tup(tensor(), GOOD, call(named("torch", "Size"), sizes(2))),
            ),
            "sparse",
        ),
        "a meta tensor": (
            call(
                named("torch._utils", "_rebuild_meta_tensor_no_storage"),
                *(named("torch", "float32"), sizes(2), sizes(1), b"\x89"),
            ),
            "meta",
        ),
        "a subclass of Tensor": (
            call(
                named("torch._tensor", "_rebuild_from_type_v2"),
                REBUILD,
                named("evil", "Tensor"),
                tup(storage(), whole(0), sizes(1), sizes(1), b"\x89", HOOKS),
                b"}",
            ),
            "of the class",
        ),
    }


def _programs() -> dict[str, tuple[bytes, str]]:
    """Programs that no pickler writes."""
    damaged, one = "damaged", "not one value"
    good = table(w=GOOD)
    underflow = {
        f"too few values for {what}": (zipped(program(code)), damaged)
        for what, code in {
            **{"REDUCE": b"R", "BUILD": b"b", "TUPLE3": b"N\x87", "SETITEM": b"}s", "DUP": b"2"},
            **{"APPEND": b"a", "NEWOBJ": b"\x81", "BINPUT": b"q\0", "MEMOIZE": b"\x94"},
            **{"STACK_GLOBAL": b"\x93", "POP": b"0", "SETITEMS": b"u", "TUPLE": b"t"},
            **{"POP_MARK": b"1", "OBJ": b"(o", "BINPERSID": b"Q", "a MARK as value": b"(\x85"},
        }.items()
    }
    return {
        **underflow,
        "no STOP": (zipped(program(good, b"")), damaged),
        "an empty pickle": (zipped(b""), damaged),
        "two values at the end": (zipped(program(good + b"N")), one),
        "a MARK at the end": (zipped(program(b"(")), one),
        "an unknown opcode": (zipped(program(b"\xff" + good)), damaged),
        "protocol 99": (zipped(b"\x80\x63" + good + b"."), "unknown protocol"),
        "EXT1": (zipped(program(table(w=GOOD, e=b"\x82\x01"))), "EXT1"),
        "EXT2": (zipped(program(table(w=GOOD, e=b"\x83\x01\x01"))), "EXT2"),
        "EXT4": (zipped(program(table(w=GOOD, e=b"\x84\1\1\1\1"))), "EXT4"),
        "PERSID in text": (zipped(program(table(w=GOOD, e=b"P0\n"))), "PERSID"),
        "NEXT_BUFFER": (zipped(program(table(w=GOOD, e=b"\x97"))), "NEXT_BUFFER"),
        "READONLY_BUFFER": (zipped(program(table(w=GOOD, e=b"\x98"))), "READONLY_BUFFER"),
        "a second pickle behind the first": (
            zipped(program(good) + program(call(named("os", "system"), _TOUCH))),
            "behind the end",
        ),
        "a memo entry that is missing": (zipped(program(b"h\x07")), damaged),
        "a text of 2**62 bytes": (
            zipped(program(b"\x8d" + struct.pack("<Q", 2**62))),
            damaged,
        ),
        "bytes of 2**63 bytes": (zipped(program(b"\x8e" + struct.pack("<Q", 2**63))), damaged),
        "a text of 4 GiB": (zipped(program(b"X\xff\xff\xff\xff")), damaged),
        "a number of 2 GiB": (zipped(program(b"\x8b\xff\xff\xff\x7f")), damaged),
        "a number of negative length": (zipped(program(b"\x8b\xff\xff\xff\xff")), damaged),
        "a number of 100 000 digits": (zipped(program(b"I" + b"9" * 100_000 + b"\n")), damaged),
        "a number that is none": (zipped(program(b"Iabc\n")), damaged),
        "a name with half a surrogate": (
            zipped(program(b"}(" + text("w\ud800") + GOOD + b"u")),
            "no valid text",
        ),
        "a name that is not in UTF-8": (
            zipped(program(b"}(X\2\0\0\0\xff\xfe" + GOOD + b"u")),
            damaged,
        ),
        "a string with a bad escape": (zipped(program(b"S'\\xg'\n")), damaged),
        "a string without quotes": (zipped(program(b"Stouch canary\n")), damaged),
        "a name twice in a dict": (
            zipped(program(b"}(" + text("w") + GOOD + text("w") + GOOD + b"u")),
            "twice",
        ),
        "a name twice, set one by one": (
            zipped(program(b"}" + (text("w") + GOOD + b"s") * 2)),
            "twice",
        ),
        "names that collide without their prefix": (
            zipped(program(table(**{"module.": GOOD, "module.w": GOOD}))),
            "",
        ),
        "a name that is no text": (
            zipped(program(b"}(K\1" + GOOD + text("w") + GOOD + b"u")),
            "type int",
        ),
        "a name that is None": (zipped(program(b"}(N" + GOOD + b"u")), "NoneType"),
        "a name that is a tuple": (zipped(program(b"}(" + tup(text("w")) + GOOD + b"u")), "key"),
        "a list at the top": (zipped(program(b"](" + GOOD + b"e")), "top level"),
        "a tensor at the top": (zipped(program(GOOD)), "top level"),
        "a number at the top": (zipped(program(whole(7))), "top level"),
        "no tensor at all": (zipped(program(table(x=whole(7)))), "no dict of tensors"),
        "a dict that holds itself": (
            zipped(program(b"}q\0(" + text("a") + b"h\0u")),
            "no dict of tensors",
        ),
        "a list of 2**40 paths": (
            zipped(
                program(b"]q\0" + b"".join(b"0](h%ch%ceq%c" % (n, n, n + 1) for n in range(40)))
            ),
            "top level",
        ),
        "lists 100 000 deep": (
            zipped(program(b"](" * 50_000 + b"e" * 50_000)),
            "top level",
        ),
        "tuples 100 000 deep": (zipped(program(b")" + b"\x85" * 100_000)), "top level"),
        "a key of tuples 100 000 deep": (
            zipped(program(b"}(" + b")" + b"\x85" * 100_000 + GOOD + b"u")),
            "key",
        ),
        "dicts 100 000 deep": (
            zipped(program(b"".join([b"}" + text("a")] * 50_000) + GOOD + b"s" * 50_000)),
            "no dict of tensors",
        ),
        "a whole pickled module": (
            zipped(program(named("evil", "Model") + b")\x81" + table(w=GOOD) + b"b")),
            "whole pickled",
        ),
        "a name in Cyrillic letters": (
            beside(text("t\u043erch._utils") + text("_rebuild_tensor_v2") + b"\x93" + tup() + b"R"),
            "",
        ),
        "bools that are 2": (
            zipped(
                program(
                    table(
                        w=tensor(
                            storage(text("b"), named("torch", "BoolStorage"), whole(4)),
                            shape=sizes(4),
                        )
                    )
                ),
                b=b"\0\1\2\1",
            ),
            "neither 0 nor 1",
        ),
    }


def _legacy_files() -> dict[str, tuple[bytes, str]]:
    good = legacy(table(w=OLD_GOOD))
    evil = call(named("os", "system"), _TOUCH)
    module = tup(text("module"), named("evil", "Net"), text("net.py"), text("import os"))
    past = tup(text("v"), whole(32), whole(64))
    return {
        "a call in a legacy file": (legacy(table(w=OLD_GOOD, evil=evil)), "holds Python objects"),
        "a call in the system facts": (
            good[:18] + program(evil) + good[good.index(b"\x80\x02}(") :],
            "",
        ),
        "a call beside the system facts": (
            good.replace(
                b"little_endian\x88s",
                b"little_endian\x88s" + text("x") + evil + b"s",
            ),
            "holds Python objects",
        ),
        "a call in the list of storages": (
            LEGACY_HEAD + program(table(w=OLD_GOOD)) + program(evil),
            "do not fit together",
        ),
        "a whole module with its source": (
            legacy(b"(" + module + b"Q" + table(w=OLD_GOOD) + b"t"),
            "",
        ),
        "a big-endian legacy file": (
            good.replace(b"little_endian\x88", b"little_endian\x89"),
            "big-endian",
        ),
        "an unknown protocol version": (good.replace(b"M\xe9\x03", b"M\xe8\x03"), "unknown magic"),
        "a legacy file that is cut off": (good[:-1], "cut off"),
        "bytes behind the last storage": (good + b"\0", "behind its last"),
        "a storage of another length": (legacy(table(w=OLD_GOOD), numel=63), "declares 64"),
        "a storage of a negative length": (legacy(table(w=OLD_GOOD), numel=-64), "declares 64"),
        "a storage of 2**62 elements": (
            legacy(table(w=tensor(old_storage(2**62))), numel=2**62),
            "cut off",
        ),
        "a storage that is listed twice": (
            legacy(table(w=OLD_GOOD), keys=("0", "0")),
            "do not fit together",
        ),
        "a storage that is not listed": (legacy(table(w=OLD_GOOD), keys=()), "do not fit"),
        "a view past its storage": (
            legacy(table(w=tensor(old_storage(view=past)))),
            "past its end",
        ),
        "a view that is a number": (legacy(table(w=tensor(old_storage(view=whole(7))))), "damaged"),
        "a storage declared in two ways": (
            legacy(table(w=OLD_GOOD, x=tensor(old_storage(32), shape=sizes(4)))),
            "two ways",
        ),
        "a bare pickle": (program(table(w=evil)), "bare pickle"),
        "a bare pickle of protocol 0": (b"cos\nsystem\n(S'touch canary'\ntR.", "bare pickle"),
        "a bare pickle that begins with a MARK": (
            b"(cos\nsystem\nS'touch canary'\no.",
            "bare pickle",
        ),
    }


def cases() -> list[Case]:
    """Returns all of them."""
    listed = {
        f"calls {name}": (beside(call(_attribute(name), _TOUCH)), "holds Python objects")
        for name in _CALLS
    }
    alike = {
        f"calls {module!r} {attribute!r}": (
            beside(call(named(module, attribute), _TOUCH)),
            "holds Python objects",
        )
        for module, attribute in _LOOKALIKES
    }
    ways = {f"calls by {way}": (beside(code), "") for way, code in _ways().items()}
    tensors = {
        f"a tensor with {what}": (zipped(program(table(w=GOOD, evil=code))), reason)
        for what, (code, reason) in _tensors().items()
    }
    return [
        *from_bytes("a pickle that calls a function", "evil.pt", listed, CHECKPOINT[1:]),
        *from_bytes("a name that looks like one that is allowed", "evil.pt", alike, CHECKPOINT[1:]),
        *from_bytes("an opcode that calls", "evil.pt", ways),
        *from_bytes("a tensor that is none", "evil.pt", tensors),
        *from_bytes("a program that no pickler writes", "evil.pt", _programs()),
        *from_bytes("a legacy file", "evil.pth", _legacy_files()),
    ]
