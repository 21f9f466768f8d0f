"""Stands in for CANN's acl and for ais_bench in a test: no device, and no model is compiled.

It keeps to what their documents say of the calls that run_om.py makes, and answers what onnxruntime
does on the CPU. That our own program fits those calls is all that it can show.
"""

from pathlib import Path

import pytest

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann.om_file import IDENTITY, OM, identity, om_artifact
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.records import Artifact

SOC = "Ascend310P3"

_ACL = """
import os
def get_soc_name():
    return os.environ.get("EMULATED_SOC", "Ascend310P3")
"""

_INTERFACE = """
import os, sys, time
import numpy, onnxruntime

class InferSession:
    def __init__(self, device_id, model_path):
        behaviour = os.environ.get("EMULATED", "")
        if behaviour == "crashes":
            sys.exit("[ERROR] load model failed, ret 507013")
        if behaviour == "hangs":
            time.sleep(600)
        if open(model_path).read() != "emulated":
            raise RuntimeError("not a file of this emulation")
        graph = os.path.join(os.path.dirname(model_path), "model.onnx")
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def get_inputs(self):
        return self.session.get_inputs()

    def get_outputs(self):
        return self.session.get_outputs()

    def infer(self, feeds, mode="static", custom_sizes=100000):
        assert mode == os.environ.get("EMULATED_MODE", "static"), mode
        names = [item.name for item in self.session.get_inputs()]
        found = self.session.run(None, dict(zip(names, feeds)))
        if os.environ.get("EMULATED") == "pads":  # to a fixed number of rows
            found = [numpy.pad(a, [(0, 4 - len(a)), (0, 0)], constant_values=-1) for a in found]
        return found
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """Writes the modules, and puts them on the path of this process and of those it starts."""
    package = folder / "ais_bench" / "infer"
    package.mkdir(parents=True)
    for place in (package.parent, package):
        (place / "__init__.py").write_text("")
    (package / "interface.py").write_text(_INTERFACE)
    (folder / "acl.py").write_text(_ACL)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def compiled(folder: Path, graph: Path, **asked: str) -> Artifact:
    """Writes what looks like a compilation of a graph without weight files of its own."""
    folder.mkdir()
    (folder / OM).write_text("emulated")
    (folder / "model.onnx").write_bytes(graph.read_bytes())
    request = {"soc": SOC, "precision_mode": "origin", **asked}
    made_from = {"model.onnx": file_digest(graph)}
    durable.write_file(folder / IDENTITY, identity(folder, request, "model.onnx", made_from))
    return om_artifact(folder / OM)
