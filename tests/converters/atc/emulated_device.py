"""Stands in for a device, for tests alone: ais_bench and acl, as run_om.py imports them.

No model is compiled, and the answers are onnxruntime's on the CPU. That the script fits the calls
that their documents describe, asks everything, twice, and says whose answers these are, is all that
it can show.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann import run_om
from ascend_migrate.pipeline.cann.om_file import IDENTITY, OM, identity, om_artifact
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.records import Artifact

SOC = "Ascend910B3"

_AIS_BENCH = r'''"""Emulates the session of ais_bench for a test. This is not a device."""
import os, pathlib, sys, time
from types import SimpleNamespace

import numpy as np
import onnxruntime


class InferSession:
    def __init__(self, device, model):
        assert device == 0
        behaviour = os.environ.get("EMULATED_DEVICE", "")
        if behaviour == "crashes":
            sys.exit("[ERROR] load model failed, ret 507013")
        if behaviour == "hangs":
            time.sleep(600)
        model = pathlib.Path(model)
        assert model.read_text().startswith("emulated ")
        graph = os.environ.get("EMULATED_GRAPH") or model.with_name("model.onnx")
        self._graph = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self._seen = set()

    def get_inputs(self):
        return [SimpleNamespace(name=item.name) for item in self._graph.get_inputs()]

    def get_outputs(self):
        # As ATC names them.
        return [SimpleNamespace(name=f"last:0:{item.name}") for item in self._graph.get_outputs()]

    def infer(self, feeds, mode, custom_sizes):
        assert mode == os.environ.get("EMULATED_MODE", "static"), mode
        names = [item.name for item in self._graph.get_inputs()]
        found = self._graph.run(None, dict(zip(names, feeds)))
        behaviour = os.environ.get("EMULATED_DEVICE", "")
        if behaviour == "spoiled":
            found = [array + np.float32(1e-3) for array in found]
        if behaviour == "pads":  # to a fixed number of rows
            found = [np.pad(a, [(0, 4 - len(a)), (0, 0)], constant_values=-1) for a in found]
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


def write(folder: Path) -> None:
    """Writes both modules into a folder for the path of Python."""
    (folder / "ais_bench" / "infer").mkdir(parents=True, exist_ok=True)
    (folder / "ais_bench" / "infer" / "interface.py").write_text(_AIS_BENCH)
    (folder / "acl.py").write_text(_ACL)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """Puts both modules on the path of this process and of those that it starts."""
    write(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def compiled(folder: Path, graph: Path, **asked: str) -> Artifact:
    """Writes what looks like a compilation of a graph without weight files of its own."""
    folder.mkdir()
    (folder / OM).write_text("emulated compilation")
    (folder / "model.onnx").write_bytes(graph.read_bytes())
    request = {"soc": SOC, "precision_mode": "origin", **asked}
    made_from = {"model.onnx": file_digest(graph)}
    durable.write_file(folder / IDENTITY, identity(folder, request, "model.onnx", made_from))
    return om_artifact(folder / OM)


def ask(
    bundle: Path,
    folder: Path,
    *,
    behaviour: str = "",
    soc: str = SOC,
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
    write(packages)
    environment = {
        **os.environ,
        "PYTHONPATH": str(packages),
        "ASCEND_TOOLKIT_HOME": str(folder / "toolkit"),
        "EMULATED_DEVICE": behaviour,
        "EMULATED_SOC": soc,
        "EMULATED_GRAPH": files[1],
        "EMULATED_MODE": "dymbatch",
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
