"""Megatron folders: a whole state cut up as Megatron cuts it, and put back together."""

import argparse
import enum
import io
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.reference import assert_equal, assert_refused, payload

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import SourceError

HIDDEN, INNER, VOCABULARY, LAYERS = 8, 12, 16, 4
torch.manual_seed(29)


def block(gated: bool) -> dict[str, torch.Tensor]:
    outer = INNER * (2 if gated else 1)
    return {
        "self_attention.linear_qkv.weight": torch.randn(3 * HIDDEN, HIDDEN),
        "self_attention.linear_qkv.bias": torch.randn(3 * HIDDEN),
        "self_attention.linear_qkv.layer_norm_weight": torch.randn(HIDDEN),
        "self_attention.linear_proj.weight": torch.randn(HIDDEN, HIDDEN),
        "self_attention.linear_proj.bias": torch.randn(HIDDEN),
        "mlp.linear_fc1.weight": torch.randn(outer, HIDDEN),
        "mlp.linear_fc1.bias": torch.randn(outer),
        "mlp.linear_fc2.weight": torch.randn(HIDDEN, INNER).bfloat16(),
    }


OLD_NAMES = {
    "embedding.word_embeddings": "language_model.embedding.word_embeddings",
    "embedding.position_embeddings": "language_model.embedding.position_embeddings",
    "decoder.layers": "language_model.encoder.layers",
    "decoder.final_layernorm": "language_model.encoder.final_layernorm",
    "output_layer": "language_model.output_layer",
    "linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "linear_qkv": "query_key_value",
    "self_attention.linear_proj": "self_attention.dense",
    "linear_fc1": "dense_h_to_4h",
    "linear_fc2": "dense_4h_to_h",
}


def whole(gated: bool) -> dict[str, torch.Tensor]:
    """The state of one process, in the names of Megatron Core."""
    state = {
        "embedding.word_embeddings.weight": torch.randn(VOCABULARY, HIDDEN),
        "embedding.position_embeddings.weight": torch.randn(6, HIDDEN),
    }
    for layer in range(LAYERS):
        state |= {f"decoder.layers.{layer}.{n}": t for n, t in block(gated).items()}
    return state | {
        "decoder.final_layernorm.weight": torch.randn(HIDDEN),
        "output_layer.weight": torch.randn(VOCABULARY, HIDDEN),
    }


def older(name: str) -> str:
    for new, old in OLD_NAMES.items():
        name = name.replace(new, old)
    return name


ROWS = ("linear_qkv.weight", "linear_qkv.bias", "linear_fc1.weight", "linear_fc1.bias")
VOCABULARIES = ("word_embeddings.weight", "output_layer.weight")
COLUMNS = ("linear_proj.weight", "linear_fc2.weight")


def shard(name: str, tensor: torch.Tensor, rank: int, world: int, gated: bool) -> torch.Tensor:
    """What one tensor-parallel rank holds."""
    if gated and "linear_fc1" in name:
        gate, value = (half.chunk(world)[rank] for half in tensor.chunk(2))
        return torch.cat([gate, value])
    if name.endswith((*ROWS, *VOCABULARIES)):
        return tensor.chunk(world)[rank].clone()
    if name.endswith(COLUMNS):
        return tensor.chunk(world, dim=1)[rank].clone()
    return tensor.clone()


def stage_of(name: str, stages: int, chunks: int) -> tuple[int, int, str]:
    """Returns the stage and the chunk that hold a tensor, and its name there."""
    if not name.startswith("decoder.layers."):
        last = name.startswith(("decoder.final", "output_layer"))
        return (stages - 1, chunks - 1, name) if last else (0, 0, name)
    number = int(name.split(".")[2])
    each = LAYERS // (stages * chunks)
    block, local = divmod(number, each)
    rest = name.split(".", 3)[3]
    return block % stages, block // stages, f"decoder.layers.{local}.{rest}"


