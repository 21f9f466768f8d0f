"""What ``inspect`` shows of a file: everything that can be seen without trusting it."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint import state_dict
from ascend_migrate.pipeline.checkpoint.checkpoint import dtype_counts, select, shared_groups
from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import named
from ascend_migrate.pipeline.checkpoint.formats import open_contents
from ascend_migrate.pipeline.checkpoint.views import View
from ascend_migrate.pipeline.errors import SourceError


def describe(path: Path) -> dict[str, Any]:
    """Describes a checkpoint or model file as plain JSON data; executes and imports nothing of it.

    Files that `open_checkpoint` refuses but that can be looked into safely (TorchScript archives,
    pickled modules, ONNX graphs, ambiguous checkpoints) are described with the reason under
    ``problem``, which is empty otherwise.

    Raises:
        SourceError: unreadable, unknown, damaged or hostile.
    """
    contents = open_contents(path)
    key, problem, notes = "", contents.refusal, contents.notes
    extra: tuple[str, ...] = ()
    views: dict[str, View] = {}
    if not problem:
        try:
            with named(path, contents.format):
                found = select(path, contents)
            views = {name: entry.view for name, entry in found.tensors.items()}
            key, extra, notes = found.key, found.extra, found.notes
        except SourceError as error:
            problem = str(error).removeprefix(f"{path}: ")
    if problem:
        views = state_dict.everything(contents.root)
    return {
        "path": str(path),
        "format": contents.format,
        "bytes": sum(file.stat().st_size for file in contents.files.values() or [path]),
        "problem": problem,
        "key": key,
        "keys": _keys(contents),
        "parameters": sum(math.prod(view.shape) for view in views.values()),
        "dtypes": dtype_counts(views),
        "devices": dict(Counter(view.device for view in views.values() if view.device)),
        "shared": [list(group) for group in shared_groups(views)],
        "extra": list(extra),
        "notes": list(notes),
        "tensors": [_row(name, view) for name, view in views.items()],
    }


def _keys(contents: Contents) -> list[str]:
    return [path for path in state_dict.candidates(contents.root) if path]


def _row(name: str, view: View) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": view.dtype,
        "shape": list(view.shape),
        "bytes": view.nbytes,
        "device": view.device,
    }
