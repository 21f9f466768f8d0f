"""DeepSpeed with tensor parallelism and with pipelines, put back together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.reference import assert_equal, assert_refused, payload
from tests.checkpoint.test_deepspeed import part_of, run_of
from tests.checkpoint.test_megatron import shard, whole

from ascend_migrate.pipeline.checkpoint import open_checkpoint

# Master weights are float32, whatever the model's own type is.
TENSORS = {name: tensor.float() for name, tensor in whole(False).items()}
TIED = TENSORS | {"head.weight": TENSORS["output_layer.weight"]}


def write(folder: Path, world: int, stage: int, data: int) -> Path:
    """Writes ``world`` tensor-parallel ranks, each with ``data`` data-parallel ones."""
    folder.mkdir()
    for rank in range(world):
        own = {name: shard(name, t, rank, world, gated=False) for name, t in TENSORS.items()}
        half = {name: tensor.half() for name, tensor in own.items()}
        half["head.weight"] = half["output_layer.weight"]
        if not stage:
            tied = own | {"head.weight": own["output_layer.weight"]}
            torch.save({"module": tied}, folder / f"mp_rank_{rank:02d}_model_states.pt")
            continue
        for part in range(data):
            model = {
                "module": half if stage < 3 else {},
                "param_shapes": [{name: t.shape for name, t in own.items()}],
                "shared_params": {"head.weight": "output_layer.weight"},
            }
            begin = f"zero_pp_rank_{part}_" if stage == 3 else ""
            torch.save(model, folder / f"{begin}mp_rank_{rank:02d}_model_states.pt")
            if stage == 3:
                flat = torch.cat([part_of(t, part, data) for t in own.values()])
                state: dict[str, Any] = {"fp32_flat_groups": [flat], "partition_count": data}
            else:
                flat = run_of(own, data)[part]
                state = {"single_partition_of_fp32_groups": [flat], "partition_count": [data]}
            torch.save(
                {"optimizer_state_dict": {"zero_stage": stage, **state}},
                folder / f"zero_pp_rank_{part}_mp_rank_{rank:02d}_optim_states.pt",
            )
    return folder


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize(("stage", "data"), [(0, 1), (1, 2), (2, 3), (3, 2)])
def test_tensor_parallel(tmp_path: Path, world: int, stage: int, data: int) -> None:
    checkpoint = open_checkpoint(write(tmp_path / "d", world, stage, data))
    assert checkpoint.format == "deepspeed"
    assert_equal(checkpoint, TIED)
    assert ("output_layer.weight", "head.weight") in checkpoint.shared
    for name, tensor in TIED.items():
        assert b"".join(checkpoint.pieces(name)) == tensor.numpy().tobytes()


def pipeline(folder: Path, world: int) -> tuple[Path, dict[str, torch.Tensor]]:
    """Writes a file for each layer; layer 1 has no parameters and no file."""
    step = folder / "global_step7"
    step.mkdir(parents=True)
    (folder / "latest").write_text("global_step7")
    layers = {
        0: {
            "word_embeddings.weight": torch.randn(16, 8),
            "word_embeddings.norm.weight": torch.randn(8),
        },
        2: {
            "input_layernorm.weight": torch.randn(8),
            "attention.query_key_value.weight": torch.randn(24, 8).half(),
            "attention.dense.weight": torch.randn(8, 8).half(),
            "mlp.dense_h_to_4h.bias": torch.randn(32),
        },
        13: {"final_linear.weight": torch.randn(16, 8)},
    }
    rules = {"query_key_value": 0, "dense_h_to_4h": 0, "attention.dense": 1, "final_linear": 0}
    rules |= {"word_embeddings.weight": 0}
    for rank in range(world):
        torch.save({"module": None}, step / f"mp_rank_{rank:02d}_model_states.pt")
        for number, tensors in layers.items():
            own = {}
            for name, tensor in tensors.items():
                axis = next((axis for part, axis in rules.items() if part in name), None)
                own[name] = tensor if axis is None else tensor.chunk(world, axis)[rank].clone()
            torch.save(own, step / f"layer_{number:02d}-model_{rank:02d}-model_states.pt")
    expected = {f"{i}.{n}": t for i, tensors in layers.items() for n, t in tensors.items()}
    return folder, expected


@pytest.mark.parametrize("world", [1, 2, 4])
def test_pipeline(tmp_path: Path, world: int) -> None:
    folder, expected = pipeline(tmp_path / "d", world)
    for path in (folder, folder / "global_step7"):
        checkpoint = open_checkpoint(path)
        assert_equal(checkpoint, expected)
        assert any(f"{world} tensor-parallel rank(s)" in note for note in checkpoint.notes)
    before = checkpoint.digest
    path = folder / "global_step7" / f"layer_13-model_{world - 1:02d}-model_states.pt"
    torch.save({"final_linear.weight": torch.zeros(16 // world, 8)}, path)
    assert open_checkpoint(folder / "global_step7").digest != before


def hostile(folder: Path) -> None:
    path = folder / "global_step7/layer_02-model_01-model_states.pt"
    torch.save({"x": payload(folder)}, path)


def other(folder: Path) -> None:
    path = folder / "global_step7/layer_02-model_01-model_states.pt"
    tensors = torch.load(path)
    tensors["input_layernorm.weight"] += 1
    torch.save(tensors, path)


def unlink(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "global_step7" / name).unlink()


def touch(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "global_step7" / name).write_bytes(b"x")


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "payload": (hostile, "posix.system"),
    "norm differs": (other, "differs between the tensor-parallel ranks"),
    "rank missing": (
        unlink("layer_02-model_01-model_states.pt"),
        "lacks the file of a rank of layer 2",
    ),
    "rank twice": (touch("layer_2-model_0-model_states.pt"), "twice"),
    "experts": (touch("layer_0_expert_1_mp_rank_00_model_states.pt"), "experts"),
    "not a checkpoint": (touch("layer_13-model_00-model_states.pt"), "is of no known format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    change, reason = REFUSED[name]
    folder, _ = pipeline(tmp_path / "d", 2)
    change(folder)
    assert_refused(folder, reason)


def test_a_tensor_parallel_rank_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", 2, 2, 2)
    for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_1_mp_rank_01_optim_states.pt"):
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        assert_refused(folder, "lacks the file" if "model" in name else "more files of some")
        (folder / name).write_bytes(data)
