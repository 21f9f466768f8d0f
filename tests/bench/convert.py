"""What a conversion to safetensors costs beside cp and torch: ``make bench-convert``.

For each kind of checkpoint all methods run in turn, each in a process of its own, several times
over; of each figure the smallest is taken. Processor time is the figure to look at on a machine
that others use as well.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.processes import Cost, least, measure

KINDS = ("pt", "small", "bin", "safetensors", "dcp", "bfloat16", "float16", "fp8")

_LOAD = """
import sys, glob, torch
from safetensors.torch import save_file
source, target = sys.argv[1:]
files = sorted(glob.glob(source + "/*.bin")) or [source]
state = {}
for file in files:
    state |= torch.load(file, mmap=True, weights_only=True)
save_file(state, target + ".safetensors")
"""

_LOAD_ALL = _LOAD.replace("mmap=True, ", "")

_LOAD_SAFETENSORS = """
import sys
from safetensors.torch import load_file, save_file
save_file(load_file(sys.argv[1]), sys.argv[2] + ".safetensors")
"""

_DCP = """
import sys
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
dcp_to_torch_save(sys.argv[1], sys.argv[2] + ".pt")
"""


_CAST = """
import sys, torch
from safetensors.torch import load_file, save_file
source, target, dtype = sys.argv[1:]
state = {name: t.to(getattr(torch, dtype)) for name, t in load_file(source).items()}
save_file(state, target + ".safetensors")
"""

_BLOCKS = """
import sys, torch
from safetensors.torch import load_file, save_file
state = load_file(sys.argv[1])
for name in [name for name in state if name.endswith("_scale_inv")]:
    scales, weight = state.pop(name), state[name.removesuffix("_scale_inv")]
    rows, columns = weight.shape
    wide = scales.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :columns]
    state[name.removesuffix("_scale_inv")] = (weight.float() * wide).to(torch.bfloat16)
save_file(state, sys.argv[2] + ".safetensors")
"""


def _python(script: str, *more: str) -> Callable[[Path, Path], Cost]:
    return lambda source, target: measure(
        [sys.executable, "-P", "-c", script, str(source), str(target), *more]
    )


def _ours(*options: str) -> Callable[[Path, Path], Cost]:
    command = str(Path(sys.executable).with_name("ascend-migrate"))
    return lambda source, target: measure(
        [command, "convert", str(source), "--to", "safetensors", "-o", str(target), *options]
    )


def _cp(source: Path, target: Path) -> Cost:
    copied = measure(["cp", "-r", str(source), str(target)])
    files = [str(path) for path in target.rglob("*")] if target.is_dir() else [str(target)]
    return copied.then(measure(["sync", *files]))


Methods = dict[str, Callable[[Path, Path], Cost]]

_CONVERT: Methods = {
    "cp, fsync": _cp,
    "convert --no-digest": _ours("--no-digest"),
    "convert": _ours(),
}
_PEERS: dict[str, Methods] = {
    "pt": {
        "torch.load(mmap), save_file": _python(_LOAD),
        "torch.load, save_file": _python(_LOAD_ALL),
    },
    "small": {"torch.load(mmap), save_file": _python(_LOAD)},
    "bin": {"torch.load(mmap), save_file": _python(_LOAD)},
    "safetensors": {"load_file, save_file": _python(_LOAD_SAFETENSORS)},
    "dcp": {"dcp_to_torch_save": _python(_DCP)},
}
_CASTS: dict[str, Methods] = {
    kind: {
        "cp, fsync": _cp,
        "convert --no-digest": _ours("--no-digest", *options),
        "convert": _ours(*options),
        "load_file, cast, save_file": peer,
    }
    for kind, options, peer in (
        ("bfloat16", ("--store-as", "bfloat16"), _python(_CAST, "bfloat16")),
        ("float16", ("--store-as", "float16"), _python(_CAST, "float16")),
        ("fp8", ("--unpack", "fp8_blocks"), _python(_BLOCKS)),
    )
}


def bench(kind: str, folder: Path, size: int, repeat: int) -> dict[str, Cost]:
    """Measures all methods on one kind of checkpoint."""
    source = folder / kind
    subprocess.run(
        [sys.executable, "-P", "-m", "tests.bench.checkpoints", kind, str(source), str(size)],
        check=True,
        env={"PYTHONPATH": ".", "PATH": ""},
    )
    methods = _CASTS.get(kind) or _CONVERT | _PEERS[kind]
    costs: dict[str, list[Cost]] = {name: [] for name in methods}
    for _ in range(repeat):
        for name, run in methods.items():
            with tempfile.TemporaryDirectory(dir=folder) as out:
                costs[name].append(run(source, Path(out) / "copy"))
            print(f"{kind}, {name}: {costs[name][-1]}", file=sys.stderr, flush=True)  # noqa: T201
    shutil.rmtree(source) if source.is_dir() else source.unlink()
    return {name: least(found) for name, found in costs.items()}


def table(kind: str, costs: dict[str, Cost]) -> str:
    """Returns the figures as a table in Markdown."""
    base = costs["cp, fsync"]
    lines = [
        f"| {kind} | CPU s | x cp | wall s | x cp | peak RSS MB | anonymous MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {c.cpu:.2f} | {c.cpu / base.cpu:.2f} | {c.wall:.1f} "
        f"| {c.wall / base.wall:.2f} | {c.rss / 1e6:.0f} | {c.anon / 1e6:.0f} |"
        for name, c in costs.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--gigabytes", type=float, default=4.1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for kind in asked.kinds or KINDS:
            costs = bench(kind, Path(folder), int(asked.gigabytes * 1e9), asked.repeat)
            print(table(kind, costs), end="\n\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
