"""What the export of a decoder of 2 GiB costs beside torch's own exporter: ``make bench-export``.

Ours writes model.safetensors and the graph that points into it, and proves that it loads.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench.processes import Cost, measure

MEMORY_BAR, CPU_BAR = 1.3, 0.8
"""Peak of resident memory by the size of the weights, and processor time by that of the peer."""

_MAKE = """
import torch
from decoder import Decoder
torch.manual_seed(0)
torch.save(Decoder().state_dict(), "decoder.pt")
"""

_PEER = """
import torch
from decoder import Decoder
model = Decoder()
model.load_state_dict(torch.load("decoder.pt", mmap=True))
batch, time = torch.export.Dim("batch", max=4), torch.export.Dim("time", min=4, max=64)
torch.onnx.export(
    model.eval(), (torch.zeros(2, 8, dtype=torch.int64),), "peer.onnx",
    dynamo=True, external_data=True, opset_version=18, dynamic_shapes=({0: batch, 1: time},),
)
"""

_SPEC = """
name = "decoder"
to = ["onnx"]
inputs = ["ids=int64[batch=1..4,time=4..64]:0..31999"]
source.path = "decoder.pt"
model.callable = "decoder:Decoder"
"""


def _python(script: str, folder: Path) -> Cost:
    start = f"import os, sys; os.chdir({str(folder)!r}); sys.path.insert(0, '')\n"
    return measure([sys.executable, "-P", "-c", start + script])


def main() -> int:
    """Measures and prints; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    command = str(Path(sys.executable).with_name("ascend-migrate"))
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        shutil.copy(Path(__file__).with_name("decoder.py"), folder)
        (folder / "migration.toml").write_text(_SPEC)
        _python(_MAKE, folder)
        weights = (folder / "decoder.pt").stat().st_size
        spec, out = str(folder / "migration.toml"), str(folder / "out")
        ours = measure([command, "convert", spec, "--to", "onnx", "-o", out])
        shutil.rmtree(out)
        peer = _python(_PEER, folder)
    print(f"| export of {weights / 2**30:.2f} GiB | CPU s | wall s | peak RSS x weights |")  # noqa: T201
    print("| --- | --- | --- | --- |")  # noqa: T201
    for who, cost in (("convert --to onnx", ours), ("torch.onnx.export", peer)):
        print(f"| {who} | {cost.cpu:.1f} | {cost.wall:.0f} | {cost.rss / weights:.2f} |")  # noqa: T201
    return int(ours.rss > MEMORY_BAR * weights or ours.cpu > CPU_BAR * peer.cpu)


if __name__ == "__main__":
    raise SystemExit(main())
