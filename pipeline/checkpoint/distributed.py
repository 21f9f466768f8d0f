"""Distributed checkpoints of torch (DCP, FSDP2): one state, put together from the ranks' files.

``.metadata`` is a pickle that torch itself would execute; here it is run as data, like any other.
It says which file holds which part of which tensor, and each part is a small ``torch.save`` archive
of its own. Layout: torch/distributed/checkpoint (metadata.py, filesystem.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint.archive import open_archive
from ascend_migrate.pipeline.checkpoint.boxes import Box, check_cover
from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.folders import confined
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE, folder_reader
from ascend_migrate.pipeline.checkpoint.mapped import forget, map_file
from ascend_migrate.pipeline.checkpoint.pickled import Machine, foreign_refusal
from ascend_migrate.pipeline.checkpoint.streams import stream_view
from ascend_migrate.pipeline.checkpoint.torch_names import Global, Inert
from ascend_migrate.pipeline.checkpoint.torch_records import unpickled
from ascend_migrate.pipeline.checkpoint.views import (
    Unsupported,
    View,
    check_view,
    contiguous,
    materialise,
    narrowed,
)
from ascend_migrate.pipeline.dtypes import BY_NAME, numpy_dtype

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METADATA = ".metadata"

_MODULE = "torch.distributed.checkpoint.metadata."
_WOVEN = 1 << 24
"""Bytes of a tensor cut across its rows that are put together at a time: 16 MiB."""

_BYTES = Inert("torch.save of a plain value")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a tensor: where in the tensor it belongs, and where its archive is."""

    box: Box
    path: Path
    data: memoryview


@folder_reader("torch-dcp", lambda folder: os.path.lexists(folder / METADATA))
def read(folder: Path) -> Contents:
    """Opens a distributed checkpoint.

    Raises:
        FormatError: damaged, hostile, or with parts that do not make up their tensors.
    """
    with named(folder / METADATA, "torch-dcp"):
        described, places, paths = _metadata(confined(folder, METADATA))
        files = {METADATA: confined(folder, METADATA)}
        files |= {name: confined(folder, name) for name in sorted(_file_names(places))}
        mapped = {name: _mapped(folder / name) for name in files if name != METADATA}
        root: dict[Any, Any] = {}
        storages: dict[str, Storage] = {}
        for name, entry in described.items():
            value, parts = _tensor(name, entry, places, folder, mapped)
            if isinstance(value, View):
                load, stream = partial(_assembled, value, parts), partial(_streamed, value, parts)
                storages[name] = Storage(value.nbytes, load, len(parts) > 1, stream)
            _place(root, paths.get(name, (name,)), value)
    note = f"put together from {len(mapped)} files of a distributed checkpoint"
    return Contents("torch-dcp", root, storages, "", (note,), files)


def _metadata(
    path: Path,
) -> tuple[dict[str, Inert], dict[tuple[str, tuple[int, ...]], Any], dict[str, tuple[Any, ...]]]:
    """Returns the entries, the places of their parts, and the paths in the nested state."""
    if path.stat().st_size > MAX_PICKLE:
        raise FormatError(f"is a pickle of {path.stat().st_size} bytes; refused above {MAX_PICKLE}")
    stream = BytesIO(path.read_bytes())
    machine = Machine()
    root = machine.run(stream)
    if refusal := foreign_refusal(None, machine):
        raise FormatError(refusal)
    if stream.read(1):
        raise FormatError("has bytes behind the end of its pickle; refused")
    table = _state(root, "Metadata")
    entries, storage = table.get("state_dict_metadata"), table.get("storage_data")
    if not isinstance(entries, dict) or not isinstance(storage, dict):
        raise FormatError("lists no tensors or no places for them; damaged, or of another writer")
    for name in entries:
        if not isinstance(name, str):
            raise FormatError(f"lists a tensor under {shown(name)}, which is no text; damaged")
    places: dict[tuple[str, tuple[int, ...]], Any] = {}
    for index, info in storage.items():
        found = _state(index, "MetadataIndex")
        key = (str(found.get("fqn")), _sizes(found.get("offset") or ()))
        if key in places:
            raise FormatError(f"places {shown(key[0])} at {list(key[1])} twice; refused")
        places[key] = info
    planned = table.get("planner_data")
    paths = planned if isinstance(planned, dict) else {}
    return entries, places, {n: p for n, p in paths.items() if isinstance(p, tuple) and p}


def _state(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Inert) or value.name != f"{_MODULE}{name}":
        raise FormatError(f"holds {shown(value)} where a {name} belongs; damaged")
    return value.state if isinstance(value.state, dict) else {}


def _place_of(info: Any) -> dict[str, Any]:
    if not isinstance(info, Inert) or not isinstance(info.state, dict):
        raise FormatError("has a place that is none; damaged")
    return info.state


def _file_names(places: Mapping[Any, Any]) -> set[str]:
    names = {_place_of(info).get("relative_path") for info in places.values()}
    for name in names:
        if not isinstance(name, str):
            raise FormatError(f"names the file {shown(name)}, which is no text; damaged")
    return names  # type: ignore[return-value]


def _mapped(path: Path) -> memoryview:
    with named(path, "torch-dcp"):
        return map_file(path)


