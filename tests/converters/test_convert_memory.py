"""What a conversion needs of memory, asked of the kernel in a process of its own."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

_SIZE = 200_000_000

_SCRIPT = """
import sys, threading, time
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
convert(open_checkpoint(source), into, limit=int(sys.argv[4]) or None, parent="")
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


CASES: dict[str, tuple[Callable[[Path], None], int]] = {
    "whole": (whole, 0),
    "turned": (turned, 0),
    "deflated": (deflated, 0),
    "halves": (halves, 0),
    "two at a time": (halves, _SIZE // 3),
}


@pytest.mark.parametrize("case", CASES)
def test_it_takes_a_fixed_amount(tmp_path: Path, case: str) -> None:
    make, limit = CASES[case]
    make(tmp_path / "source.pt")
    torch.save({"w": torch.zeros(1)}, tmp_path / "tiny.pt")
    (tmp_path / "out").mkdir()
    paths = [tmp_path / "source.pt", tmp_path / "out", tmp_path / "tiny.pt"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT, *map(str, paths), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A quarter of the budget of 256 MiB, and a third of what one copy of the tensor would take.
    assert int(done.stdout) < 64 << 20
