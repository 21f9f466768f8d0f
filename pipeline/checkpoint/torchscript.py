"""TorchScript archives: their weights, under the names that the module tree gives them.

The archive holds the module as a pickle of nested objects, and its program as source text. Of the
text only the two lists are read that say which attributes are parameters and buffers; nothing is
compiled. Layout: torch/csrc/jit/serialization, docs of ``torch.jit.save``.
"""

import re
from typing import Any

from ascend_migrate.pipeline.checkpoint.archive import Archive
from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE, archive_reader
from ascend_migrate.pipeline.checkpoint.pickled import foreign_refusal
from ascend_migrate.pipeline.checkpoint.torch_names import Inert
from ascend_migrate.pipeline.checkpoint.torch_records import unpickled
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View

_REMEDY = (
    "get the Python class and save its state_dict(), or export the ScriptModule to ONNX with "
    "torch.onnx.export(..., dynamo=False) on the machine where it is used and migrate that file"
)

_MAX_ENTRIES = 200_000
"""Attributes that are visited: a pickle may lead to one module by 2**40 paths."""

_MAX_DEPTH = 64
"""Levels of modules; real ones nest some ten deep."""


def _is_torchscript(archive: Archive) -> bool:
    names = archive.records.keys()
    return bool(archive.top) and (
        "constants.pkl" in names or any(name.startswith("code/") for name in names)
    )


@archive_reader("torchscript", _is_torchscript)
def read(archive: Archive) -> Contents:
    """Reads the parameters and buffers of a TorchScript archive.

    Raises:
        FormatError: damaged, hostile, or without names for its weights.
    """
    if "data.pkl" not in archive.records:
        raise FormatError(f"is a TorchScript archive of another layout; {_REMEDY}")
    root, used, machine = unpickled(archive)
    if machine.foreign:
        return Contents("torchscript", root, used, foreign_refusal(None, machine))
    if not isinstance(root, Inert) or not isinstance(root.state, dict):
        raise FormatError(f"is a TorchScript archive that holds no module; {_REMEDY}")
    found, notes = _Modules(archive).walk(root)
    if not found:
        raise FormatError(
            "is a TorchScript archive whose weights have no names: they became constants of its "
            f"program when it was frozen; {_REMEDY}"
        )
    notes.insert(0, "a TorchScript archive: its weights are read, its program is not")
    return Contents("torchscript", found, used, "", tuple(notes))


class _Modules:
    """The tree of modules in an archive, with the classes that its program declares."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._classes: dict[str, frozenset[str]] = {}

    def walk(self, root: Inert) -> tuple[dict[str, View | Unsupported], list[str]]:
        """Returns parameters and buffers by dotted name, and a line for each tensor left out."""
        found: dict[str, View | Unsupported] = {}
        notes: list[str] = []
        waiting: list[tuple[str, int, Inert]] = [("", 0, root)]
        visited = 0
        while waiting:
            prefix, depth, module = waiting.pop()
            inner = []
            for name, value in _attributes(module):
                visited += 1
                path = f"{prefix}{name}"
                if visited > _MAX_ENTRIES or depth > _MAX_DEPTH:
                    raise FormatError("nests its modules without end; refused")
                if isinstance(value, Inert) and _is_module(value):
                    inner.append((f"{path}.", depth + 1, value))
                elif isinstance(value, Inert) and value.name.startswith("__torch__.torch.classes."):
                    found[path] = Unsupported(
                        f"is packed into {shown(value.name.removeprefix('__torch__.'))}, which "
                        f"only torch's own code could open; {_REMEDY}"
                    )
                elif isinstance(value, View | Unsupported):
                    if name in self._registered(module.name):
                        found[path] = value
                    else:
                        notes.append(f"{shown(path)} is no parameter or buffer and is left out")
            waiting += reversed(inner)
        return found, notes

    def _registered(self, name: str) -> frozenset[str]:
        """Returns the parameters and buffers that the class ``name`` lists."""
        if name not in self._classes:
            self._classes[name] = self._read_class(name)
        return self._classes[name]

    def _read_class(self, name: str) -> frozenset[str]:
        module, _, own = name.rpartition(".")
        source = self._archive.records.get(f"code/{module.replace('.', '/')}.py")
        if source is None or source.nbytes > MAX_PICKLE:
            raise FormatError(f"lacks the declaration of {shown(name)}; {_REMEDY}")
        text = bytes(source.load()).decode()
        body = re.search(rf"^class {re.escape(own)}\(Module\):\n((?:  .*\n|\n)*)", text, re.M)
        if body is None:
            raise FormatError(f"lacks the declaration of {shown(name)}; {_REMEDY}")
        listed = re.findall(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", body[1], re.M)
        return frozenset(entry for line in listed for entry in re.findall(r'"([^"]+)"', line))


def _attributes(module: Inert) -> list[tuple[str, Any]]:
    state = module.state if isinstance(module.state, dict) else {}
    return [(name, value) for name, value in state.items() if isinstance(name, str)]


def _is_module(value: Inert) -> bool:
    return value.name.startswith("__torch__.") and isinstance(value.state, dict)
