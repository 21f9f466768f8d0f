"""Checkpoint -> model.safetensors or shards of it: bit-equal, deterministic, in little memory.

The bytes go from file to file in pieces (`safetensors_writer`), in the order that
`safetensors_layout` gives them.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ascend_migrate.converters.safetensors_cast import Loss, cast
from ascend_migrate.converters.safetensors_layout import Stored, lay_out
from ascend_migrate.converters.safetensors_writer import Told, write_shards
from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.checkpoint.faults import named
from ascend_migrate.pipeline.checkpoint.mapped import map_file
from ascend_migrate.pipeline.checkpoint.safetensors_file import TIED, read_header
from ascend_migrate.pipeline.digest import bytes_digest, json_digest
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.records import Artifact, Form

_KEY = 16
"""Hex digits that tell one unfinished conversion from another in the same folder."""


def convert(  # noqa: PLR0913 - what the files depend on
    checkpoint: Checkpoint,
    into: Path,
    *,
    name: str = "model.safetensors",
    limit: int | None = None,
    dtype: str | None = None,
    parent: str | None = None,
    hashed: bool = True,
    told: Told | None = None,
) -> Artifact:
    """Writes all tensors of ``checkpoint`` to ``into / name``, or to several files.

    Tied tensors are stored once, under the first of their names; metadata name the others.

    Args:
        checkpoint: an opened checkpoint.
        into: an existing folder.
        name: of the file; a former one is replaced at the end, in one step.
        limit: largest number of data bytes in one file. What does not fit into one becomes
            numbered files with an index, as transformers writes them.
        dtype: what float32 tensors are cast to, one of `CASTS`; None keeps them. What the cast
            lost is in the notes, unless a former run has done a part of it.
        parent: digest of what the checkpoint stands for; None takes that of its files, which
            reads all of them once more.
        hashed: whether the files are hashed.
        told: is told how far the writing is.

    Raises:
        SourceError: a tensor cannot be read.
        ConversionError: a name that the format reserves, an element type that it lacks, or more
            names than a header holds.
        StoreError: a file cannot be written; nothing is left behind. A conversion that is killed
            leaves the files that are finished to the next one into the same folder.
    """
    tied = {alias: group[0] for group in checkpoint.shared for alias in group[1:]}
    tensors = [_stored(checkpoint, name) for name in checkpoint.tensors if name not in tied]
    loss = Loss()
    if dtype is not None:
        tensors = [cast(tensor, dtype, loss) for tensor in tensors]
    try:
        shards = lay_out(tensors, tied, name, limit)
    except ConversionError as error:
        raise ConversionError(f"{checkpoint.path}: {error}") from None
    views = [(name, repr(entry.view)) for name, entry in checkpoint.tensors.items()]
    headers = [(shard.name, bytes_digest(shard.header)) for shard in shards]
    key = json_digest([checkpoint.state(), checkpoint.key, views, headers])
    key = key.removeprefix("sha256:")[:_KEY]
    files = write_shards(shards, into, name, key=key, hashed=hashed, told=told)
    notes = [f"{alias!r} is tied to {stored!r} and stored once" for alias, stored in tied.items()]
    if dtype is not None and loss.tensors:
        notes.append(loss.said(dtype))
    return Artifact(
        form=Form.SAFETENSORS,
        root=into,
        entry=files[0].path,
        files=tuple(sorted(files, key=lambda file: file.path)),
        parent=checkpoint.digest if parent is None else parent,
        notes=tuple(notes),
    )


def _stored(checkpoint: Checkpoint, name: str) -> Stored:
    entry = checkpoint.tensors[name]
    pieces: partial[Iterator[memoryview]] = partial(checkpoint.pieces, name)
    return Stored(name, entry.dtype, entry.shape, pieces)


def read_tied(path: Path) -> dict[str, str]:
    """Returns the tied names of a file written by `convert`: alias -> name that is stored.

    Raises:
        SourceError: not a safetensors file.
    """
    with named(path, "safetensors"):
        header, _ = read_header(map_file(path))
        tied = json.loads(header.get("__metadata__", {}).get(TIED, "{}"))
        return {str(alias): str(stored) for alias, stored in tied.items()}
