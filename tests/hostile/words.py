"""Words to write hostile pickles with, and torch's two kinds of files around them."""

import struct
import zlib

NUMEL = 64
"""Elements of the storages 0 and 1, which are float32."""


def text(value: str) -> bytes:
    spelled = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(spelled)) + spelled


def whole(value: int) -> bytes:
    size = (value.bit_length() + 8) // 8
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def named(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tup(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *args: bytes) -> bytes:
    return function + tup(*args) + b"R"


def table(**entries: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def storage(
    key: bytes = text("0"),
    kind: bytes = named("torch", "FloatStorage"),
    numel: bytes = whole(NUMEL),
    where: bytes = text("cpu"),
) -> bytes:
    return tup(text("storage"), kind, key, where, numel) + b"Q"


def sizes(*numbers: int) -> bytes:
    return tup(*map(whole, numbers))


REBUILD = named("torch._utils", "_rebuild_tensor_v2")
HOOKS = call(named("collections", "OrderedDict"))


def tensor(
    store: bytes = storage(),
    offset: bytes = whole(0),
    shape: bytes = sizes(NUMEL),
    stride: bytes = sizes(1),
    *more: bytes,
) -> bytes:
    return call(REBUILD, store, offset, shape, stride, b"\x89", HOOKS, *more)


def program(body: bytes, end: bytes = b".") -> bytes:
    return b"\x80\x02" + body + end


def zipped(pickle: bytes, **records: bytes) -> bytes:
    """Packs a torch file; further records lie in ``data/``."""
    entries = {"archive/data.pkl": pickle, "archive/byteorder": b"little"}
    entries |= {f"archive/data/{n}": bytes(4 * NUMEL) for n in "01"}
    entries |= {f"archive/data/{n}": data for n, data in records.items()}
    entries["archive/version"] = b"3\n"
    return raw_zip(entries)


def raw_zip(entries: dict[str, bytes]) -> bytes:
    body, directory = b"", b""
    for name, data in entries.items():
        spelled, size = name.encode(), len(data)
        facts = struct.pack("<5H3I2H", 20, 0, 0, 0, 33, zlib.crc32(data), size, size, len(name), 0)
        directory += b"PK\1\2\x14\0" + facts + struct.pack("<3H2I", 0, 0, 0, 0, len(body)) + spelled
        body += b"PK\3\4" + facts + spelled + data
    count = len(entries)
    end = struct.pack("<4H2IH", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + b"PK\5\6" + end


LEGACY_HEAD = (
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}U\rlittle_endian\x88s."
)


def legacy(
    body: bytes, keys: tuple[str, ...] = ("0",), numel: int = NUMEL, data: bytes = bytes(4 * NUMEL)
) -> bytes:
    listed = program(b"](" + b"".join(map(text, keys)) + b"e")
    stored = b"".join(struct.pack("<q", numel) + data for _ in keys)
    return LEGACY_HEAD + program(body) + listed + stored


def old_storage(numel: int = NUMEL, view: bytes = b"N") -> bytes:
    """A persistent id of legacy files, which has a sixth part."""
    kind = named("torch", "FloatStorage")
    return tup(text("storage"), kind, text("0"), text("cpu"), whole(numel), view) + b"Q"


GOOD = tensor()
OLD_GOOD = tensor(old_storage())


def beside(evil: bytes) -> bytes:
    """A good tensor, so that nothing but the evil is a reason to refuse the file."""
    return zipped(program(table(w=GOOD, evil=evil)))
