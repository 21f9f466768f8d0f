"""How tensors are laid out in safetensors files: headers, shards, and the index of the shards.

The header is written here because the reference writer needs all tensors in memory and does not
align the data for readers that map the file. Layout: README of huggingface/safetensors; shards and
index: ``save_pretrained`` of transformers.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ascend_migrate.pipeline.checkpoint.faults import shown
from ascend_migrate.pipeline.checkpoint.safetensors_file import MAX_HEADER, TIED
from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import ConversionError

_ALIGNMENT = 64
"""The data begin on a cache line, so that mapped tensors are aligned for every vector unit."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as it is to be written.

    Attributes:
        name: its name.
        dtype: our spelling of its element type.
        shape: its sizes.
        pieces: yields its bytes, contiguous and in order, in pieces of bounded size.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[memoryview]]

    @property
    def nbytes(self) -> int:
        """Bytes that `pieces` yields."""
        return math.prod(self.shape) * BY_NAME[self.dtype].itemsize


@dataclass(frozen=True, slots=True)
class Shard:
    """A file.

    Attributes:
        name: of the file.
        header: its first bytes: the length field and the padded header.
        tensors: what follows on the header, in this order.
    """

    name: str
    header: bytes
    tensors: tuple[Stored, ...]

    @property
    def data(self) -> int:
        """Bytes behind the header."""
        return sum(tensor.nbytes for tensor in self.tensors)


def lay_out(
    tensors: Sequence[Stored], tied: Mapping[str, str], name: str, limit: int | None
) -> list[Shard]:
    """Divides tensors into files, in their order.

    Args:
        tensors: each of them is stored once.
        tied: other names of theirs: alias -> name that is stored.
        name: of the file if there is one; otherwise the files are numbered as
            ``model-00001-of-00002.safetensors``.
        limit: largest number of data bytes in a file; a larger tensor has a file to itself. None
            puts all into one.

    Raises:
        ConversionError: a name that the format reserves, an element type that it lacks, or more
            names than a header holds.
    """
    groups = _groups(tensors, limit)
    pure = PurePath(name)
    shards = []
    for number, group in enumerate(groups, 1):
        file = f"{pure.stem}-{number:05}-of-{len(groups):05}{pure.suffix}"
        ordered = tuple(sorted(group, key=lambda t: (-BY_NAME[t.dtype].itemsize, t.name)))
        here = {tensor.name for tensor in group}
        ties = {alias: stored for alias, stored in tied.items() if stored in here}
        shards.append(Shard(file if len(groups) > 1 else name, header(ordered, ties), ordered))
    return shards


def _groups(tensors: Sequence[Stored], limit: int | None) -> list[list[Stored]]:
    groups: list[list[Stored]] = [[]]
    size = 0
    for tensor in tensors:
        if limit is not None and groups[-1] and size + tensor.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.nbytes
    return groups


def header(tensors: Sequence[Stored], tied: Mapping[str, str]) -> bytes:
    """Returns the length field and the padded header of a file.

    Raises:
        ConversionError: as `lay_out`.
    """
    metadata = {"format": "pt"}
    if tied:
        metadata[TIED] = canonical_json(dict(tied)).decode()
    table: dict[str, object] = {"__metadata__": metadata}
    at = 0
    for tensor in tensors:
        if tensor.name == "__metadata__":
            raise ConversionError(
                "safetensors reserves the name '__metadata__'; rename that tensor"
            )
        spelled = BY_NAME[tensor.dtype].safetensors
        if spelled is None:
            raise ConversionError(
                f"tensor {shown(tensor.name)} is {tensor.dtype}, which the format does not have; "
                "leave it out with --drop, or store it as another type"
            )
        table[tensor.name] = {
            "dtype": spelled,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ConversionError("too many tensors for one safetensors file")
    return struct.pack("<Q", len(text)) + text


def index_of(shards: Sequence[Shard]) -> bytes:
    """Returns the index that says which file holds which tensor."""
    places = {tensor.name: shard.name for shard in shards for tensor in shard.tensors}
    size = sum(shard.data for shard in shards)
    document = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
