"""Tensors that are kept in several parts: sparse, torch-quantized, 8-bit floats with scales.

No form has a place for them, and making plain ones of them changes what is stored. So each kind has
a rule that is carried out only where it was asked for; without it the tensor is refused by name,
except blocks of 8-bit floats, which are two plain tensors.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.fp8_blocks import unpack_blocks
from ascend_migrate.pipeline.checkpoint.views import (
    Unsupported,
    View,
    check_view,
    contiguous,
    materialise,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("sparse", "quantized", "fp8_blocks")
"""What ``unpack`` may name."""

Make = Callable[[Sequence["NDArray[Any]"]], "NDArray[Any]"]


@dataclass(frozen=True, slots=True)
class Packed(Unsupported):
    """A tensor in parts, and how a plain one is made of them.

    Attributes:
        kind: one of `KINDS`.
        dtype: element type of the plain tensor, in our spelling.
        shape: its sizes.
        parts: the tensors that it is kept in.
        make: makes it, C-contiguous, of the parts' arrays; raises FormatError on damaged ones.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    parts: tuple[View, ...]
    make: Make

    def moved(self, prefix: str) -> "Packed":
        """Returns the same tensor with ``prefix`` before the names of its parts' storages."""
        parts = (replace(part, storage=f"{prefix}:{part.storage}") for part in self.parts)
        return replace(self, parts=tuple(parts))


def unpack_tensors(
    contents: Contents, tree: Mapping[str, Any], kinds: Collection[str]
) -> tuple[Contents, dict[str, Any], list[str]]:
    """Turns the packed tensors of a state dict into plain ones, each in a storage of its own.

    Args:
        contents: the file.
        tree: a state dict in it.
        kinds: the kinds that are unpacked, of `KINDS`; the others stay as they are.

    Returns:
        The file with the storages that were added, the state dict, and notes.

    Raises:
        FormatError: a part does not fit its storage, or a kind of which there is no tensor.
    """
    made: dict[int, View] = {}
    storages: dict[str, Storage] = {}
    found = dict(tree)
    count = dict.fromkeys(kinds, 0)
    if "fp8_blocks" in count:
        storages, found, count["fp8_blocks"] = unpack_blocks(contents, tree)
    for name, value in tree.items():
        if not isinstance(value, Packed) or value.kind not in count:
            continue
        count[value.kind] += 1
        if id(value) not in made:  # tied tensors are one object
            made[id(value)], held = _unpacked(name, value, contents)
            storages[made[id(value)].storage] = held
        found[name] = made[id(value)]
    # A tensor that cannot be read at all is named first, by whoever names the tensors.
    whole = not any(isinstance(value, Unsupported) for value in found.values())
    for kind, number in count.items():
        if whole and not number:
            raise FormatError(f"has no {kind} tensor for --unpack {kind}; leave that out")
    notes = [f"{n} {kind} tensor(s) turned into plain ones" for kind, n in count.items()]
    if not storages:
        return contents, found, notes
    return replace(contents, storages={**contents.storages, **storages}), found, notes


def _unpacked(name: str, value: Packed, contents: Contents) -> tuple[View, Storage]:
    for part in value.parts:
        try:
            check_view(part, contents.storages[part.storage].nbytes)
        except FormatError as error:
            raise FormatError(f"a part of tensor {shown(name)} {error}") from None
    device = value.parts[0].device
    key = f"unpacked:{name}"
    view = View(key, value.dtype, value.shape, contiguous(value.shape), 0, device)
    source = replace(contents, _mapped={}, _made={})
    return view, Storage(view.nbytes, partial(_load, value, source), made=True)


def _load(value: Packed, source: Contents) -> memoryview:
    import numpy as np

    arrays = [materialise(part, source.storage(part.storage)) for part in value.parts]
    return value.make(arrays).reshape(-1).view(np.uint8).data
