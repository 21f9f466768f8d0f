"""Odd but valid folders of ranks, as no test of their readers has them."""

from pathlib import Path
from typing import Any

import torch
from tests.checkpoint import test_megatron as megatron
from tests.hostile.parallel import LATEST

BASE = torch.arange(64, dtype=torch.float32)


def ranks() -> dict[str, tuple[str, Any, Any]]:
    """Returns for each of them what is opened, what writes it, and what its tensors are."""
    state = megatron.whole(gated=False)
    some = {"1.mlp.dense_h_to_4h.weight": BASE.view(16, 4), "1.norm.weight": BASE[:4]}

    def pipeline(folder: Path) -> None:
        folder.mkdir()
        for rank, part in enumerate(BASE.view(16, 4).chunk(2)):
            held = {"mlp.dense_h_to_4h.weight": part.clone(), "norm.weight": BASE[:4].clone()}
            torch.save(held, folder / f"layer_1-model_{rank}-model_states.pt")
        torch.save({"module": None}, folder / "mp_rank_00_model_states.pt")
        (folder / "layer.txt").write_text("no layer")

    def renamed(folder: Path) -> None:
        megatron.write(folder, state, 2, 1)
        for rank in (folder / "iter_0000120").iterdir():
            rank.rename(rank.with_name(rank.name.replace("mp_rank_0", "mp_rank_0000")))
        (folder / LATEST).write_text(" 120\n")
        (folder / "iter_0000120/mp_rank_notes").mkdir()

    def release(folder: Path) -> None:
        megatron.write(folder, state, 1, 2)
        (folder / "iter_0000120").rename(folder / "release")
        (folder / LATEST).write_text("release")

    def odd(rank: dict[str, Any], tensor: int, stage: int) -> None:
        del stage
        rank["model"]["decoder.layers.0._extra_state"] = torch.full((9,), tensor)
        rank["model"]["layers of thought"] = BASE
        rank.update({"os.system": "touch canary", "checkpoint_version": None, "args": None})

    return {
        "a pipeline's layers under short names": ("x", pipeline, lambda path: some),
        "Megatron ranks under long names": ("x", renamed, lambda path: state),
        "a Megatron release": ("x", release, lambda path: state),
        "Megatron ranks with other things beside": (
            "x",
            lambda path: megatron.write(path, state, 2, 1, change=odd),
            lambda path: state | {"layers of thought": BASE},
        ),
        "an iteration by itself": (
            "x/iter_0000120",
            lambda path: megatron.write(path.parent, state, 4, 1),
            lambda path: state,
        ),
    }
