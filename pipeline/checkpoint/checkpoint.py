"""An opened checkpoint: tensors by name, none of them read before it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.checkpoint import state_dict
from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.formats import open_contents
from ascend_migrate.pipeline.checkpoint.views import View, check_view, extent, materialise
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import SourceError


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor of a checkpoint.

    Attributes:
        name: its name in the state dict, wrapper prefixes stripped.
        dtype: our spelling of the element type.
        shape: sizes.
        stride: strides in elements.
        storage: the storage's name within the file.
        offset: first element, counted from the start of the storage.
        device: device tag, such as ``"cuda:0"``; empty where the format has none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    storage: str
    offset: int
    device: str

    @property
    def nbytes(self) -> int:
        """Bytes of the contiguous tensor."""
        return self.view.nbytes

    @property
    def view(self) -> View:
        """The view of the storage."""
        return View(self.storage, self.dtype, self.shape, self.stride, self.offset, self.device)

    @classmethod
    def of(cls, name: str, view: View) -> "TensorEntry":
        """Names a view."""
        return cls(
            name, view.dtype, view.shape, view.stride, view.storage, view.offset, view.device
        )


@dataclass(frozen=True)
class Checkpoint:
    """A state dict in a file.

    Attributes:
        path: the file.
        format: name of its format, such as ``"torch-zip"``.
        key: dotted path of the state dict inside; empty for the top level.
        tensors: by name, in the file's order.
        extra: one line for each thing that was found and left out.
        notes: one line for each thing that the user should know.
        shared: groups of names whose tensors are the same view of the same bytes.
    """

    path: Path
    format: str
    key: str
    tensors: Mapping[str, TensorEntry]
    extra: tuple[str, ...]
    notes: tuple[str, ...]
    shared: tuple[tuple[str, ...], ...]
    _contents: Contents = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """Digest of the whole file, computed on first use."""
        with named(self.path, self.format):
            return file_digest(self.path)

    def read(self, name: str) -> NDArray[np.generic]:
        """Returns one tensor as a read-only C-contiguous array.

        Raises:
            SourceError: no such name, or its bytes are damaged.
        """
        entry = self.tensors.get(name)
        if entry is None:
            raise SourceError(f"{self.path}: has no tensor {shown(name)}; see inspect")
        with named(self.path, self.format):
            try:
                storage = self._contents.storage(entry.storage)
                return materialise(entry.view, storage)
            except FormatError as error:
                raise FormatError(f"tensor {shown(name)}: {error}") from None


def open_checkpoint(path: Path, *, key: str | None = None, drop: Sequence[str] = ()) -> Checkpoint:
    """Opens a checkpoint without executing anything in it and without reading a tensor.

    Args:
        path: a torch zip, legacy torch, or safetensors file.
        key: dotted path of the state dict inside; found by itself when only one fits.
        drop: patterns of names that are left out on purpose.

    Raises:
        SourceError: unreadable, unknown, damaged, hostile or ambiguous.
    """
    contents = open_contents(path)
    with named(path, contents.format):
        if contents.refusal:
            raise FormatError(contents.refusal)
        return select(path, contents, key, drop)


def select(path: Path, contents: Contents, key: str | None, drop: Sequence[str]) -> Checkpoint:
    """Makes a checkpoint of the state dict under ``key``.

    Raises:
        FormatError: none fits, or a tensor of it does not fit its storage.
    """
    chosen, tree = state_dict.choose(contents.root, key)
    views, extra, notes = state_dict.split(tree, drop)
    for name, view in views.items():
        try:
            check_view(view, contents.storages[view.storage].nbytes)
        except FormatError as error:
            raise FormatError(f"tensor {shown(name)} {error}") from None
    if chosen and key is None:
        notes.insert(0, f"the state dict was found under {chosen!r}")
    groups = shared_groups(views)
    return Checkpoint(
        path=path,
        format=contents.format,
        key=chosen,
        tensors={name: TensorEntry.of(name, view) for name, view in views.items()},
        extra=tuple(state_dict.beside(contents.root, chosen) + extra),
        notes=(*contents.notes, *notes, *_overlap_notes(views)),
        shared=groups,
        _contents=contents,
    )


def shared_groups(views: Mapping[str, View]) -> tuple[tuple[str, ...], ...]:
    """Returns the groups of names that are the same view of the same storage."""
    groups: dict[View, list[str]] = {}
    for name, view in views.items():
        if 0 not in view.shape:  # two empty tensors have no byte in common
            groups.setdefault(view, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _overlap_notes(views: Mapping[str, View]) -> list[str]:
    """Notes tensors that overlap in part; they are copied, which loses only the sharing."""
    spans: dict[str, dict[View, str]] = {}
    for name, view in views.items():
        if 0 not in view.shape:
            spans.setdefault(view.storage, {}).setdefault(view, name)
    notes = []
    for held in spans.values():
        ordered = sorted(held, key=extent)
        notes += [
            f"{shown(held[a])} and {shown(held[b])} may overlap in one storage; each is copied"
            for a, b in pairwise(ordered)
            if extent(a)[1] > extent(b)[0]
        ]
    return notes


def dtype_counts(views: Mapping[str, View]) -> dict[str, int]:
    """Returns how many tensors have each element type, widest first."""
    names = sorted({view.dtype for view in views.values()}, key=lambda n: -BY_NAME[n].itemsize)
    return {name: sum(view.dtype == name for view in views.values()) for name in names}
