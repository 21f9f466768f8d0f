"""DeepSpeed checkpoints of a pipeline: a file for each layer and each tensor-parallel rank.

``layer_LL-model_TT-model_states.pt`` is the state dict of layer LL. Its tensors get the number of
the layer before their names, as they have in a ``PipelineModule``.
Layout: deepspeed/runtime/pipe/module.py (``save_state_dict``).
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.folders import renamed
from ascend_migrate.pipeline.checkpoint.tensor_parallel import merge, plain_tensors
from ascend_migrate.pipeline.checkpoint.views import View

LAYER = re.compile(r"layer_(\d{1,5})-model_(\d{1,5})-model_states\.pt")


def layer_files(place: Path) -> dict[int, dict[int, str]]:
    """Returns the file of each rank of each layer; none where the model is in one piece.

    Raises:
        FormatError: a rank is missing, or a layer's file has an unknown name.
    """
    found: dict[int, dict[int, str]] = {}
    for name in sorted(path.name for path in place.iterdir()):
        match = LAYER.fullmatch(name)
        if match:
            ranks = found.setdefault(int(match[1]), {})
            if int(match[2]) in ranks:
                raise FormatError(f"holds the rank of {shown(name)} twice; refused")
            ranks[int(match[2])] = name
        elif re.match(r"layer_\d", name):
            raise FormatError(f"holds {shown(name)}: a layer in a file of an unknown kind")
    world = max((len(ranks) for ranks in found.values()), default=0)
    for layer, ranks in found.items():
        if sorted(ranks) != list(range(world)):
            raise FormatError(f"lacks the file of a rank of layer {layer}; get a complete copy")
    # Layers without parameters have no file; a missing one is found when the model is loaded.
    return dict(sorted(found.items()))


def read_layers(
    layers: Mapping[int, Mapping[int, str]],
    open_file: Callable[[str], dict[Any, Any]],
    files: dict[str, Path],
    storages: dict[str, Storage],
) -> Contents:
    """Joins the ranks of each layer.

    Args:
        layers: what `layer_files` found.
        open_file: opens one of them, and adds to the other two.
        files: what is read.
        storages: what the tensors are views of.

    Raises:
        FormatError: ranks that do not fit together.
    """
    source = Contents("deepspeed", None, storages)
    root: dict[str, View] = {}
    cut = 0
    for number, ranks in layers.items():
        states = []
        for name in (ranks[rank] for rank in sorted(ranks)):
            tensors = plain_tensors(open_file(name))
            renumbered = {f"{number}.{key}": view for key, view in tensors.items()}
            states.append(renamed(renumbered, name))
        merged, made, joined = merge(states, source, str(number))
        root |= merged
        storages.update(made)
        cut += joined
    world = len(next(iter(layers.values())))
    notes = (
        f"put together from {len(layers)} layers of a pipeline and {world} tensor-parallel "
        f"rank(s): {cut} tensors joined",
        "the weights of the model, without an optimizer's master weights",
    )
    return Contents("deepspeed", root, storages, "", notes, files)
