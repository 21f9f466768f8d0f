"""DeepSpeed checkpoints, ZeRO stages 0 to 3: the ranks' partitions put back into one state.

ZeRO 1 and 2 cut the concatenation of all parameters of a group into one piece for each rank; ZeRO 3
cuts each parameter. Both keep the float32 master weights with the optimizer, and those are taken.
Tensor-parallel ranks are merged once each of them is whole.
Layout: deepspeed/runtime/engine.py and deepspeed/utils/zero_to_fp32.py.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.deepspeed_layers import LAYER, layer_files, read_layers
from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.checkpoint.folders import confined, prefixed, renamed
from ascend_migrate.pipeline.checkpoint.formats import folder_reader, open_contents
from ascend_migrate.pipeline.checkpoint.partitions import (
    Pieces,
    Shapes,
    joined,
    merge_parts,
    merge_runs,
    streamed,
)
from ascend_migrate.pipeline.checkpoint.tensor_parallel import merge, plain_tensors
from ascend_migrate.pipeline.checkpoint.views import View, contiguous
from ascend_migrate.pipeline.dtypes import BY_NAME

_LATEST = "latest"
_OPTIMIZER = re.compile(r"(?:bf16_)?zero_pp_rank_(\d{1,6})_mp_rank_(\d{1,6})_optim_states\.pt")
_MODEL = re.compile(r"(?:zero_pp_rank_(\d{1,6})_)?mp_rank_(\d{1,6})_model_states\.pt")
_SHARDED = 3


def _claims(folder: Path) -> bool:
    names = [path.name for path in folder.iterdir()]
    return _LATEST in names or any(map(_MODEL.fullmatch, names)) or any(map(LAYER.fullmatch, names))


@folder_reader("deepspeed", _claims)
def read(folder: Path) -> Contents:
    """Opens a DeepSpeed checkpoint: the folder with ``latest``, or one of its ``global_step``.

    Raises:
        FormatError: ranks are missing, or the partitions do not make up the parameters.
        SourceError: a damaged or hostile file in it.
    """
    place = _newest(folder)
    _check_kind(place)
    files = {_LATEST: confined(folder, _LATEST)} if place != folder else {}
    opened = _Opened(folder, place, files, {})
    if layers := layer_files(place):
        return read_layers(layers, opened.open, files, opened.storages)
    models, optimizers = _ranks(place, _MODEL), _ranks(place, _OPTIMIZER)
    if not models:
        raise FormatError("has no mp_rank_00_model_states.pt; get a complete copy")
    if optimizers and optimizers.keys() != models.keys():
        raise FormatError("has model files and optimizer files of other ranks; get a complete copy")
    states = [_state(opened, models[rank], optimizers.get(rank, []), rank) for rank in models]
    notes = [states[0][1]]
    root: Any = states[0][0]
    if len(states) > 1:
        source = Contents("deepspeed", None, opened.storages)
        root, made, cut = merge([plain_tensors(state) for state, _ in states], source, "ranks")
        opened.storages.update(made)
        notes.append(f"put together from {len(states)} tensor-parallel ranks: {cut} tensors joined")
    return Contents("deepspeed", root, opened.storages, "", tuple(notes), files)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The files that were opened, and the storages in them."""

    folder: Path
    place: Path
    files: dict[str, Path]
    storages: dict[str, Storage]

    def open(self, name: str) -> dict[Any, Any]:
        """Opens a rank's file; its storages get the file's name before their own."""
        root, held = _open(self.place, name)
        self.files[str((self.place / name).relative_to(self.folder))] = self.place / name
        self.storages.update(held)
        return root


def _state(
    opened: _Opened, models: list[str], optimizers: list[str], rank: int
) -> tuple[dict[str, Any], str]:
    """Returns the state of one tensor-parallel rank, and a note on where it is from."""
    model = opened.open(models[0])
    module = _table(model, "module", models[0])
    if not optimizers:
        return module, "the weights of the model, without an optimizer's master weights"
    states = [_table(opened.open(name), "optimizer_state_dict", name) for name in optimizers]
    stage = _stage(states[0], len(optimizers))
    ranks = [
        _partitions(state, stage, name) for name, state in zip(optimizers, states, strict=True)
    ]
    groups = _groups(model.get("param_shapes"))
    shapes: dict[str, tuple[int, ...]] = {n: s for group in groups for n, s in group.items()}
    merged = (merge_parts if stage == _SHARDED else merge_runs)(ranks, groups)
    if frozen := model.get("frozen_param_shapes"):
        more = _groups(frozen)[0]
        merged |= _frozen(more, stage, [model, *map(opened.open, models[1:])], models)
        shapes |= more
    root: dict[str, Any] = {
        name: module[name] for name in model.get("buffer_names") or () if name in module
    }
    source = Contents("deepspeed", None, opened.storages)
    for name, pieces in merged.items():
        view = _merged(f"{rank}:{name}", shapes[name], pieces)
        load = partial(joined, tuple(pieces), source)
        made = len(pieces) != 1 or source.storages[pieces[0].storage].made
        stream = partial(streamed, tuple(pieces), source)
        opened.storages[view.storage] = Storage(view.nbytes, load, made, stream)
        root[name] = view
    root |= _tied(model, module, root)
    return root, f"master weights put together from {len(ranks)} ranks of ZeRO stage {stage}"


def _newest(folder: Path) -> Path:
    if not os.path.lexists(folder / _LATEST):
        return folder
    with named(folder / _LATEST, "deepspeed"):
        with confined(folder, _LATEST).open("rb") as stream:
            tag = stream.read(256).decode().strip()
        if not re.fullmatch(r"[\w.+-]{1,200}", tag) or tag in (".", ".."):
            raise FormatError(f"names the step {shown(tag)}, which is no folder beside it")
        if not (folder / tag).is_dir() or (folder / tag).is_symlink():
            raise FormatError(f"names the step {shown(tag)}, which is not there; get a full copy")
    return folder / tag