def nested(flat: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Older files nest their dicts down to the layers."""
    tree: dict[str, Any] = {}
    for name, tensor in flat.items():
        tree.setdefault("language_model", {}).setdefault(name.split(".")[1], {})[
            name.split(".", 2)[2]
        ] = tensor
    return tree


Change = Callable[[dict[str, Any], int, int], Any]


def write(  # noqa: PLR0913
    folder: Path,
    state: dict[str, torch.Tensor],
    tensor: int,
    pipeline: int,
    *,
    gated: bool = False,
    chunks: int = 1,
    old: bool = False,
    change: Change = lambda rank, t, p: None,
) -> Path:
    """Writes a checkpoint as ``save_checkpoint`` of Megatron-LM lays it out."""
    place = folder / "iter_0000120"
    place.mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text("120")
    for t in range(tensor):
        for p in range(pipeline):
            models: list[dict[str, Any]] = [{} for _ in range(chunks)]
            for name, value in state.items():
                stage, chunk, local = stage_of(name, pipeline, chunks)
                if stage == p:
                    cut = shard(name, value, t, tensor, gated)
                    models[chunk][older(local) if old else local] = cut
            if old:
                models = [nested(model) for model in models]
            names = ["model"] if chunks == 1 else [f"model{i}" for i in range(chunks)]
            rank: dict[str, Any] = {
                "args": argparse.Namespace(
                    tensor_model_parallel_size=tensor,
                    pipeline_model_parallel_size=pipeline,
                    params_dtype=torch.float32,
                ),
                "checkpoint_version": 3.0,
                "iteration": 120,
                **dict(zip(names, models, strict=True)),
                "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
                "rng_state": [{"torch_rng_state": torch.get_rng_state()}],
            }
            change(rank, t, p)
            name = f"mp_rank_{t:02d}" if pipeline == 1 else f"mp_rank_{t:02d}_{p:03d}"
            (place / name).mkdir()
            torch.save(rank, place / name / "model_optim_rng.pt")
    return folder


@pytest.mark.parametrize("gated", [False, True], ids=["gelu", "swiglu"])
@pytest.mark.parametrize(
    ("tensor", "pipeline", "chunks", "old"),
    [
        (1, 1, 1, False),
        (2, 1, 1, False),
        (4, 1, 1, True),
        (1, 2, 1, True),
        (2, 4, 1, False),
        (4, 2, 1, False),
        (2, 2, 2, False),
        (1, 2, 2, True),
    ],
)
def test_put_back_together(
    tmp_path: Path, tensor: int, pipeline: int, chunks: int, old: bool, gated: bool
) -> None:
    state = whole(gated)
    folder = write(tmp_path / "m", state, tensor, pipeline, gated=gated, chunks=chunks, old=old)
    expected = {older(name): value for name, value in state.items()} if old else state
    for path in (folder, folder / "iter_0000120"):
        checkpoint = open_checkpoint(path)
        assert checkpoint.format == "megatron"
        assert_equal(checkpoint, expected)
        for name, value in expected.items():
            assert b"".join(checkpoint.pieces(name)) == checkpoint.read(name).tobytes(), value
    joined = f"{tensor} tensor-parallel ranks and {pipeline} pipeline stage(s)"
    assert any(joined in note for note in checkpoint.notes)
    assert any(note == "left out: iteration, optimizer, rng_state" for note in checkpoint.notes)


STATE = whole(False)


def test_the_release_and_one_stage_in_long_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", STATE, 2, 1)
    place = folder / "iter_0000120"
    for rank in (0, 1):
        (place / f"mp_rank_0{rank}").rename(place / f"mp_rank_0{rank}_000")
    place.rename(folder / "release")
    (folder / "latest_checkpointed_iteration.txt").write_text("release\n")
    assert_equal(open_checkpoint(folder), STATE)


def test_the_embedding_of_the_last_stage_is_the_first_one_s(tmp_path: Path) -> None:
    """With tied embeddings both ends hold them, under one name or under two."""
    name = "embedding.word_embeddings.weight"

    def tie(rank: dict[str, Any], t: int, p: int) -> None:
        if p == 1:
            rank["model"][name] = STATE[name].chunk(2)[t]
            rank["model"]["word_embeddings_for_head.weight"] = STATE[name].chunk(2)[t]

    checkpoint = open_checkpoint(write(tmp_path / "m", STATE, 2, 2, change=tie))
    assert_equal(checkpoint, STATE | {"word_embeddings_for_head.weight": STATE[name]})

    def everywhere(rank: dict[str, Any], t: int, p: int) -> None:
        rank["model"][name] = STATE[name].chunk(2)[t]

    assert_equal(open_checkpoint(write(tmp_path / "e", STATE, 2, 4, change=everywhere)), STATE)

    def untie(rank: dict[str, Any], t: int, p: int) -> None:
        if p == 1:
            rank["model"][name] = STATE[name].chunk(2)[t] + t

    checkpoint = open_checkpoint(write(tmp_path / "u", STATE, 2, 2, change=untie))
    with pytest.raises(SourceError, match=f"tensor '{name}': differs"):
        checkpoint.read(name)


def test_what_transformer_engine_leaves_is_passed_over(tmp_path: Path) -> None:
    def add(rank: dict[str, Any], t: int, p: int) -> None:
        rank["model"]["decoder.layers.0.mlp.linear_fc1._extra_state"] = torch.tensor([t])
        rank["model"]["decoder.layers.1.mlp.linear_fc1._extra_state"] = None

    assert_equal(open_checkpoint(write(tmp_path / "m", STATE, 2, 1, change=add)), STATE)


def test_arguments_of_megatron_s_own_types_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enumerations are pickled as a call of their class; these are known by name."""
    name = "megatron.core.transformer.enums"
    module: Any = types.ModuleType(name)
    module.AttnBackend = enum.Enum("AttnBackend", {"auto": 5}, module=name)  # type: ignore[misc]
    for part in ("megatron", "megatron.core", "megatron.core.transformer"):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)

    def add(rank: dict[str, Any], t: int, p: int) -> None:
        rank["args"].attention_backend = module.AttnBackend.auto
        rank["args"].exit_signal = signal.SIGTERM
        rank["model"]["decoder.layers.0.mlp.linear_fc1._extra_state"] = io.BytesIO(b"x")

    assert_equal(open_checkpoint(write(tmp_path / "m", STATE, 2, 1, change=add)), STATE)


