"""A MindIR model that is several graphs: the index that says which file serves which sizes.

The index is the entry of the artifact, a JSON file of its own::

    {"schema": "ascend-migrate/buckets/1",
     "buckets": [{"file": "model.time=16.mindir", "sizes": {"time": 16}}, ...]}

A dimension that no bucket names is dynamic in every graph. The graphs share a file of weights.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.mindir_format import external_files
from ascend_migrate.pipeline.onnx_signature import confined
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.pipeline.records import Artifact

INDEX = "model.buckets.json"

SCHEMA = "ascend-migrate/buckets/1"

_LIMIT = 1 << 20
"""Bytes: a bucket takes some hundred, and there are at most 64."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One graph.

    Attributes:
        file: its ``.mindir`` file, beside the index.
        sizes: the fixed size of each dimension, by name.
    """

    file: str
    sizes: Mapping[str, int]

    def __str__(self) -> str:
        return " ".join(f"{name}={size}" for name, size in self.sizes.items())


def is_index(path: Path) -> bool:
    """Whether the name is that of an index."""
    return path.name.endswith(".buckets.json")


def write_index(folder: Path, buckets: Sequence[Bucket]) -> str:
    """Writes the index into ``folder`` and returns its name; same buckets, same bytes."""
    described = [{"file": bucket.file, "sizes": dict(bucket.sizes)} for bucket in buckets]
    document = {"schema": SCHEMA, "buckets": described}
    (folder / INDEX).write_bytes(canonical_json(document))
    return INDEX


def read_index(path: Path) -> tuple[Bucket, ...]:
    """Reads an index; its files exist.

    Raises:
        SourceError: it is missing, damaged, of another version, or names a file outside its folder.
    """
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError("it is too large")
        document = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        buckets = tuple(
            Bucket(str(item["file"]), {str(n): int(s) for n, s in item["sizes"].items()})
            for item in document["buckets"]
        )
        if not buckets or any("/" in b.file or not b.file.endswith(".mindir") for b in buckets):
            raise ValueError("it names no graph, or something else")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = in_one_line(error)
        raise SourceError(
            f"{path}: not an index of MindIR graphs ({reason}); convert the model again"
        ) from error
    for bucket in buckets:
        confined(path, bucket.file)
    return buckets


def graphs_of(path: Path) -> list[Path]:
    """Returns the ``.mindir`` files of a MindIR model: ``path`` itself, or those of an index.

    Raises:
        SourceError: the index cannot be read.
    """
    return [path.parent / b.file for b in read_index(path)] if is_index(path) else [path]


def files_beside(path: Path) -> list[str]:
    """Returns the files that a MindIR model needs beside ``path``, relative to it, sorted.

    Raises:
        SourceError: one of the files is damaged, leaves the folder or does not exist.
    """
    graphs = graphs_of(path)
    names = {graph.name for graph in graphs if graph != path}
    return sorted(names.union(*(external_files(graph) for graph in graphs)))


def parts(artifact: Artifact) -> list[Artifact]:
    """Returns an artifact for each graph of an index; any other artifact as it is.

    Raises:
        SourceError: the index cannot be read.
    """
    if not is_index(artifact.path):
        return [artifact]
    return [replace(artifact, entry=bucket.file) for bucket in read_index(artifact.path)]
