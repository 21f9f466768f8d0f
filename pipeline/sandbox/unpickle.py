"""The process that makes a pickle's objects: ``python -m ... CHECKPOINT FOLDER SEARCH SECONDS``.

It first gives up its rights and prints which, as one line of JSON. Only then is anything of the
checkpoint read. It writes ``FOLDER/state.pt``: nested dicts and lists of plain tensors, which the
caller reads like any other file from a stranger; or ``FOLDER/failure``, a line of text.
"""

import json
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ascend_migrate.pipeline.sandbox.confine import Allowance, confine

STATE, FAILURE = "state.pt", "failure"

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/etc/ld.so.cache"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/dev/urandom"),
)
"""What Python and torch themselves read."""

_BASE_MEMORY = 4 << 30
"""Bytes for Python and torch, 1 GiB or so, and for what a class may do when it is made."""

_COPIES = 4
"""Of the weights: as read, as the objects keep them, as written, and one to spare."""

_MAX_DEPTH = 64


def main(checkpoint: Path, folder: Path, search: Path, seconds: int) -> None:
    """Confines this process, opens the checkpoint, and writes its tensors."""
    size = checkpoint.stat().st_size
    own = [Path(entry) for entry in (sys.prefix, sys.base_prefix, *sys.path) if entry]
    allowed = Allowance(
        read=(checkpoint, search, *own, *map(Path, _SYSTEM)),
        write=(folder, Path(os.devnull)),
        seconds=seconds,
        memory=_BASE_MEMORY + _COPIES * size,
        file_size=_BASE_MEMORY + _COPIES * size,
    )
    said = confine(allowed)
    import torch

    with checkpoint.open("rb") as stream:
        sys.stdout.write(json.dumps(said))
        sys.stdout.flush()
        _silence()
        sys.path.insert(0, str(search))
        try:
            state = plain(_load(stream))
            torch.save(state, folder / STATE)
        except BaseException as error:  # whatever the code raises
            text = f"{type(error).__name__}: {error}"
            (folder / FAILURE).write_text(text[:1000], encoding="utf-8")
            raise SystemExit(1) from None


def plain(value: Any) -> Any:
    """Returns nested dicts and lists of plain tensors and scalars; other objects as their type.

    Modules, and other objects with a ``state_dict``, become that dict.
    """
    return _Plain().of(value, 0)


class _Plain:
    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}  # with the objects, so that ids stay theirs

    def of(self, value: Any, depth: int) -> Any:
        import numpy as np
        import torch

        if value is None or type(value) in (bool, int, float, str):
            return value
        if id(value) in self._made:
            return self._made[id(value)][1]
        if depth > _MAX_DEPTH:
            raise ValueError(f"nests more than {_MAX_DEPTH} levels")
        if isinstance(value, torch.Tensor):
            made: Any = value.detach().as_subclass(torch.Tensor)
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            made = torch.from_numpy(np.ascontiguousarray(value))
        elif isinstance(value, Mapping):
            made = {}
            self._made[id(value)] = value, made
            for key, entry in value.items():
                made[key if type(key) in (str, int) else str(key)] = self.of(entry, depth + 1)
            return made
        elif isinstance(value, list | tuple):
            made = [self.of(entry, depth + 1) for entry in value]
        elif callable(getattr(value, "state_dict", None)) and not isinstance(value, type):
            made = self.of(dict(value.state_dict()), depth + 1)
        else:
            made = f"{type(value).__module__}.{type(value).__qualname__}"
        self._made[id(value)] = value, made
        return made


def _load(stream: BinaryIO) -> Any:
    import torch

    head = stream.read(512)
    stream.seek(0)
    bare = head[:1] in (b"\x80", b"(", b"c", b"}") and _MAGIC not in head[:32]
    if bare and head[257:262] != b"ustar":
        return pickle.load(stream)  # noqa: S301  asked for, and confined
    return torch.load(stream, map_location="cpu", weights_only=False)


_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
"""What torch.save wrote first before torch 1.6."""


def _silence() -> None:
    """Nothing that runs from here on can speak to the caller."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
