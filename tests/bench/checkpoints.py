"""Makes the checkpoints that are measured: python -m tests.bench.checkpoints KIND PATH BYTES."""

import json
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_WIDE = (2048, 5632)
_SQUARE = (2048, 2048)
_RANKS = 2
_SHARDS = 4
_SMALL = 8192


def state_of(size: int, *, dtype: torch.dtype = torch.bfloat16) -> dict[str, torch.Tensor]:
    """Layers of a Llama-like model until they have ``size`` bytes; random bits, named as there."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.empty(_WIDE, dtype=torch.int16).random_(generator=generator)
    state: dict[str, torch.Tensor] = {}
    total = layer = 0
    while total < size:
        for name, shape in (("mlp.up_proj", _WIDE), ("mlp.down_proj", _WIDE), ("q_proj", _SQUARE)):
            count = shape[0] * shape[1]
            values = bits.reshape(-1)[:count].add(layer).view(dtype).reshape(shape)
            state[f"model.layers.{layer}.{name}.weight"] = values
            total += values.nbytes
        layer += 1
    return state


def small(count: int = _SMALL) -> dict[str, torch.Tensor]:
    """Tensors of 128 KiB each."""
    values = torch.randn(32768, generator=torch.Generator().manual_seed(0))
    return {f"block.{i}.weight": values.add(i) for i in range(count)}


def singles(size: int) -> dict[str, torch.Tensor]:
    """Ordinary float32 weights, one layer after another."""
    values = torch.randn(_WIDE, generator=torch.Generator().manual_seed(0))
    return {f"layer.{i}.weight": values.add(i / 100) for i in range(size // values.nbytes)}


def blocks(size: int) -> dict[str, torch.Tensor]:
    """Weights in float8_e4m3fn with a scale for each block of 128 x 128, as DeepSeek-V3 has."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for i in range(size // (_WIDE[0] * _WIDE[1])):
        weight = torch.randn(_WIDE, generator=generator).to(torch.float8_e4m3fn)
        state[f"layer.{i}.weight"] = weight
        scales = (_WIDE[0] // 128, _WIDE[1] // 128)
        state[f"layer.{i}.weight_scale_inv"] = torch.rand(scales, generator=generator) + 0.5
    return state


_STATES: dict[str, Callable[[int], dict[str, torch.Tensor]]] = {
    "safetensors": state_of,
    "bfloat16": singles,
    "float16": singles,
    "fp8": blocks,
}


def main(kind: str, path: Path, size: int) -> None:
    """Writes one checkpoint."""
    if kind == "pt":
        torch.save(state_of(size), path)
    elif kind == "small":
        torch.save(small(), path)
    elif kind in _STATES:
        from safetensors.torch import save_file

        save_file(_STATES[kind](size), path)
    elif kind == "bin":
        _shards(state_of(size), path)
    elif kind == "dcp":
        _ranks(path, size)


def _shards(state: dict[str, Any], folder: Path) -> None:
    folder.mkdir()
    names = list(state)
    places: dict[str, str] = {}
    for number in range(_SHARDS):
        mine = names[number * len(names) // _SHARDS : (number + 1) * len(names) // _SHARDS]
        file = f"pytorch_model-{number + 1:05}-of-{_SHARDS:05}.bin"
        torch.save({name: state[name] for name in mine}, folder / file)
        places |= dict.fromkeys(mine, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def _ranks(path: Path, size: int) -> None:
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_rank, args=(rank, path, size)) for rank in range(_RANKS)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    if any(process.exitcode for process in ranks):
        raise RuntimeError("a rank failed")


def _rank(rank: int, path: Path, size: int) -> None:
    import torch.distributed.checkpoint
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    # Untyped in torch's own stubs.
    dist: Any = torch.distributed
    dcp: Any = torch.distributed.checkpoint
    store = dist.FileStore(f"{path}.store", _RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=_RANKS)
    mesh = init_device_mesh("cpu", (_RANKS,))
    state = {n: distribute_tensor(t, mesh, [Shard(0)]) for n, t in state_of(size).items()}
    dcp.save(state, checkpoint_id=path)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
