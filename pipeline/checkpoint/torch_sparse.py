"""Sparse tensors of torch: described, and made dense as ``to_dense()`` makes them.

Values at one place are summed in the order in which they are stored, as torch does. torch does not
check the indices of a file: one that is out of range is lost without a word; here it is refused.

Layouts: torch/_utils.py (``_rebuild_sparse_tensor``) and the documentation of ``torch.sparse``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.packed import Packed
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View, contiguous

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REASON = (
    "is a sparse tensor, and no form has a place for one; --unpack sparse makes it dense, or save "
    "it with .to_dense()"
)

_COMPRESSED = ("torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc")

_MAX_GROWTH = 1024
"""How many times larger the dense tensor may be than the sparse one: no weights are that sparse."""

_HARMLESS = 1 << 20
"""Bytes below which any dense tensor is made: 1 MiB."""


def rebuild(args: tuple[Any, ...]) -> Packed | Unsupported:
    """Describes a sparse tensor from ``(layout, (indices ..., values, size[, coalesced]))``.

    Raises:
        FormatError: damaged, or of an unknown layout.
    """
    layout, data = str(args[0]), args[1]
    if layout == "torch.sparse_coo":
        parts, size = data[:2], data[2]
    elif layout in _COMPRESSED:
        parts, size = data[:3], data[3]
    else:
        raise FormatError(f"holds a sparse tensor of the layout {shown(layout)}; damaged")
    if not all(isinstance(part, View) for part in parts) or not isinstance(size, tuple):
        raise FormatError("holds a sparse tensor with a part that is none; damaged")
    if any(type(n) is not int or n < 0 for n in size):
        raise FormatError("holds a sparse tensor whose size is no natural number; damaged")
    values = parts[-1]
    make: Any = _coo if layout == "torch.sparse_coo" else partial(_compressed, layout[-3:])
    dense = View("", values.dtype, size, contiguous(size), 0)
    if dense.nbytes > max(_HARMLESS, _MAX_GROWTH * sum(part.nbytes for part in parts)):
        return Unsupported(
            f"is a sparse tensor of {values.nbytes} bytes that would be {shown(dense.nbytes)} "
            "bytes as a dense one: refused as a decompression bomb"
        )
    return Packed(_REASON, "sparse", values.dtype, size, tuple(parts), partial(make, size))


def _coo(size: tuple[int, ...], parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    import numpy as np

    indices, values = parts
    count = len(indices)
    if indices.ndim != 2 or count > len(size) or values.shape != (indices.shape[1], *size[count:]):  # noqa: PLR2004
        raise FormatError("is a sparse tensor whose indices and values do not fit its size")
    dense = np.zeros(size, values.dtype)
    for axis, place in enumerate(indices):
        _check_range(place, size[axis])
    # An axis of size 1 in front, so that there is one also where nothing is indexed.
    where = (np.zeros(len(values), np.int64), *indices)
    np.add.at(dense[None], where, values)
    return dense


def _compressed(layout: str, size: tuple[int, ...], parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """CSR, CSC, BSR, BSC; any number of batch axes in front, of dense axes behind."""
    import numpy as np

    compressed, plain, values = parts
    batch = compressed.ndim - 1
    block = values.shape[batch + 1 : batch + 3] if layout[0] == "b" else (1, 1)
    if min(batch, len(size) - batch - 2) < 0 or len(block) != 2 or 0 in block:  # noqa: PLR2004
        raise FormatError("is a sparse tensor whose parts do not fit its size")
    rows, columns = (size[batch + i] // block[i] for i in (0, 1))
    inner = size[batch + 2 :]
    by_row = layout[-1] == "r"
    major, minor = (rows, columns) if by_row else (columns, rows)
    shape = (*size[:batch], *plain.shape[-1:], *(block if layout[0] == "b" else ()), *inner)
    fits = (
        (rows * block[0], columns * block[1]) == size[batch : batch + 2]
        and values.shape == shape
        and compressed.shape == (*size[:batch], major + 1)
        and plain.shape == shape[: batch + 1]
    )
    if not fits:
        raise FormatError("is a sparse tensor whose parts do not fit its size")
    dense = np.zeros(size, values.dtype)
    # One matrix of blocks for each batch entry: a view, so that adding to it fills `dense`.
    count = int(np.prod(size[:batch]))
    blocks = dense.reshape(count, rows, block[0], columns, block[1], *inner).swapaxes(2, 3)
    ends, places = compressed.reshape(count, -1), plain.reshape(count, -1)
    filled = values.reshape(count, -1, *block, *inner)
    for number in range(count):
        lengths = np.diff(ends[number])
        if ends[number, 0] or ends[number, -1] != places.shape[1] or (lengths < 0).any():
            raise FormatError("is a sparse tensor whose rows do not add up; damaged")
        _check_range(places[number], minor)
        lines = np.repeat(np.arange(major), lengths)
        where = (lines, places[number]) if by_row else (places[number], lines)
        np.add.at(blocks[number], where, filled[number])
    return dense


def _check_range(places: NDArray[Any], size: int) -> None:
    if places.dtype.kind != "i" or (len(places) and not 0 <= places.min() <= places.max() < size):
        raise FormatError("is a sparse tensor with an index out of range; damaged")
