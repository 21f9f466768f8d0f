"""Hugging Face folders: one weights file, or an index and the shards that it names.

Nothing else in the folder is opened: ``training_args.bin``, say, is a pickle of Python objects.
Layout: transformers' ``save_pretrained`` and the Hub's sharding convention.
"""

import os
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.folders import confined, prefixed, read_json
from ascend_migrate.pipeline.checkpoint.formats import folder_reader, open_contents, reader
from ascend_migrate.pipeline.checkpoint.views import View

_STEMS = ("model", "pytorch_model", "diffusion_pytorch_model", "adapter_model")
"""How transformers, diffusers and peft name their weights."""

_INDEX = ".index.json"
_FORMATS = {".safetensors": ("safetensors",), ".bin": ("torch-zip", "torch-legacy", "safetensors")}
"""Formats behind a suffix; some libraries write safetensors under the name ``.bin``."""

_PREFERRED = [
    f"{stem}{suffix}{index}" for suffix in _FORMATS for stem in _STEMS for index in ("", _INDEX)
]
"""safetensors before pickles and whole files before shards, as transformers chooses."""


def _present(folder: Path) -> list[str]:
    # A dangling link counts: that a preferred file is missing must be said.
    return [name for name in _PREFERRED if os.path.lexists(folder / name)]


@folder_reader("hugging-face", lambda folder: bool(_present(folder)))
def read(folder: Path) -> Contents:
    """Opens the weights of a folder.

    Raises:
        FormatError: an index that does not fit its shards, or that leads out of the folder.
        SourceError: a damaged or hostile file in it.
    """
    name, *others = _present(folder)
    path = confined(folder, name)
    notes = [f"read from {name}"]
    if others:
        notes.append(f"not read, since {name} comes first: {', '.join(others)}")
    if name.endswith(_INDEX):
        with named(folder / name, "an index"):
            return _sharded(folder, name, tuple(notes))
    # The link is opened, not its target: a blob of the Hub's cache says little in a message.
    opened = open_contents(folder / name, _FORMATS[Path(name).suffix])
    return Contents(
        "hugging-face",
        opened.root,
        opened.storages,
        opened.refusal,
        (*notes, *opened.notes),
        {name: path},
    )


@reader("hugging-face-index", lambda head: head.lstrip()[:1] == b"{" and b'"weight_map"' in head)
def read_index(path: Path) -> Contents:
    """Opens the shards that an index names.

    Raises:
        FormatError: the index does not fit its shards, or leads out of its folder.
        SourceError: a damaged or hostile shard.
    """
    return _sharded(path.parent, path.name, ())


def _sharded(folder: Path, name: str, notes: tuple[str, ...]) -> Contents:
    by_shard = _by_shard(read_json(folder / name))
    suffix = Path(name.removesuffix(_INDEX)).suffix
    allowed = _FORMATS.get(suffix, _FORMATS[".bin"])
    files = {name: confined(folder, name)}
    tree: dict[str, Any] = {}
    storages: dict[str, Storage] = {}
    everywhere = set().union(*by_shard.values())
    for shard, listed in by_shard.items():
        files[shard] = confined(folder, shard)
        opened = open_contents(folder / shard, allowed)
        with named(folder / shard, opened.format):
            _check_shard(opened, name, listed, everywhere)
        found, held = prefixed(shard, folder / shard, opened)
        if twice := tree.keys() & found.keys():
            raise FormatError(f"holds tensor {shown(min(twice))} in two shards; refused")
        tree |= found
        storages |= held
    return Contents("hugging-face", tree, storages, "", (*notes, f"{len(by_shard)} shards"), files)


def shard_names(path: Path) -> list[str]:
    """Returns the files that an index names; none of a file that is no index.

    Raises:
        SourceError: a damaged index, or one that leads out of its folder.
    """
    if not path.name.endswith(_INDEX):
        return []
    with named(path, "an index"):
        shards = list(_by_shard(read_json(path)))
        for shard in shards:
            confined(path.parent, shard)
        return shards


def _by_shard(index: Any) -> dict[str, set[str]]:
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not table:
        raise FormatError("has no weight_map that says which shard holds which tensor; damaged")
    found: dict[str, set[str]] = {}
    for tensor, shard in table.items():
        if not isinstance(shard, str):
            raise FormatError(f"names no file for tensor {shown(tensor)}; damaged")
        found.setdefault(shard, set()).add(tensor)
    return dict(sorted(found.items()))


def _second_names(root: dict[Any, Any], listed: set[str], everywhere: set[str]) -> set[Any]:
    """Returns names that no index lists, as tied tensors are stored under one name alone."""
    views = {value for name, value in root.items() if name in listed and isinstance(value, View)}
    others = {name: value for name, value in root.items() if name not in everywhere}
    return {name for name, value in others.items() if isinstance(value, View) and value in views}


def _check_shard(opened: Contents, index: str, listed: set[str], everywhere: set[str]) -> None:
    if opened.refusal:
        raise FormatError(opened.refusal)
    if not isinstance(opened.root, dict):
        raise FormatError("holds no dict of tensors at the top level; not a shard")
    there = set(opened.root) - _second_names(opened.root, listed, everywhere)
    if missing := listed - there:
        raise FormatError(
            f"lacks tensor {shown(min(missing))}, which {index} places in it; get a complete copy"
        )
    if more := there - listed:
        raise FormatError(
            f"holds tensor {shown(min(more, key=str))}, which {index} places elsewhere or nowhere; "
            "get index and shards of one and the same version"
        )
