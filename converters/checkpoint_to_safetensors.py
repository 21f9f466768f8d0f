"""Checkpoint -> model.safetensors, bit-equal, deterministic, one tensor in memory at a time.

The header is written here because the reference writer needs all tensors in memory and does not
align the data for readers that map the file. Layout: README of huggingface/safetensors.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline.checkpoint import Checkpoint, TensorEntry
from ascend_migrate.pipeline.checkpoint.contents import map_file
from ascend_migrate.pipeline.checkpoint.faults import named, shown
from ascend_migrate.pipeline.checkpoint.safetensors_file import MAX_HEADER, TIED, read_header
from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.durable import storing, sync_file, sync_folder, temporary_folder
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.records import Artifact, Form

_ALIGNMENT = 64
"""The data begin on a cache line, so that mapped tensors are aligned for every vector unit."""


def convert(checkpoint: Checkpoint, into: Path, *, name: str = "model.safetensors") -> Artifact:
    """Writes all tensors of ``checkpoint`` to ``into / name``.

    Tied tensors are stored once, under the first of their names; metadata name the others.

    Args:
        checkpoint: an opened checkpoint.
        into: an existing folder.
        name: of the file; a former one is replaced at the end, in one step.

    Raises:
        SourceError: a tensor cannot be read.
        ConversionError: a name that the format reserves, an element type that it lacks, or more
            names than a header holds.
        StoreError: the file cannot be written; nothing is left behind.
    """
    tied = {alias: group[0] for group in checkpoint.shared for alias in group[1:]}
    entries = _stored_order([e for n, e in checkpoint.tensors.items() if n not in tied])
    header = _header(checkpoint, entries, tied)
    with temporary_folder(into) as folder:
        _write(folder / name, header, checkpoint, entries)
        with storing(into / name):
            sync_file(folder / name)
            (folder / name).replace(into / name)
            sync_folder(into)
    notes = [f"{alias!r} is tied to {stored!r} and stored once" for alias, stored in tied.items()]
    return Artifact.of(Form.SAFETENSORS, into, [name], parent=checkpoint.digest, notes=notes)


def read_tied(path: Path) -> dict[str, str]:
    """Returns the tied names of a file written by `convert`: alias -> name that is stored.

    Raises:
        SourceError: not a safetensors file.
    """
    with named(path, "safetensors"):
        header, _ = read_header(map_file(path))
        tied = json.loads(header.get("__metadata__", {}).get(TIED, "{}"))
        return {str(alias): str(stored) for alias, stored in tied.items()}


def _stored_order(entries: Sequence[TensorEntry]) -> list[TensorEntry]:
    """Sorts as the reference writer does: widest elements first, so that all are aligned."""
    return sorted(entries, key=lambda entry: (-BY_NAME[entry.dtype].itemsize, entry.name))


def _header(checkpoint: Checkpoint, entries: Sequence[TensorEntry], tied: dict[str, str]) -> bytes:
    """Returns the length field and the padded header."""
    if "__metadata__" in checkpoint.tensors:
        raise ConversionError(
            f"{checkpoint.path}: safetensors reserves the name '__metadata__'; rename that tensor"
        )
    metadata = {"format": "pt"}
    if tied:
        metadata[TIED] = canonical_json(tied).decode()
    table: dict[str, object] = {"__metadata__": metadata}
    at = 0
    for entry in entries:
        spelled = BY_NAME[entry.dtype].safetensors
        if spelled is None:
            raise ConversionError(
                f"{checkpoint.path}: tensor {shown(entry.name)} is {entry.dtype}, which the format "
                "does not have; leave it out with --drop, or store it as another type"
            )
        table[entry.name] = {
            "dtype": spelled,
            "shape": list(entry.shape),
            "data_offsets": [at, at + entry.nbytes],
        }
        at += entry.nbytes
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ConversionError(f"{checkpoint.path}: too many tensors for one safetensors file")
    return struct.pack("<Q", len(text)) + text


def _write(
    path: Path, header: bytes, checkpoint: Checkpoint, entries: Sequence[TensorEntry]
) -> None:
    with storing(path), path.open("xb") as stream:
        stream.write(header)
        for entry in entries:
            # Reading turns its own OSErrors into SourceErrors, so that `storing` sees only ours.
            # Written from where it is: `tobytes` would be a second copy.
            stream.write(checkpoint.read(entry.name).reshape(-1).view(np.uint8).data)
