"""Writes a distributed checkpoint with four real ranks: ``python -m tests.checkpoint.ranks DIR``.

The ranks are forked from one process, so that torch is imported once.
"""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

RANKS = 4


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 10)
        self.second = nn.Linear(10, 3, dtype=torch.bfloat16)
        self.register_buffer("count", torch.tensor(7))


def model() -> nn.Module:
    torch.manual_seed(5)
    return Net()


def tensors() -> dict[str, torch.Tensor]:
    """What the ranks hold together."""
    torch.manual_seed(6)
    return {
        "rows": torch.randn(8, 6),
        "columns": torch.randn(3, 8).bfloat16(),
        "uneven": torch.randn(5, 2),
        "few rows": torch.randn(2, 3),
        "grid": torch.randn(4, 6, 3),
        "replicated": torch.randn(3, 3).half(),
        "partly": torch.randn(4, 4).double(),
        "plain": torch.arange(5),
        "scalar": torch.tensor(2.5),
    }


def _rank(rank: int, folder: Path) -> None:
    import torch.distributed.checkpoint
    from torch.distributed.checkpoint.state_dict import get_model_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    # Untyped in torch's own stubs.
    dist: Any = torch.distributed
    dcp: Any = torch.distributed.checkpoint
    store = dist.FileStore(str(folder.parent / "store"), RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    line = init_device_mesh("cpu", (RANKS,))
    grid = init_device_mesh("cpu", (2, 2))
    layouts: dict[str, Any] = {
        "rows": (line, [Shard(0)]),
        "columns": (line, [Shard(1)]),
        "uneven": (line, [Shard(0)]),
        "few rows": (line, [Shard(0)]),
        "grid": (grid, [Shard(0), Shard(1)]),
        "replicated": (line, [Replicate()]),
        "partly": (grid, [Replicate(), Shard(1)]),
    }
    whole = tensors()
    state = {n: distribute_tensor(t, *layouts[n]) if n in layouts else t for n, t in whole.items()}
    dcp.save({"model": state, "step": 3, "note": "x"}, checkpoint_id=folder / "tensors")
    net = model()
    fully_shard(net, mesh=line)
    dcp.save(get_model_state_dict(net), checkpoint_id=folder / "fsdp")
    dist.destroy_process_group()


def main(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_rank, args=(rank, folder)) for rank in range(RANKS)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(any(process.exitcode for process in ranks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
