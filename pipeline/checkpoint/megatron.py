"""Megatron-LM checkpoints: one folder for each rank, merged back to the state of one process.

``mp_rank_TT`` or ``mp_rank_TT_PPP`` is the folder of tensor-parallel rank TT in pipeline stage PPP.
A stage numbers its layers from 0, and so does each of its chunks where stages are interleaved.
Layout: megatron/training/checkpointing.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.folders import confined, prefixed, renamed
from ascend_migrate.pipeline.checkpoint.formats import folder_reader, open_contents
from ascend_migrate.pipeline.checkpoint.tensor_parallel import merge, plain_tensors, same
from ascend_migrate.pipeline.checkpoint.torch_names import Inert
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View

_LATEST = "latest_checkpointed_iteration.txt"
_RANK = re.compile(r"(?:mp|tp)_rank_(\d{2,6})(?:(?:_pp_rank)?_(\d{3,6}))?(_\d{3,6})?")
_FILES = ("model_optim_rng.pt", "model_rng.pt", "model_weights.ckpt")
_CHUNK = re.compile(r"model(\d{1,3})")
_LAYER = re.compile(r"((?:.*\.)?layers\.)(\d{1,5})(\..*)")

_GROUPED_BY_HEAD = 2.0
"""Version of the files from which on a rank keeps queries, keys and values by heads."""

_MAX_DEPTH = 16

Rank = dict[str, View]


def _claims(folder: Path) -> bool:
    return (folder / _LATEST).is_file() or bool(_rank_folders(folder))


@folder_reader("megatron", _claims)
def read(folder: Path) -> Contents:
    """Opens a Megatron checkpoint: the folder with the latest iteration's name, or an iteration's.

    Raises:
        FormatError: ranks are missing, or do not fit together.
        SourceError: a damaged or hostile file in it.
    """
    place = _newest(folder)
    files = {_LATEST: confined(folder, _LATEST)} if place != folder else {}
    ranks = _ranks(place)
    if not ranks:
        return open_contents(place)  # a distributed checkpoint, as newer releases write it
    storages: dict[str, Storage] = {}
    chunks: dict[tuple[int, int], dict[int, Rank]] = {}
    left: dict[str, None] = {}
    stages = max(stage for _, stage in ranks) + 1
    for (number, stage), name in ranks.items():
        files[str((place / name).relative_to(folder))] = place / name
        root, held = _open(place, name)
        storages.update(held)
        with named(place / name, "megatron"):
            _check_sizes(root, len(ranks) // stages, stages)
            left |= dict.fromkeys(map(str, set(root) - {"args", "checkpoint_version"}))
            for chunk, tensors in _models(root, name).items():
                chunks.setdefault((chunk, stage), {})[number] = tensors
    views, cut = _joined(chunks, storages, len(ranks) // stages)
    note = (
        f"put together from {len(ranks) // stages} tensor-parallel ranks and {stages} pipeline "
        f"stage(s): {cut} tensors joined, the others the same in all ranks"
    )
    others = ", ".join(sorted(name for name in left if not _is_model(name)))
    notes = (note, f"left out: {others}") if others else (note,)
    return Contents("megatron", views, storages, "", notes, files)


def _joined(
    chunks: Mapping[tuple[int, int], Mapping[int, Rank]], storages: dict[str, Storage], world: int
) -> tuple[Rank, int]:
    """Joins the ranks of each chunk of each stage, in the order of the model.

    Args:
        chunks: by the numbers of chunk and stage, the tensors of each rank.
        storages: what the tensors are views of; grows by what is made.
        world: number of ranks.

    Returns:
        All tensors, and how many of them were cut up.
    """
    source = Contents("megatron", None, storages)
    views: Rank = {}
    cut = 0
    offsets: dict[str, int] = {}
    for number, part in enumerate(sorted(chunks)):
        shards = [chunks[part][rank] for rank in sorted(chunks[part])]
        if len(shards) != world:
            raise FormatError(f"has a part of the model that only {len(shards)} rank(s) hold")
        merged, made, parts = merge([_renumbered(s, offsets) for s in shards], source, str(number))
        _advance(shards[0], offsets)
        storages.update(made)
        for name in sorted(views.keys() & merged.keys()):  # embeddings tied to the last stage
            merged[name], held = same(name, [views[name], merged[name]], source, f"same {number}")
            storages[merged[name].storage] = held
        views |= merged
        cut += parts
    return views, cut


def _newest(folder: Path) -> Path:
    if not (folder / _LATEST).exists():
        return folder
    with named(folder / _LATEST, "megatron"):
        with confined(folder, _LATEST).open("rb") as stream:
            text = stream.read(64).decode().strip()
        if not re.fullmatch(r"release|\d{1,9}", text):
            raise FormatError(f"names the iteration {shown(text)}, which is no number")
        name = text if text == "release" else f"iter_{int(text):07d}"
        if not (folder / name).is_dir() or (folder / name).is_symlink():
            raise FormatError(f"names {name}, which is not there; get a complete copy")
    return folder / name


def _rank_folders(place: Path) -> list[str]:
    return sorted(p.name for p in place.iterdir() if _RANK.fullmatch(p.name) and p.is_dir())


def _ranks(place: Path) -> dict[tuple[int, int], str]:
    """Returns the file of each tensor-parallel rank of each stage.

    Raises:
        FormatError: one is missing, or the model is split in another way as well.
    """
    found: dict[tuple[int, int], str] = {}
    for name in _rank_folders(place):
        match = _RANK.fullmatch(name)
        if match is None or match[3]:
            raise FormatError(
                f"holds {shown(name)}: experts in folders of their own, which are not read; save "
                "it with --ckpt-convert-format torch_dist"
            )
        file = next((f for f in _FILES if (place / name / f).is_file()), _FILES[0])
        rank = int(match[1]), int(match[2] or 0)
        if rank in found:
            raise FormatError(f"holds rank {rank} twice, once in {shown(name)}; refused")
        found[rank] = f"{name}/{file}"
    sizes = [max((rank[axis] for rank in found), default=-1) + 1 for axis in (0, 1)]
    if len(found) != sizes[0] * sizes[1]:
        raise FormatError(f"has the folders of {len(found)} ranks and lacks some; get a full copy")
    return found


def _open(place: Path, name: str) -> tuple[dict[Any, Any], dict[str, Storage]]:
    path = confined(place, name)
    contents = open_contents(place / name, ("torch-zip", "torch-legacy"))
    with named(place / name, contents.format):
        if contents.refusal or not isinstance(contents.root, dict):
            raise FormatError(contents.refusal or "holds no dict at the top level; damaged")
        _, storages = prefixed(name, path, contents)
        return contents.root, storages


def _check_sizes(root: Mapping[Any, Any], tensor: int, pipeline: int) -> None:
    """Compares what is there with what was running, as far as the file says."""
    args = root.get("args")
    state = args.state if isinstance(args, Inert) and isinstance(args.state, dict) else {}
    for key, there in (
        ("tensor_model_parallel_size", tensor),
        ("pipeline_model_parallel_size", pipeline),
        ("expert_model_parallel_size", 1),
    ):
        said = state.get(key)
        if type(said) is int and said != there:
            raise FormatError(f"was written with {key} {said}, and folders for {there} are there")
    version = root.get("checkpoint_version")
    if tensor > 1 and isinstance(version, int | float) and version < _GROUPED_BY_HEAD:
        raise FormatError(
            f"is of version {version}, whose ranks order queries, keys and values in another way; "
            "load and save it with a newer Megatron-LM"
        )


def _is_model(name: str) -> bool:
    return name in ("model", "state_dict") or bool(_CHUNK.fullmatch(name))


def _models(root: Mapping[Any, Any], file: str) -> dict[int, Rank]:
    """Returns the tensors of each chunk of the model, by dotted name."""
    found: dict[int, Rank] = {}
    for key, value in root.items():
        if isinstance(key, str) and _is_model(key):
            number = _CHUNK.fullmatch(key)
            flat = plain_tensors(_flat(value))
            found[int(number[1]) if number else 0] = renamed(flat, file)
    if not found:
        raise FormatError("holds no model; damaged, or of another program")
    return found


def _flat(tree: Any) -> dict[str, Any]:
    """Returns the tensors of nested dicts under dotted names, in order."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, int, Any]] = [("", 0, tree)]
    while waiting:
        prefix, depth, value = waiting.pop()
        if depth > _MAX_DEPTH:
            raise FormatError(f"nests its model more than {_MAX_DEPTH} levels deep; refused")
        if isinstance(value, View | Unsupported):
            if prefix in found:
                raise FormatError(f"holds two tensors under the name {shown(prefix)}; refused")
            if not prefix.endswith("_extra_state"):  # scales of Transformer Engine, of each rank
                found[prefix] = value
        elif isinstance(value, dict):
            waiting += [
                (f"{prefix}.{key}" if prefix else str(key), depth + 1, inner)
                for key, inner in reversed(value.items())
            ]
    return found


def _renumbered(tensors: Rank, offsets: Mapping[str, int]) -> Rank:
    found = {}
    for name, view in tensors.items():
        layer = _LAYER.fullmatch(name)
        if layer:
            name = f"{layer[1]}{int(layer[2]) + offsets.get(layer[1], 0)}{layer[3]}"  # noqa: PLW2901
        if name in found:
            raise FormatError(f"holds tensor {shown(name)} twice, in two spellings; refused")
        found[name] = view
    return found


def _advance(tensors: Rank, offsets: dict[str, int]) -> None:
    """Counts the layers of a chunk, which the next chunk's follow."""
    layers: dict[str, set[int]] = {}
    for match in filter(None, map(_LAYER.fullmatch, tensors)):
        layers.setdefault(match[1], set()).add(int(match[2]))
    for stack, numbers in layers.items():
        if numbers != set(range(len(numbers))):
            raise FormatError(f"numbers its {shown(stack)} not from 0 on in a stage; damaged")
        offsets[stack] = offsets.get(stack, 0) + len(numbers)
