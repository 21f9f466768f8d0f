"""DeepSpeed folders, laid out as its engine does, merged back to the state that was cut up."""

import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.reference import assert_equal, assert_refused, payload

from ascend_migrate.pipeline.checkpoint import open_checkpoint

torch.manual_seed(23)
GROUPS = [
    {"emb.weight": torch.randn(7, 3), "norm.weight": torch.randn(3), "scale": torch.randn(())},
    {"norm.bias": torch.randn(3), "fc.weight": torch.randn(5, 3), "none": torch.empty(0, 3)},
]
FROZEN = {"frozen.weight": torch.randn(3, 3)}
BUFFERS = {"count": torch.tensor(4), "mask": torch.tensor([True, False])}
TRAINED = {name: tensor for group in GROUPS for name, tensor in group.items()}
TIES = {"head.weight": TRAINED["emb.weight"]}
STATE = TRAINED | FROZEN | BUFFERS | TIES
TAG = "global_step5"


def padded(flat: torch.Tensor, multiple: int) -> torch.Tensor:
    return torch.cat([flat, torch.full((-flat.numel() % multiple,), 9.0)])


def run_of(group: dict[str, torch.Tensor], world: int) -> list[torch.Tensor]:
    """ZeRO 1 and 2: one group as one run, in equal parts."""
    flat = torch.cat([tensor.reshape(-1) for tensor in group.values()])
    return [part.clone() for part in padded(flat, 2 * world).chunk(world)]


