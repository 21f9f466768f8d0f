"""Stands in for a device, for tests alone: ais_bench and acl, as run_om.py imports them.

The answers are onnxruntime's, of the graph in the folder of the bundle. That the script asks
everything, twice, and says whose answers these are, is all that it can show.
"""

import os
import subprocess
import sys
from pathlib import Path

from ascend_migrate.pipeline.cann import run_om

_AIS_BENCH = r'''"""Emulates the session of ais_bench for a test. This is not a device."""
import os, pathlib
from types import SimpleNamespace

import numpy as np
import onnxruntime


class InferSession:
    def __init__(self, device, model):
        assert device == 0
        assert pathlib.Path(model).read_text().startswith("emulated ")
        self._graph = onnxruntime.InferenceSession(os.environ["EMULATED_GRAPH"])
        self._seen = set()

    def get_inputs(self):
        return [SimpleNamespace(name=item.name) for item in self._graph.get_inputs()]

    def get_outputs(self):
        # As ATC names them.
        return [SimpleNamespace(name=f"last:0:{item.name}") for item in self._graph.get_outputs()]

    def infer(self, feeds, mode, custom_sizes):
        names = [item.name for item in self._graph.get_inputs()]
        found = self._graph.run(None, dict(zip(names, feeds)))
        behaviour = os.environ.get("EMULATED_DEVICE", "")
        if behaviour == "spoiled":
            found = [array + np.float32(1e-3) for array in found]
        if behaviour == "half":
            found = [array.astype(np.float16).astype(np.float32) for array in found]
        key = b"".join(array.tobytes() for array in feeds)
        if behaviour == "keeps state" and key in self._seen:
            found = [array + np.float32(1) for array in found]
        self._seen.add(key)
        return found
'''

_ACL = '''"""Emulates pyACL for a test."""
import os


def get_soc_name():
    return os.environ.get("EMULATED_SOC", "Ascend910B3")
'''


def ask(
    bundle: Path,
    folder: Path,
    *,
    behaviour: str = "",
    soc: str = "Ascend910B3",
    files: tuple[str, str] = ("compiled/model.om", "model.onnx"),
) -> "subprocess.CompletedProcess[str]":
    """Runs run_om.py as convert.sh says it, with the emulation in place.

    Args:
        bundle: with the golden file; the answers get there.
        folder: of the emulated toolkit.
        behaviour: of the emulated device.
        soc: which it says it is.
        files: what is asked, and the graph that answers in its place.
    """
    packages = folder / "emulated"
    (packages / "ais_bench" / "infer").mkdir(parents=True, exist_ok=True)
    (packages / "ais_bench" / "infer" / "interface.py").write_text(_AIS_BENCH)
    (packages / "acl.py").write_text(_ACL)
    environment = {
        **os.environ,
        "PYTHONPATH": str(packages),
        "ASCEND_TOOLKIT_HOME": str(folder / "toolkit"),
        "EMULATED_DEVICE": behaviour,
        "EMULATED_SOC": soc,
        "EMULATED_GRAPH": files[1],
    }
    own = bundle / "run_om.py"
    runner = str(own if own.exists() else run_om.__file__)
    command = [runner, files[0], "dymbatch", "golden.safetensors"]
    return subprocess.run(
        [sys.executable, "-P", *command, "answers.safetensors"],
        cwd=bundle,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