def _check_kind(place: Path) -> None:
    for name in sorted(path.name for path in place.iterdir()):
        if "_expert_" in name:
            raise FormatError(
                f"holds {shown(name)}: experts in files of their own, which are not read; gather "
                "the model with DeepSpeed and save its state_dict()"
            )


def _ranks(place: Path, pattern: re.Pattern[str]) -> dict[int, list[str]]:
    """Returns, for each tensor-parallel rank, the files of the data-parallel ones, in order.

    Raises:
        FormatError: one is missing.
    """
    found: dict[int, dict[int, str]] = {}
    for name in sorted(path.name for path in place.iterdir()):
        if match := pattern.fullmatch(name):
            ranks = found.setdefault(int(match[2]), {})
            if int(match[1] or 0) in ranks:
                raise FormatError(f"holds the rank of {shown(name)} twice; refused")
            ranks[int(match[1] or 0)] = name
    for numbers in (sorted(found), *map(sorted, found.values())):
        if numbers != list(range(len(numbers))):
            raise FormatError(f"lacks the file of a rank: it has {numbers[:16]}; get a full copy")
    if len({len(ranks) for ranks in found.values()}) > 1:
        raise FormatError("has more files of some tensor-parallel ranks than of others; damaged")
    return {rank: [found[rank][n] for n in sorted(found[rank])] for rank in sorted(found)}


def _open(place: Path, name: str) -> tuple[dict[Any, Any], dict[str, Storage]]:
    """Opens one rank's file; its storages have the file's name before their own."""
    confined(place, name)
    contents = open_contents(place / name, ("torch-zip", "torch-legacy"))
    with named(place / name, contents.format):
        if contents.refusal or not isinstance(contents.root, dict):
            raise FormatError(contents.refusal or "holds no dict at the top level; damaged")
        _, storages = prefixed(name, place / name, contents)
        return contents.root, storages


def _table(root: Mapping[Any, Any], key: str, file: str) -> dict[Any, Any]:
    """Returns a dict of one rank's file; its tensors' storages get the names that `_open` gave."""
    found = root.get(key)
    if not isinstance(found, dict):
        raise FormatError(f"lacks {key} in {file}; damaged, or of an unknown release")
    return dict(renamed(found, file))


def _stage(state: Mapping[str, Any], files: int) -> int:
    stage, world = state.get("zero_stage"), state.get("partition_count")
    world = max(world) if isinstance(world, list) and world else world
    if stage not in (1, 2, _SHARDED) or world != files:
        raise FormatError(
            f"was written by {shown(world)} ranks at ZeRO stage {shown(stage)}, and has the files "
            f"of {files}; get a complete copy"
        )
    return int(stage)


def _partitions(state: Mapping[str, Any], stage: int, file: str) -> list[View]:
    key = "fp32_flat_groups" if stage == _SHARDED else "single_partition_of_fp32_groups"
    tensors = state.get(key)
    if not isinstance(tensors, list):
        raise FormatError(f"lacks {key} in {file}; damaged, or of an unknown release")
    return [_flat(tensor, file) for tensor in tensors]


def _flat(tensor: Any, file: str) -> View:
    if not isinstance(tensor, View) or len(tensor.shape) != 1 or not tensor.as_stored:
        raise FormatError(f"holds a partition in {file} that is no flat tensor; damaged")
    return replace(tensor, storage=f"{file}:{tensor.storage}")


def _groups(value: Any) -> list[Shapes]:
    groups = value if isinstance(value, list) else [value]
    for shapes in groups:
        if not isinstance(shapes, dict) or not all(
            isinstance(name, str) and isinstance(shape, tuple) and all(map(_natural, shape))
            for name, shape in shapes.items()
        ):
            raise FormatError("has no param_shapes with the sizes of its parameters; damaged")
    return groups


def _natural(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _frozen(
    shapes: Shapes, stage: int, models: list[dict[Any, Any]], names: list[str]
) -> dict[str, Pieces]:
    """Parameters that were not trained, and so are with the model and not with the optimizer."""
    tables = [_table(m, "frozen_param_fragments", n) for m, n in zip(models, names, strict=True)]
    if stage != _SHARDED:
        tables = tables[:1]
    found: dict[str, Pieces] = {}
    for name, shape in shapes.items():
        ranks = [[_flattened(table.get(name), name)] for table in tables]
        found |= merge_parts(ranks, [{name: shape}])
    return found


def _flattened(tensor: Any, name: str) -> View:
    if not isinstance(tensor, View) or not tensor.as_stored:
        raise FormatError(f"lacks the values of the frozen parameter {shown(name)}; damaged")
    numel = tensor.nbytes // BY_NAME[tensor.dtype].itemsize
    return replace(tensor, shape=(numel,), stride=(1,))


def _merged(name: str, shape: tuple[int, ...], pieces: Pieces) -> View:
    dtype = pieces[0].dtype if pieces else "float32"
    return View(f"merged:{name}", dtype, shape, contiguous(shape), 0)


def _tied(
    model: Mapping[Any, Any], module: Mapping[str, Any], root: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters that are another one under a second name: listed, or the same view."""
    listed = model.get("shared_params")
    pairs = dict(listed) if isinstance(listed, dict) else {}
    first: dict[View, str] = {}
    for name, value in module.items():
        if isinstance(value, View) and 0 not in value.shape and name in root:
            first.setdefault(value, name)
    for name, value in module.items():
        if isinstance(value, View) and name not in root and value in first:
            pairs.setdefault(name, first[value])
    return {name: root[other] for name, other in pairs.items() if other in root}