def _tensor(
    name: str,
    entry: Any,
    places: Mapping[Any, Any],
    folder: Path,
    mapped: Mapping[str, memoryview],
) -> tuple[View | Unsupported | Inert, list[_Part]]:
    if isinstance(entry, Inert) and entry.name == f"{_MODULE}BytesStorageMetadata":
        return _BYTES, []
    state = _state(entry, "TensorStorageMetadata")
    properties = state["properties"].state
    kind = properties[0] if isinstance(properties, tuple) else properties["dtype"]
    dtype = kind.name.removeprefix("torch.") if isinstance(kind, Global) else ""
    if dtype not in BY_NAME:
        return Unsupported(f"has the element type {shown(kind)}, which is not supported"), []
    shape = _sizes(state["size"])
    view = View(name, dtype, shape, contiguous(shape), 0)
    parts: dict[Box, _Part] = {}
    for chunk in state["chunks"]:
        fields = _state(chunk, "ChunkStorageMetadata")
        box = Box(_sizes(fields["offsets"]), _sizes(fields["sizes"]))
        if box.volume == 0 and 0 not in shape:
            continue  # ranks that hold nothing of a tensor that was split unevenly
        info = places.get((name, box.offsets))
        if info is None:
            raise FormatError(f"has no place for tensor {shown(name)} at {list(box.offsets)}")
        parts[box] = _part(name, box, dtype, _place_of(info), folder, mapped)
    check_cover(name, shape, list(parts))
    return view, list(parts.values())


def _part(
    name: str,
    box: Box,
    dtype: str,
    info: Mapping[str, Any],
    folder: Path,
    mapped: Mapping[str, memoryview],
) -> _Part:
    file, offset, length = info["relative_path"], info["offset"], info["length"]
    if info.get("transform_descriptors"):
        raise FormatError(f"stores tensor {shown(name)} compressed; save it without transforms")
    size = len(mapped[file])
    if min(offset, length) < 0 or offset + length > size:
        raise FormatError(f"places tensor {shown(name)} past the end of {shown(file)}; damaged")
    if box.volume * BY_NAME[dtype].itemsize > length:
        raise FormatError(
            f"tensor {shown(name)} declares a part of {shown(box.volume)} elements in {length} "
            "bytes; damaged"
        )
    return _Part(box, folder / file, mapped[file][offset : offset + length])


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple) or any(type(n) is not int or n < 0 for n in value):
        raise FormatError("has a size or offset that is no natural number; damaged")
    return value


def _place(root: dict[Any, Any], path: Sequence[Any], value: Any) -> None:
    """Puts a value where it was in the nested state; lists become dicts with numbers for keys."""
    tree = root
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise FormatError(f"has the path {shown(path)} through a tensor; damaged")
    if path[-1] in tree:
        raise FormatError(f"has two entries under the path {shown(path)}; damaged")
    tree[path[-1]] = value


def _assembled(view: View, parts: Sequence[_Part]) -> memoryview:
    import numpy as np

    if len(parts) == 1:
        return _raw(view, parts[0])
    whole = np.empty(view.shape, numpy_dtype(view.dtype))
    for part in parts:
        whole[part.box.slices] = _array(view, part)
    return whole.reshape(-1).view(np.uint8).data


def _raw(view: View, part: _Part) -> memoryview:
    import numpy as np

    with named(part.path, "torch-dcp"):
        inner, held = _open(view, part)
        storage = held.storage(inner.storage)
        if inner.as_stored:
            start = inner.offset * BY_NAME[inner.dtype].itemsize
            return storage[start : start + inner.nbytes]
        return materialise(inner, storage).reshape(-1).view(np.uint8).data


def _array(view: View, part: _Part) -> NDArray[np.generic]:
    with named(part.path, "torch-dcp"):
        inner, held = _open(view, part)
        return materialise(inner, held.storage(inner.storage))


def _open(view: View, part: _Part) -> tuple[View, Contents]:
    root, used, machine = unpickled(open_archive(part.data))
    if refusal := foreign_refusal(None, machine):
        raise FormatError(refusal)
    if not isinstance(root, View) or (root.dtype, root.shape) != (view.dtype, part.box.sizes):
        raise FormatError(
            f"holds something else where a part of tensor {shown(view.storage)} belongs; damaged"
        )
    check_view(root, used[root.storage].nbytes)
    return root, Contents("torch-dcp", root, used)


def _streamed(view: View, parts: Sequence[_Part]) -> Iterator[memoryview]:
    if any(part.box.sizes[1:] != view.shape[1:] for part in parts):
        yield from _woven(view, parts)
        return
    for part in sorted(parts, key=lambda part: part.box.offsets):
        with named(part.path, "torch-dcp"):
            inner, held = _open(view, part)
            yield from stream_view(held, inner)


def _woven(view: View, parts: Sequence[_Part]) -> Iterator[memoryview]:
    """Yields a tensor that was cut across its rows, some rows at a time."""
    import numpy as np

    opened = []
    for part in parts:
        with named(part.path, "torch-dcp"):
            inner, held = _open(view, part)
            opened.append((part.box, inner, held.storage(inner.storage)))
    count = max(1, _WOVEN * view.shape[0] // view.nbytes)
    for start in range(0, view.shape[0], count):
        rows = np.empty(
            (min(count, view.shape[0] - start), *view.shape[1:]), numpy_dtype(view.dtype)
        )
        for box, inner, storage in opened:
            first, last = max(start, box.offsets[0]), min(start + len(rows), box.ends[0])
            if first < last:
                inside = (slice(first - start, last - start), *box.slices[1:])
                cut = narrowed(inner, first - box.offsets[0], last - box.offsets[0])
                rows[inside] = materialise(cut, storage)
                forget(storage)
        yield rows.reshape(-1).view(np.uint8).data