def part_of(tensor: torch.Tensor, rank: int, world: int) -> torch.Tensor:
    """ZeRO 3: one parameter's part."""
    size = -(-tensor.numel() // world)
    return padded(tensor.reshape(-1), world)[rank * size : (rank + 1) * size].clone()


class Scaler:
    """Stands for the loss scaler, an object of DeepSpeed's own that every file brings along."""

    def __init__(self) -> None:
        self.scale = 1.0


def write(folder: Path, stage: int, world: int, **more: Any) -> Path:
    """Writes a checkpoint as DeepSpeed does."""
    step = folder / TAG
    step.mkdir(parents=True)
    (folder / "latest").write_text(TAG)
    frozen = {name: t.shape for name, t in FROZEN.items()}
    half = {name: t.half() if t.is_floating_point() else t for name, t in STATE.items()}
    half["head.weight"] = half["emb.weight"]
    for rank in range(world):
        model: dict[str, Any] = {
            "module": OrderedDict(half if stage < 3 else BUFFERS),
            "buffer_names": list(BUFFERS),
            "param_shapes": [OrderedDict((n, t.shape) for n, t in g.items()) for g in GROUPS],
            "frozen_param_shapes": frozen,
            "frozen_param_fragments": {
                n: part_of(t, rank, world) if stage == 3 else t for n, t in FROZEN.items()
            },
            "shared_params": {"head.weight": "emb.weight"},
            "ds_version": "0.16.4",
            "ds_config": {"train_batch_size": 1},
            "optimizer": None,
        }
        if stage == 3:
            torch.save(model, step / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        elif rank == 0:
            torch.save(model, step / "mp_rank_00_model_states.pt")
        flat = {
            1: ("single_partition_of_fp32_groups", [run_of(g, world)[rank] for g in GROUPS]),
            3: (
                "fp32_flat_groups",
                [torch.cat([part_of(t, rank, world) for t in g.values()]) for g in GROUPS],
            ),
        }[3 if stage == 3 else 1]
        state: dict[str, Any] = {
            "zero_stage": stage,
            "partition_count": world if stage == 3 else [world, world],
            "loss_scaler": Scaler(),
            "optimizer_state_dict": {"state": {0: {"exp_avg": flat[1][0]}}},
            flat[0]: flat[1],
            **more,
        }
        optimizer = {"optimizer_state_dict": state, "ds_version": "0.16.4"}
        torch.save(optimizer, step / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    return folder


@pytest.mark.parametrize("world", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_merged_to_the_state(tmp_path: Path, stage: int, world: int) -> None:
    folder = write(tmp_path / "d", stage, world)
    checkpoint = open_checkpoint(folder)
    assert checkpoint.format == "deepspeed"
    assert_equal(checkpoint, STATE)
    assert ("emb.weight", "head.weight") in checkpoint.shared
    assert any(f"{world} ranks of ZeRO stage {stage}" in note for note in checkpoint.notes)
    assert_equal(open_checkpoint(folder / TAG), STATE)


def test_without_ties_listed_the_module_shows_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", 2, 2)
    path = folder / TAG / "mp_rank_00_model_states.pt"
    model = torch.load(path, weights_only=False)
    del model["shared_params"]
    torch.save(model, path)
    assert_equal(open_checkpoint(folder), STATE)


def test_without_partitions_the_module_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / TAG
    folder.mkdir()
    torch.save({"module": STATE, "dp_world_size": 1}, folder / "mp_rank_00_model_states.pt")
    assert_equal(open_checkpoint(folder), STATE)


def test_the_digest_covers_every_rank(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", 3, 2)
    before = open_checkpoint(folder).digest
    for path in sorted((folder / TAG).iterdir()):
        old = path.read_bytes()
        torch.save({**torch.load(path, weights_only=False), "more": 1}, path)
        assert open_checkpoint(folder).digest != before
        path.write_bytes(old)
    assert open_checkpoint(folder).digest == before


def optimizer(change: Callable[[dict[str, Any]], Any], rank: int = 1) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / TAG / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        found = torch.load(path, weights_only=False)
        change(found["optimizer_state_dict"])
        torch.save(found, path)

    return apply


def model(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = next((folder / TAG).glob("*_00_model_states.pt"))
        found = torch.load(path, weights_only=False)
        change(found)
        torch.save(found, path)

    return apply


def latest(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "latest").write_text(text)


def linked(folder: Path) -> None:
    (folder / TAG).rename(folder.parent / "elsewhere")
    (folder / TAG).symlink_to("../elsewhere")


def rank_linked(folder: Path) -> None:
    path = folder / TAG / "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
    path.rename(folder.parent / "secret")
    path.symlink_to(folder.parent / "secret")


def rank_gone(folder: Path) -> None:
    (folder / TAG / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").unlink()


def last_rank_gone(folder: Path) -> None:
    (folder / TAG / "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()


def beside(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / TAG / name).write_bytes(b"x")


RUNS = "single_partition_of_fp32_groups"
HOSTILE: dict[str, tuple[int, Callable[[Path], Any], str]] = {
    "climbing step": (2, latest("../d/global_step5"), "no folder beside it"),
    "absolute step": (2, latest("/etc"), "no folder beside it"),
    "no step": (2, latest(""), "no folder beside it"),
    "parent step": (2, latest(".."), "no folder beside it"),
    "missing step": (2, latest("global_step6"), "is not there"),
    "long step": (2, latest("x" * 10**6), "no folder beside it"),
    "linked step": (2, linked, "is not there"),
    "linked rank": (2, rank_linked, "out of its folder"),
    "first rank missing": (2, rank_gone, "lacks the file of a rank"),
    "last rank missing": (2, last_rank_gone, "was written by '2' ranks"),
    "tensor parallel": (2, beside("mp_rank_01_model_states.pt"), "files of other ranks"),
    "experts": (2, beside("layer_0_expert_1_mp_rank_00_model_states.pt"), "experts"),
    "pipeline stages": (2, beside("layer_01-model_states.pt"), "a layer in a file of an unknown"),
    "payload in a rank": (
        2,
        lambda f: optimizer(lambda s: s.update(x=payload(f)))(f),
        "posix.system",
    ),
    "payload in the model": (
        3,
        lambda f: model(lambda m: m.update(x=payload(f)))(f),
        "posix.system",
    ),
    "stage 7": (2, optimizer(lambda s: s.update(zero_stage=7), 0), "stage '7'"),
    "count of texts": (2, optimizer(lambda s: s.update(partition_count="2"), 0), "'2' ranks"),
    "no partitions": (2, optimizer(lambda s: s.pop(RUNS)), "lacks single_partition"),
    "partitions of another shape": (
        2,
        optimizer(lambda s: s.update({RUNS: [torch.ones(3, 3)] * 2})),
        "no flat tensor",
    ),
    "a group too many": (2, optimizer(lambda s: s[RUNS].append(torch.ones(4))), "other groups"),
    "short partition": (2, optimizer(lambda s: s[RUNS].__setitem__(0, torch.ones(2))), "too short"),
    "long partition": (
        2,
        optimizer(lambda s: s[RUNS].__setitem__(0, torch.ones(99))),
        "elements of a group",
    ),
    "partition of another type": (
        2,
        optimizer(lambda s: s[RUNS].__setitem__(0, s[RUNS][0].double())),
        "two types",
    ),
    "short part": (
        3,
        optimizer(lambda s: s["fp32_flat_groups"].__setitem__(1, torch.ones(2))),
        "too short",
    ),
    "long part": (
        3,
        optimizer(lambda s: s["fp32_flat_groups"].append(torch.ones(2))),
        "elements of partitions",
    ),
    "no shapes": (2, model(lambda m: m.pop("param_shapes")), "no param_shapes"),
    "shapes of texts": (2, model(lambda m: m.update(param_shapes=[{"a": "b"}])), "no param_shapes"),
    "huge shapes": (
        2,
        model(lambda m: m.update(param_shapes=[{"a": (2**40, 2**40)}] * 2)),
        "too short",
    ),
    "no module": (2, model(lambda m: m.pop("module")), "lacks module"),
    "frozen values missing": (
        2,
        model(lambda m: m["frozen_param_fragments"].clear()),
        "frozen parameter 'frozen.weight'",
    ),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folder(tmp_path: Path, name: str) -> None:
    stage, make, reason = HOSTILE[name]
    folder = write(tmp_path / "d", stage, 2)
    make(folder)
    message = assert_refused(folder, reason)
    assert message.startswith(str(folder))


def test_the_writer_of_these_tests_cuts_as_deepspeed_does() -> None:
    """Its padding, in numbers worked out by hand from deepspeed's rules."""
    assert [part.numel() for part in run_of(GROUPS[0], 3)] == [10, 10, 10]
    assert [part_of(torch.arange(7.0), rank, 3).numel() for rank in range(3)] == [3, 3, 3]
    assert math.prod(TRAINED["emb.weight"].shape) == 21
