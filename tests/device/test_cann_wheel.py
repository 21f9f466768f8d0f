"""The real onnxruntime-cann in an environment of its own, without CANN: it claims what it cannot.

The environment is made as docs/device.md says, from the package index: ``make device``.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.wheel import ROOT, build_wheel

from ascend_migrate.flows import cli

pytestmark = [pytest.mark.cann_wheel, pytest.mark.timeout(900)]

WEIGHTS = ", ".join(str((index % 7) / 10 - 0.3) for index in range(64))
GRAPH = f"""<ir_version: 8, opset_import: ["" : 17]>
net (float[n, 16] x) => (float[n, 4] y)
<float[16, 4] w = {{{WEIGHTS}}}>
{{
    product = MatMul (x, w)
    y = Tanh (product)
}}"""

SPEC = """name = "toy"
to = ["onnx"]
inputs = ["x=float32[n=1..4,16]"]
[source]
path = "graph.onnx"
"""

SAYS = """
import json, sys
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CANNExecutionProvider"])
found = session.get_providers()
from ascend_migrate.validators.device import onnx_cann_worker
from ascend_migrate.validators.worker import AbsentError
try:
    onnx_cann_worker.assert_provider(session)
    said = ""
except AbsentError as error:
    said = str(error)
available = onnxruntime.get_available_providers()
print(json.dumps({"available": available, "found": found, "said": said}))
"""


@dataclass(frozen=True)
class Environment:
    """The environment, and a folder with an artifact and its golden file."""

    folder: Path
    home: Path

    def run(self, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        program, *rest = map(str, arguments)
        return subprocess.run(
            [self.folder / "bin" / program, *rest],
            cwd=self.home,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def validate(self, *more: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        golden = self.home / "golden.safetensors"
        given = ("validate", "made/model.onnx", "--against", golden, *more)
        return self.run("ascend-migrate", *given, **variables)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder, home = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("home")
    _make(folder)
    _fill(home)
    return Environment(folder, home)


def _make(folder: Path) -> None:
    """Carries out the commands of docs/device.md, the package itself being a wheel of this tree."""
    page = (ROOT / "docs" / "device.md").read_text()
    (wanted,) = re.findall(r"device/bin/pip install (onnxruntime-cann .*)", page)
    wheel = build_wheel(folder)
    _do([sys.executable, "-m", "venv", str(folder)], folder)
    pip = str(folder / "bin" / "pip")
    _do([pip, "install", "--quiet", "--no-deps", str(wheel)], folder)
    packages = [text.strip('"') for text in wanted.split()]
    _do([pip, "install", "--quiet", *packages], folder)


def _do(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _fill(home: Path) -> None:
    import onnx
    from onnx import parser

    onnx.save(parser.parse_model(GRAPH), home / "graph.onnx")
    spec, golden = home / "spec.toml", home / "golden.safetensors"
    spec.write_text(SPEC)
    assert cli.run(["capture", str(spec), "-o", str(golden)]) == 0
    assert cli.run(["convert", str(spec), "--to", "onnx", "-o", str(home / "made")]) == 0


def test_the_environment_has_no_torch_and_an_old_numpy(environment: Environment) -> None:
    listed = environment.run("pip", "list", "--format", "json").stdout
    found = {item["name"].lower(): item["version"] for item in json.loads(listed)}
    assert found["ascend-migrate"] == version("ascend-migrate")
    assert found["numpy"].startswith("1.")
    assert "onnxruntime-cann" in found
    assert not {"torch", "mindspore", "onnxruntime", "prefect", "onnxscript"} & set(found)


def test_a_golden_file_alone_judges_there(environment: Environment) -> None:
    done = environment.validate("--json", "-o", "verdict")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["outcome"], found["level"]) == ("pass", "cpu")
    assert found["context"]["runtimes"] == {"onnx": {"name": "onnxruntime-cpu", "level": "cpu"}}
    assert (environment.home / "verdict" / "report.html").is_file()


def test_it_falls_back_to_the_cpu_without_an_error_and_is_refused(
    environment: Environment,
) -> None:
    done = environment.run("python", "-P", "-c", SAYS, "made/model.onnx")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["available"][0] == "CANNExecutionProvider"  # as it says
    assert found["found"] == ["CPUExecutionProvider"]  # as it is
    assert found["said"].startswith("onnxruntime fell back to CPUExecutionProvider without an")


def test_without_cann_nothing_is_proved_on_a_device(environment: Environment) -> None:
    done = environment.validate("--runtime", "onnxruntime-cann", "--json")
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert (found["outcome"], found["level"]) == ("not_run", "ledger")
    (refused,) = [item for item in found["findings"] if item["outcome"] != "pass"]
    assert re.search(
        r"needs libascendcl\.so, libacl_op_compiler\.so, libfmk_onnx_parser\.so of CANN, "
        r"not found; install CANN and run `source \.\.\./set_env\.sh`$",
        refused["note"],
    )
    assert done.stderr.splitlines() == ["  judge onnx"]


def test_libraries_that_are_no_cann_do_not_let_it_fall_back(
    environment: Environment, tmp_path: Path
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler, for libraries that are empty")
    (tmp_path / "empty.c").write_text("int nothing;\n")
    for name in ("libascendcl.so", "libacl_op_compiler.so", "libfmk_onnx_parser.so"):
        _do([compiler, "-shared", "-fPIC", "-o", name, "empty.c"], tmp_path)
    done = environment.validate("--runtime", "onnxruntime-cann", LD_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 3
    last = done.stdout.splitlines()[-1]
    assert last.startswith("NOT RUN: onnx outputs.close all outputs: onnxruntime-cann: made/model")
    assert "not loaded: RuntimeError: CANNExecutionProvider refuses it: " in last
    assert done.stderr.splitlines() == ["  judge onnx"]


@pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "onnxruntime-cann"])
def test_a_newer_numpy_is_told(environment: Environment, tmp_path: Path, runtime: str) -> None:
    pip = str(environment.folder / "bin" / "pip")
    _do(
        [pip, "install", "--quiet", "--no-deps", "--target", str(tmp_path), "numpy>=2,<3"], tmp_path
    )
    done = environment.validate("--runtime", runtime, PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    last = done.stdout.splitlines()[-1]
    assert re.search(
        r"onnxruntime cannot be imported \(.*\); onnxruntime-cann wants numpy<2$", last
    )


def test_the_doctor_knows_it(environment: Environment) -> None:
    done = environment.run("ascend-migrate", "doctor", "--json")
    found = {check["name"]: check["found"] for check in json.loads(done.stdout)}
    assert found["onnxruntime"] == found["onnxruntime-cann"] != ""
    assert found["torch"] == ""
