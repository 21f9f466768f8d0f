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
from ascend_migrate.pipeline.digest import file_digest, json_digest
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import SourceError


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor of a checkpoint.

    Attributes:
        name: its name in the state dict, wrapper prefixes stripped.
        view: where its numbers are, and how they are laid out there.
    """

    name: str
    view: View

    @property
    def dtype(self) -> str:
        """Our spelling of the element type."""
        return self.view.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return self.view.shape

    @property
    def device(self) -> str:
        """Device tag, such as ``"cuda:0"``; empty where the format has none."""
        return self.view.device

    @property
    def nbytes(self) -> int:
        """Bytes of the contiguous tensor."""
        return self.view.nbytes


@dataclass(frozen=True)
class Checkpoint:
    """A state dict in a file or in a folder of files.

    Attributes:
        path: the file or folder.
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
        """Digest of the whole file, or of all files that are read; computed on first use."""
        with named(self.path, self.format):
            files = self._contents.files
            if not files:
                return file_digest(self.path)
            return json_digest({name: file_digest(path) for name, path in files.items()})

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
                storage = self._contents.storage(entry.view.storage)
                return materialise(entry.view, storage)
            except FormatError as error:
                raise FormatError(f"tensor {shown(name)}: {error}") from None


def open_checkpoint(path: Path, *, key: str | None = None, drop: Sequence[str] = ()) -> Checkpoint:
    """Opens a checkpoint without executing anything in it and without reading a tensor.

    Args:
        path: a file, or a folder, of a format that has a reader.
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
        tensors={name: TensorEntry(name, view) for name, view in views.items()},
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
