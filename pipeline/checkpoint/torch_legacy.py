"""``torch.save`` files before torch 1.6: four pickles, a list of storage names, and the storages.

Layout (torch/serialization.py, ``_legacy_save``): magic number, protocol version, system facts,
the object, the storage names, then for each name an int64 count of elements and the elements.
"""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE, reader
from ascend_migrate.pipeline.checkpoint.mapped import map_file
from ascend_migrate.pipeline.checkpoint.pickled import Machine, foreign_refusal
from ascend_migrate.pipeline.checkpoint.torch_names import StorageRef, storage_ref
from ascend_migrate.pipeline.dtypes import BY_NAME

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little")
_PROTOCOL = 1001


@reader("torch-legacy", lambda head: head[:1] == b"\x80" and _MAGIC_BYTES in head[:32])
def read(path: Path) -> Contents:
    """Opens a legacy checkpoint.

    Raises:
        FormatError: damaged, hostile or written on a big-endian machine.
    """
    data = map_file(path)
    stream = BytesIO(bytes(data[:MAX_PICKLE]))
    if Machine().run(stream) != _MAGIC or Machine().run(stream) != _PROTOCOL:
        raise FormatError("has an unknown magic number or protocol version; damaged")
    machine = Machine()
    facts = machine.run(stream)
    if refusal := foreign_refusal(None, machine):
        raise FormatError(refusal)
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise FormatError(
            "was written on a big-endian machine; save it again on a little-endian one"
        )
    refs: dict[str, StorageRef] = {}
    sources: dict[str, None] = {}
    machine = Machine(lambda pid: _persistent(pid, refs, sources))
    root = machine.run(stream)
    refusal = foreign_refusal(root, machine)
    keys = Machine().run(stream)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(refs):
        raise FormatError("its list of storages and its tensors do not fit together; damaged")
    return Contents("torch-legacy", root, _storages(data, stream.tell(), keys, refs), refusal)


def _persistent(pid: Any, refs: dict[str, StorageRef], sources: dict[str, None]) -> Any:
    # Whole modules carry ("module", class, file, source text); the class stays an inert name.
    if isinstance(pid, tuple) and len(pid) == 4 and pid[0] in ("module", b"module"):  # noqa: PLR2004
        sources[str(pid[1])] = None
        return pid[1]
    ref = storage_ref(pid)
    first = refs.setdefault(ref.key, ref)
    if (first.numel, first.dtype) != (ref.numel, ref.dtype):
        raise FormatError(f"storage {shown(ref.key)} is declared in two ways; refused")
    return ref


def _storages(
    data: memoryview, start: int, keys: list[Any], refs: dict[str, StorageRef]
) -> dict[str, Storage]:
    found = {}
    for key in map(str, keys):
        (numel,) = struct.unpack_from("<q", data, start)
        if numel != refs[key].numel:
            raise FormatError(
                f"storage {shown(key)} declares {refs[key].numel} elements and has {numel}"
            )
        start += 8
        end = start + numel * BY_NAME[refs[key].dtype].itemsize
        if end > len(data):
            raise FormatError(f"is cut off inside storage {shown(key)}; get a fresh copy")
        found[key] = _slice(data[start:end])
        start = end
    if start != len(data):
        raise FormatError(f"has {len(data) - start} bytes behind its last storage; refused")
    return found


def _slice(data: memoryview) -> Storage:
    return Storage(len(data), lambda: data)
