"""``torch.save`` files before torch 0.1.10: a tar archive of pickles, sizes and raw storages.

Layout (torch/serialization.py, ``legacy_load``): ``storages`` has, for each storage, a pickle
``(key, device, type)``, an int64 count and the elements, and at the end a list of storages that
are parts of others; ``tensors`` has, for each tensor, a pickle ``(key, storage, type)``, its rank,
sizes, strides and offset; ``pickle`` refers to tensors by their keys.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE, reader
from ascend_migrate.pipeline.checkpoint.mapped import map_file
from ascend_migrate.pipeline.checkpoint.pickled import Machine, foreign_refusal
from ascend_migrate.pipeline.checkpoint.torch_names import Global
from ascend_migrate.pipeline.checkpoint.views import View, check_view
from ascend_migrate.pipeline.dtypes import BY_NAME, BY_STORAGE

_BLOCK, _RECORD = 512, 10240
"""Bytes of a header, and of what Python fills the whole archive up to."""

_MAX_ENTRIES = 1000
"""Entries of the archive: torch wrote four, and what describes a long time stamp."""

_SMALL = 1 << 16
"""Bytes that a pickle of three values and a name lies within."""

_MAX_RANK = 64


@dataclass(frozen=True, slots=True)
class _Part:
    """A storage, or a part of one: where its elements are."""

    root: str
    dtype: str
    device: str
    first: int
    count: int


def _sniff(head: bytes) -> bool:
    name = head[:100].rstrip(b"\0").removeprefix(b"./")
    # With a time stamp of fractions, Python puts a header of its own before the first entry.
    return head[257:262] == b"ustar" and name in (
        *(b"sys_info", b"pickle", b"storages", b"tensors"),
        *(b"PaxHeader/sys_info", b"PaxHeaders/sys_info", b"./@PaxHeader"),
    )


@reader("torch-tar", _sniff)
def read(path: Path) -> Contents:
    """Opens a checkpoint of torch's first format.

    Raises:
        FormatError: damaged, hostile, or another kind of tar file.
    """
    records = _entries(map_file(path))
    if missing := {"pickle", "storages", "tensors"} - set(records):
        raise FormatError(
            f"is a tar file without {min(missing)!r}: not written by torch.save; unpack it first"
        )
    if "sys_info" in records:
        facts, _ = _pickle(records["sys_info"], 0, _SMALL)
        if isinstance(facts, dict) and facts.get("little_endian") is False:
            raise FormatError(
                "was written on a big-endian machine; save it again on a little-endian one"
            )
    parts, storages = _storages(records["storages"])
    tensors = _tensors(records["tensors"], parts, storages)
    machine = Machine(lambda key: _tensor(key, tensors))
    stream = BytesIO(bytes(records["pickle"][:MAX_PICKLE]))
    root = machine.run(stream)
    return Contents("torch-tar", root, storages, foreign_refusal(root, machine))


def _tensor(key: Any, tensors: dict[str, View]) -> Any:
    if isinstance(key, tuple) and key:  # a module, with its source text
        return key[0]
    if _key(key) not in tensors:
        raise FormatError(f"refers to a tensor {shown(key)} that is not there; damaged")
    return tensors[_key(key)]


def _key(value: Any) -> str:
    text = value.decode("ascii") if isinstance(value, bytes) else str(value)
    if not isinstance(value, int | str | bytes):
        raise FormatError("names a tensor or storage by what is no number; damaged")
    return text


def _entries(data: memoryview) -> dict[str, memoryview]:
    """Returns the plain files of a tar archive.

    Raises:
        FormatError: a damaged header, a link, or a name that occurs twice.
    """
    found: dict[str, memoryview] = {}
    at = 0
    for _ in range(_MAX_ENTRIES):
        head = bytes(data[at : at + _BLOCK])
        if len(head) == _BLOCK and not any(head):
            if len(data) % _RECORD or any(data[at:]):
                break
            return found
        if len(head) < _BLOCK:
            break
        name = head[:100].rstrip(b"\0").decode().removeprefix("./")
        if int(head[148:156].strip(b" \0"), 8) != sum(head) - sum(head[148:156]) + 8 * 32:
            raise FormatError("has a header that fails its checksum; get a fresh copy")
        size = int(head[124:136].strip(b" \0") or b"0", 8)
        at += _BLOCK
        if size < 0 or at + size > len(data):
            raise FormatError(f"is cut off inside {shown(name)}; get a fresh copy")
        if head[156:157] in (b"0", b"\0"):
            if name in found:
                raise FormatError(f"holds the entry {shown(name)} twice; refused")
            found[name] = data[at : at + size]
        elif head[156:157] not in (b"x", b"g", b"5"):
            raise FormatError(f"holds {shown(name)}, which is a link or a device; refused")
        at += -(-size // _BLOCK) * _BLOCK
    raise FormatError("is a tar file without its end, or with far too many entries; get a copy")


def _pickle(data: memoryview, at: int, limit: int) -> tuple[Any, int]:
    """Runs the pickle at a place as data; returns its value and the place behind it."""
    stream = BytesIO(bytes(data[at : at + limit]))
    machine = Machine()
    value = machine.run(stream)
    if refusal := foreign_refusal(None, machine):
        raise FormatError(refusal)
    return value, at + stream.tell()


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise FormatError("has a count or an offset that is no natural number; damaged")
    return value


def _storages(data: memoryview) -> tuple[dict[str, _Part], dict[str, Storage]]:
    parts: dict[str, _Part] = {}
    storages: dict[str, Storage] = {}
    number, at = _pickle(data, 0, _SMALL)
    for _ in range(_count(number)):
        (key, device, kind), at = _pickle(data, at, _SMALL)
        name = kind.name.rpartition(".")[2] if isinstance(kind, Global) else ""
        if name not in BY_STORAGE:
            raise FormatError(f"its storage type {shown(kind)} is not supported")
        dtype = BY_STORAGE[name]
        (count,) = struct.unpack_from("<q", data, at)
        begin = at + 8
        at = begin + _count(count) * dtype.itemsize
        if at > len(data) or _key(key) in parts:
            raise FormatError(f"has the storage {shown(key)} twice or cut off; get a fresh copy")
        parts[_key(key)] = _Part(_key(key), dtype.name, str(device)[:32], 0, count)
        storages[_key(key)] = _slice(data[begin:at])
    listed, at = _pickle(data, at, MAX_PICKLE)
    if not isinstance(listed, list) or at != len(data):
        raise FormatError("has bytes behind its last storage, or no list of parts; damaged")
    for key, root, first, count in listed:
        whole = parts.get(_key(root))
        if whole is None or _count(first) + _count(count) > whole.count or _key(key) in parts:
            raise FormatError(f"has a part of storage {shown(root)} that does not fit it; damaged")
        parts[_key(key)] = _Part(whole.root, whole.dtype, whole.device, whole.first + first, count)
    return parts, storages


def _tensors(
    data: memoryview, parts: dict[str, _Part], storages: dict[str, Storage]
) -> dict[str, View]:
    found: dict[str, View] = {}
    number, at = _pickle(data, 0, _SMALL)
    for _ in range(_count(number)):
        (key, storage, _), at = _pickle(data, at, _SMALL)
        part = parts.get(_key(storage))
        rank = struct.unpack_from("<i", data, at)[0]
        if part is None or not 0 <= rank <= _MAX_RANK or _key(key) in found:
            raise FormatError(f"has a tensor {shown(key)} without a storage, or twice; damaged")
        # The rank takes 8 bytes.
        numbers = struct.unpack_from(f"<{2 * rank + 1}q", data, at + 8)
        at += 16 + 16 * rank
        shape, stride, offset = numbers[:rank], numbers[rank:-1], numbers[-1]
        view = View(part.root, part.dtype, shape, stride, part.first + offset, part.device)
        # Within its own part of the storage first, and `select` looks at the whole of it again.
        own = View("", part.dtype, shape, stride, offset)
        check_view(own, part.count * BY_NAME[part.dtype].itemsize)
        found[_key(key)] = view
    if at != len(data):
        raise FormatError("has bytes behind its last tensor; refused")
    return found


def _slice(data: memoryview) -> Storage:
    return Storage(len(data), lambda: data)
