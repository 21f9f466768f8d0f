"""What a conversion needs of memory, asked of the kernel in a process of its own."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

_SIZE = 200_000_000

_SCRIPT = """
import json, sys, threading, time
from pathlib import Path
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.converters.checkpoint_to_safetensors import convert

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(l.split()[1]) << 10 for l in lines if l.startswith("RssAnon:"))

def look():
    while True:
        seen.append(anonymous())
        time.sleep(0.002)

source, into = Path(sys.argv[1]), Path(sys.argv[2])
open_checkpoint(Path(sys.argv[3]))
seen = [anonymous()]
before = seen[0]
threading.Thread(target=look, daemon=True).start()
reading, writing = map(json.loads, sys.argv[4:])
convert(open_checkpoint(source, **reading), into, **writing)
assert "torch" not in sys.modules
print(max(seen) - before)
"""


def whole(path: Path) -> None:
    torch.save({"w": torch.zeros(_SIZE // 2, dtype=torch.bfloat16)}, path)


def turned(path: Path) -> None:
    torch.save({"w": torch.zeros(10_000, _SIZE // 40_000).T}, path)


def deflated(path: Path) -> None:
    whole(path.with_suffix(".tmp"))
    with (
        zipfile.ZipFile(path.with_suffix(".tmp")) as stored,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))


def halves(path: Path) -> None:
    """Two parts of one storage."""
    storage = torch.zeros(_SIZE // 4)
    torch.save({"a": storage[: _SIZE // 8], "b": storage[_SIZE // 8 :]}, path)


def single(path: Path) -> None:
    save_file({"w": torch.zeros(_SIZE // 4)}, path)


def shards(path: Path) -> None:
    path.mkdir()
    names = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    for name in names:
        torch.save({name[:19]: torch.zeros(_SIZE // 8)}, path / name)
    table = {name[:19]: name for name in names}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": table}))


def columns(path: Path) -> None:
    """A pipeline's layer of two tensor-parallel ranks, whose rows have a part in each."""
    path.mkdir()
    for rank in (0, 1):
        part = {"mlp.dense_4h_to_h.weight": torch.zeros(1000, _SIZE // 8000)}
        torch.save(part, path / f"layer_01-model_0{rank}-model_states.pt")
    torch.save({"module": None}, path / "mp_rank_00_model_states.pt")


def partitions(path: Path) -> None:
    """ZeRO 3: each parameter has a part in each rank's flat partition."""
    path.mkdir()
    for rank in (0, 1):
        model = {"module": {}, "param_shapes": [{"a": torch.Size([_SIZE // 8, 2])}]}
        flat = {"fp32_flat_groups": [torch.zeros(_SIZE // 8)], "partition_count": 2}
        state = {"optimizer_state_dict": {"zero_stage": 3, **flat}}
        torch.save(model, path / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        torch.save(state, path / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")


def blocks(path: Path) -> None:
    codes = torch.zeros(128 * 100, _SIZE // 12_800, dtype=torch.uint8).view(torch.float8_e4m3fn)
    scales = torch.ones(100, -(-codes.shape[1] // 128))
    save_file({"a.weight": codes, "a.weight_scale_inv": scales}, path)


Options = dict[str, Any]
CASES: dict[str, tuple[Callable[[Path], None], Options, Options]] = {
    "whole": (whole, {}, {}),
    "turned": (turned, {}, {}),
    "deflated": (deflated, {}, {}),
    "halves": (halves, {}, {}),
    "two at a time": (halves, {}, {"limit": _SIZE // 3}),
    "safetensors": (single, {}, {}),
    "shards": (shards, {}, {}),
    "shards, two at a time": (shards, {}, {"limit": _SIZE // 3}),
    "tensor-parallel ranks": (columns, {}, {}),
    "ZeRO 3": (partitions, {}, {}),
    "to bfloat16": (single, {}, {"dtype": "bfloat16"}),
    "to float16": (single, {}, {"dtype": "float16"}),
    "8-bit blocks": (blocks, {"unpack": ["fp8_blocks"]}, {}),
}


_SLOW = ("safetensors", "shards", "to bfloat16", "two at a time")
"""What others show as well."""


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.faults] if c in _SLOW else []) for c in CASES]
)
def test_it_takes_a_fixed_amount(tmp_path: Path, case: str) -> None:
    make, reading, writing = CASES[case]
    make(tmp_path / "source")
    torch.save({"w": torch.zeros(1)}, tmp_path / "tiny.pt")
    (tmp_path / "out").mkdir()
    paths = [str(tmp_path / name) for name in ("source", "out", "tiny.pt")]
    options = [json.dumps(reading), json.dumps(writing | {"parent": ""})]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT, *paths, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A quarter of the budget of 256 MiB, and a third of what one copy of the tensor would take.
    assert int(done.stdout) < 64 << 20