def test_the_digest_covers_every_rank(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", STATE, 2, 2)
    before = open_checkpoint(folder).digest
    for path in sorted(folder.rglob("*.pt")):
        old = path.read_bytes()
        torch.save({**torch.load(path, weights_only=False), "more": 1}, path)
        assert open_checkpoint(folder).digest != before
        path.write_bytes(old)
    assert open_checkpoint(folder).digest == before


QKV = "decoder.layers.0.self_attention.linear_qkv.weight"
NORM = "decoder.layers.0.self_attention.linear_qkv.layer_norm_weight"


def second(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Changes the second tensor-parallel rank alone."""
    return lambda rank, t, p: change(rank) if t == 1 else None


def every(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda rank, t, p: change(rank)


WRONG: dict[str, tuple[Change, str]] = {
    "replicated tensor differs": (
        second(lambda r: r["model"].update({NORM: r["model"][NORM] + 1})),
        f"tensor '{NORM}': differs between the tensor-parallel ranks",
    ),
    "tensor in one rank only": (
        second(lambda r: r["model"].update({"more.weight": torch.ones(1)})),
        "has 'more.weight' in some ranks",
    ),
    "tensor missing": (second(lambda r: r["model"].pop(QKV)), f"has '{QKV}' in some ranks"),
    "another type": (
        second(lambda r: r["model"].update({QKV: r["model"][QKV].half()})),
        "another type",
    ),
    "another rank": (
        second(lambda r: r["model"].update({QKV: r["model"][QKV].reshape(-1)})),
        "another type or rank",
    ),
    "other columns": (
        second(lambda r: r["model"].update({QKV: torch.ones(12, 9)})),
        "sizes that do not fit",
    ),
    "vector cut by columns": (
        every(lambda r: r["model"].update({"x.linear_proj.weight": torch.ones(3)})),
        "sizes that do not fit",
    ),
    "more ranks were running": (
        every(lambda r: setattr(r["args"], "tensor_model_parallel_size", 4)),
        "tensor_model_parallel_size 4, and folders for 2",
    ),
    "experts were spread": (
        every(lambda r: setattr(r["args"], "expert_model_parallel_size", 2)),
        "expert_model_parallel_size 2",
    ),
    "old order of heads": (every(lambda r: r.update(checkpoint_version=1.0)), "is of version 1.0"),
    "grouped experts": (
        every(lambda r: r["model"].update({"mlp.experts.weight1": torch.ones(2, 2)})),
        "experts in one tensor",
    ),
    "layers not from 0": (
        every(lambda r: r["model"].update({"decoder.layers.7.x": torch.ones(1)})),
        "numbers its 'decoder.layers.' not from 0",
    ),
    "no model": (every(lambda r: r.pop("model")), "holds no model"),
    "sparse tensor": (
        every(lambda r: r["model"].update({"x": torch.ones(2).to_sparse()})),
        "is a sparse tensor",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_refused(tmp_path: Path, name: str) -> None:
    change, reason = WRONG[name]
    folder = write(tmp_path / "m", STATE, 2, 1, change=change)
    assert_refused(folder, reason)


def gone(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "iter_0000120" / name).rename(folder.parent / "away")


def latest(text: str) -> Callable[[Path], Any]:
    return lambda f: (f / "latest_checkpointed_iteration.txt").write_text(text)


def linked(folder: Path) -> None:
    path = folder / "iter_0000120" / "mp_rank_01" / "model_optim_rng.pt"
    path.rename(folder.parent / "secret")
    path.symlink_to(folder.parent / "secret")


def hostile(folder: Path) -> None:
    path = folder / "iter_0000120" / "mp_rank_01" / "model_optim_rng.pt"
    torch.save({"model": {"w": torch.ones(1)}, "x": payload(folder)}, path)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "first rank missing": (gone("mp_rank_00"), "lacks some"),
    "rank's file missing": (gone("mp_rank_01/model_optim_rng.pt"), "lacks the file"),
    "last rank missing": (gone("mp_rank_01"), "folders for 1 are there"),
    "climbing iteration": (latest("../m/iter_0000120"), "which is no number"),
    "missing iteration": (latest("7"), "names iter_0000007, which is not there"),
    "no iteration": (latest(""), "which is no number"),
    "linked rank": (linked, "out of its folder"),
    "payload": (hostile, "posix.system"),
    "experts": (
        lambda f: (f / "iter_0000120" / "mp_rank_00_000_001").mkdir(),
        "experts in folders of their own",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage(tmp_path: Path, name: str) -> None:
    change, reason = DAMAGE[name]
    folder = write(tmp_path / "m", STATE, 2, 1)
    change(folder)
    assert_refused(folder, reason)
