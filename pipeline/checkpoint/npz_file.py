"""NumPy archives (.npz): plain arrays, each described by a header of its own.

Format: numpy/lib/format.py. Arrays of Python objects are pickles and are never opened.
"""

from __future__ import annotations

import tokenize
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint.archive import Archive
from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.formats import archive_reader
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View, contiguous
from ascend_migrate.pipeline.dtypes import BY_NAME

if TYPE_CHECKING:
    import numpy as np

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"

_MAX_HEADER = 10_000
"""Characters of a header: numpy's own limit, since Python's parser may crash on longer ones."""


def _is_npz(archive: Archive) -> bool:
    names = list(archive.records)
    return all(name.endswith(_SUFFIX) for name in names) and (
        archive.head(names[0], len(_MAGIC)) == _MAGIC
    )


@archive_reader("npz", _is_npz)
def read(archive: Archive) -> Contents:
    """Opens a NumPy archive.

    Raises:
        FormatError: a header that is none, or a size that does not fit it.
    """
    root: dict[str, View | Unsupported] = {}
    storages: dict[str, Storage] = {}
    folder = f"{archive.top}/" if archive.top else ""
    for record, held in archive.records.items():
        name = f"{folder}{record}".removesuffix(_SUFFIX)
        start, shape, turned, dtype = _header(name, archive.head(record, _MAX_HEADER + 20))
        value = root[name] = _array(name, shape, turned, dtype)
        size = held.nbytes - start
        if isinstance(value, View) and value.nbytes != size:
            raise FormatError(
                f"array {shown(name)} declares {shown(value.nbytes)} bytes and has {size}"
            )
        storages[name] = Storage(size, _body(held, start, dtype), held.made or not dtype.isnative)
    return Contents("npz", root, storages)


def _header(name: str, head: bytes) -> tuple[int, tuple[int, ...], bool, np.dtype[Any]]:
    import numpy as np

    stream = BytesIO(head)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise FormatError(f"array {shown(name)} has the header version {version}; known: 1.0, 2.0")
    try:
        with warnings.catch_warnings(action="ignore"):  # headers of Python 2, which are read
            shape, turned, dtype = readers[version](stream, max_header_size=_MAX_HEADER)
    except (SyntaxError, tokenize.TokenError):  # numpy lets these through
        raise FormatError(f"array {shown(name)} has a damaged header") from None
    return stream.tell(), shape, turned, dtype


def _array(
    name: str, shape: tuple[int, ...], turned: bool, dtype: np.dtype[Any]
) -> View | Unsupported:
    if dtype.hasobject:
        return Unsupported("is an array of Python objects, which is a pickle; save plain numbers")
    if dtype.name not in BY_NAME or dtype.names is not None:
        return Unsupported(
            f"has the element type {shown(dtype)}, which is not supported; save it as another type"
        )
    if any(size < 0 for size in shape):
        raise FormatError(f"array {shown(name)} has a negative size")
    stride = contiguous(shape[::-1])[::-1] if turned else contiguous(shape)
    return View(name, dtype.name, shape, stride, 0)


def _body(record: Storage, start: int, dtype: np.dtype[Any]) -> Any:
    def load() -> memoryview:
        import numpy as np

        data = record.load()[start:]
        if dtype.isnative:
            return data
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).view(np.uint8).data

    return load
