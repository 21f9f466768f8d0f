"""An opened checkpoint: tensors by name, none of them read before it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ascend_migrate.pipeline.checkpoint import state_dict
from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.formats import open_contents
from ascend_migrate.pipeline.checkpoint.mapped import PrivateMaps, file_state
from ascend_migrate.pipeline.checkpoint.packed import unpack_tensors
from ascend_migrate.pipeline.checkpoint.streams import stream_view
from ascend_migrate.pipeline.checkpoint.views import View, check_view, extent, materialise
from ascend_migrate.pipeline.digest import file_digest, json_digest
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.renames import Rename

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        entry = self._entry(name)
        with named(self.path, self.format):
            try:
                storage = self._contents.storage(entry.view.storage)
                return materialise(entry.view, storage)
            except FormatError as error:
                raise FormatError(f"tensor {shown(name)}: {error}") from None

    def read_writable(self, name: str, maps: PrivateMaps) -> NDArray[np.generic]:
        """Returns one tensor as a writable C-contiguous array, without a copy where that works.

        Args:
            name: of the tensor.
            maps: what is written to the array is seen in these maps, and nowhere else.

        Raises:
            SourceError: no such name, or its bytes are damaged.
        """
        view = self._entry(name).view
        array = self.read(name)
        private = None
        if view.as_stored:
            with named(self.path, self.format):
                private = maps.writable(self._contents.storage(view.storage))
        if private is None:
            return array.copy()
        array = materialise(view, private)
        array.flags.writeable = True
        return array

    def pieces(self, name: str) -> Iterator[memoryview]:
        """Yields the bytes of one tensor, contiguous and in order, in little memory.

        Raises:
            SourceError: no such name, or its bytes are damaged: mostly known once the last piece
                has been taken, so that nothing may be made of the earlier ones before.
        """
        entry = self._entry(name)
        with named(self.path, self.format):
            try:
                yield from stream_view(self._contents, entry.view)
            except FormatError as error:
                raise FormatError(f"tensor {shown(name)}: {error}") from None

    def state(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns names, sizes and times of all files that are read: other when one changes."""
        with named(self.path, self.format):
            files = self._contents.files or {self.path.name: self.path}
            return [(name, file_state(path.stat())) for name, path in sorted(files.items())]

    def _entry(self, name: str) -> TensorEntry:
        if name not in self.tensors:
            raise SourceError(f"{self.path}: has no tensor {shown(name)}; see inspect")
        return self.tensors[name]


def open_checkpoint(
    path: Path,
    *,
    key: str | None = None,
    drop: Sequence[str] = (),
    rename: Sequence[Rename] = (),
    unpack: Collection[str] = (),
    trust_pickle: Path | None = None,
) -> Checkpoint:
    """Opens a checkpoint without reading a tensor, and without executing anything in it.

    Args:
        path: a file, or a folder, of a format that has a reader.
        key: dotted path of the state dict inside; found by itself when only one fits.
        drop: patterns of names that are left out on purpose.
        rename: rules for new names; they see the names without wrapper prefixes.
        unpack: kinds of tensors that are turned into plain ones, of `packed.KINDS`.
        trust_pickle: folder with the modules of the pickled objects in the file. Where a file
            cannot be read otherwise, its code is run in a confined process; None refuses it.

    Raises:
        SourceError: unreadable, unknown, damaged, hostile or ambiguous.
    """
    try:
        contents = open_contents(path)
        with named(path, contents.format):
            if contents.refusal:
                raise FormatError(contents.refusal)
    except SourceError:
        if trust_pickle is None or path.is_dir():
            raise
        contents = _trusted(path, trust_pickle)
    with named(path, contents.format):
        try:
            return select(path, contents, key, drop, rename, unpack)
        except state_dict.ObjectsError:
            if trust_pickle is None or path.is_dir():
                raise
            return select(path, _trusted(path, trust_pickle), key, drop, rename, unpack)


def _trusted(path: Path, search: Path) -> Contents:
    from ascend_migrate.pipeline.checkpoint.trusted import open_trusted

    return open_trusted(path, search)


def select(
    path: Path,
    contents: Contents,
    key: str | None = None,
    drop: Sequence[str] = (),
    rename: Sequence[Rename] = (),
    unpack: Collection[str] = (),
) -> Checkpoint:
    """Makes a checkpoint of the state dict under ``key``.

    Raises:
        FormatError: none fits, or a tensor of it does not fit its storage.
    """
    chosen, tree = state_dict.choose(contents.root, key)
    tree, left = state_dict.kept(tree, drop)
    contents, tree, unpacked = unpack_tensors(contents, tree, unpack)
    views, extra, notes = state_dict.named(tree, rename)
    notes += [*left, *unpacked]
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
        # Most storages hold one tensor, and there are thousands of them.
        ordered = sorted(held, key=extent) if len(held) > 1 else ()
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
