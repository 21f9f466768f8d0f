"""The folder for a machine with CANN: complete, and refused when it is not what was sent.

Its script is run for real, against a program that keeps to the documented contract of ATC.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file
from tests.converters.atc.emulated import install

from ascend_migrate.converters.atc import run_om
from ascend_migrate.converters.atc.bundle import mode_of, read_bundle, write_bundle
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.errors import ConversionError, EvidenceError, SourceError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs

REQUEST = OmRequest("Ascend910B3", "8.1")


def inputs(text: str = "x=float32[2,3]") -> tuple[InputSpec, ...]:
    found, faults = parse_inputs([text])
    assert not faults
    return found


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    source = tmp_path / "source"
    source.mkdir()
    onnx.save(
        model, source / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    save_file({"0/input/x": np.ones((2, 3), np.float32)}, source / "golden.safetensors")
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_bundle(source / "m.onnx", folder, inputs(), REQUEST, golden=source / "golden.safetensors")
    return folder


def converted(
    bundle: Path, tmp_path: Path, *given: str, behaviour: str = ""
) -> "subprocess.CompletedProcess[str]":
    root = tmp_path / "toolkit"
    if not root.exists():
        install(tmp_path)
    environment = {
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        "ASCEND_TOOLKIT_HOME": str(root),
        "EMULATED_ATC": behaviour,
    }
    return subprocess.run(
        [str(bundle / "convert.sh"), *given],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_everything_is_in_it(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == [
        *("convert.sh", "golden.safetensors", "model.onnx"),
        *("request.json", "run_om.py", "w.bin"),
    ]
    document = json.loads((bundle / "request.json").read_text())
    assert document["request"]["soc"] == "Ascend910B3"
    assert document["command"][0] == "atc"
    digest = hashlib.sha256((bundle / "w.bin").read_bytes()).hexdigest()
    assert document["files"]["w.bin"] == f"sha256:{digest}"


def test_no_path_of_this_machine_goes_along(bundle: Path, tmp_path: Path) -> None:
    for name in ("convert.sh", "request.json"):
        assert str(tmp_path) not in (bundle / name).read_text()


def test_there_and_back(bundle: Path, tmp_path: Path) -> None:
    done = converted(bundle, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run_om.py model.om static golden.safetensors" in done.stdout
    found = read_bundle(bundle)
    assert found.om == bundle / "model.om"
    graph = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    assert found.om.read_text() == f"emulated {graph}"
    assert found.graph == f"sha256:{graph}"
    assert found.identity["soc"] == "Ascend910B3"
    assert found.identity["toolkit"] == "8.1.RC1"


def test_another_chip_is_refused(bundle: Path, tmp_path: Path) -> None:
    done = converted(bundle, tmp_path, "Ascend310P3")
    assert done.returncode == 2
    assert "is for Ascend910B3, not for Ascend310P3" in done.stderr
    assert not (bundle / "model.om").exists()


def test_a_chip_that_atc_does_not_know_is_refused(bundle: Path, tmp_path: Path) -> None:
    for name in ("convert.sh", "request.json"):
        text = (bundle / name).read_text()
        (bundle / name).write_text(text.replace("Ascend910B3", "Ascend910B9"))
    done = converted(bundle, tmp_path)
    assert done.returncode == 1
    assert "E10001" in done.stderr
    assert not (bundle / "result.json").exists()


@pytest.mark.parametrize("behaviour", ["old message", "no code", "writes nothing", "says nothing"])
def test_a_failed_conversion_is_no_result(bundle: Path, tmp_path: Path, behaviour: str) -> None:
    assert converted(bundle, tmp_path).returncode == 0
    done = converted(bundle, tmp_path, behaviour=behaviour)
    assert done.returncode == 1
    assert "not converted" in done.stderr
    assert not (bundle / "result.json").exists()


def test_the_reason_of_a_failure_comes_back(bundle: Path, tmp_path: Path) -> None:
    converted(bundle, tmp_path, behaviour="new message")
    with pytest.raises(ConversionError, match=r"E13010 \(ai.onnx::22::Conv\)"):
        read_bundle(bundle)


def test_without_cann_the_script_says_what_is_missing(bundle: Path) -> None:
    done = subprocess.run([str(bundle / "convert.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "atc is not here" in done.stderr


def test_a_damaged_file_is_noticed_there(bundle: Path, tmp_path: Path) -> None:
    with (bundle / "w.bin").open("r+b") as file:
        file.write(b"\xff")
    done = converted(bundle, tmp_path)
    assert done.returncode == 2
    assert "damaged" in done.stderr


@pytest.mark.parametrize("name", ["model.onnx", "w.bin", "golden.safetensors"])
def test_a_file_that_was_changed_there_is_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    converted(bundle, tmp_path)
    with (bundle / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(EvidenceError, match=f"{name}: is not the file that was sent"):
        read_bundle(bundle)


def test_another_om_file_is_refused(bundle: Path, tmp_path: Path) -> None:
    converted(bundle, tmp_path)
    (bundle / "model.om").write_text("another")
    with pytest.raises(EvidenceError, match=r"is not the file that convert\.sh made"):
        read_bundle(bundle)


def test_a_result_for_another_chip_is_refused(bundle: Path, tmp_path: Path) -> None:
    converted(bundle, tmp_path)
    text = (bundle / "result.json").read_text()
    (bundle / "result.json").write_text(text.replace("Ascend910B3", "Ascend310P3"))
    with pytest.raises(EvidenceError, match="is for Ascend310P3, asked was Ascend910B3"):
        read_bundle(bundle)


def test_a_result_cannot_name_a_file_elsewhere(bundle: Path, tmp_path: Path) -> None:
    converted(bundle, tmp_path)
    document = json.loads((bundle / "result.json").read_text())
    document["om"] = "../bundle/model.om"
    (bundle / "result.json").write_text(json.dumps(document))
    with pytest.raises(EvidenceError, match=r"names no \.om file of this folder"):
        read_bundle(bundle)


def test_a_folder_that_was_not_converted(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"run convert\.sh where CANN is installed"):
        read_bundle(bundle)
    with pytest.raises(SourceError, match="cannot be read"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("x=float32[2,3]", "static"),
        ("x=float32[b=1|2,3]", "dymbatch"),
        ("x=float32[2,t=3|4]", "dymdims"),
        ("x=float32[2,t=3..4]", "dymshape"),
    ],
)
def test_the_runner_is_told_how_the_sizes_were_given(text: str, mode: str) -> None:
    assert mode_of(inputs(text)) == mode


def test_the_runner_reads_and_writes_safetensors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "0/input/x": rng.standard_normal((2, 3)).astype(np.float32),
        "0/input/ids": rng.integers(0, 9, (4,)),
        "1/input/x": np.zeros((0, 3), np.float16),
        "1/own/y": np.array(True),
    }
    save_file(arrays, tmp_path / "a.safetensors")
    found = run_om.read(str(tmp_path / "a.safetensors"))
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in found.items()} == {
        n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()
    }
    assert [sorted(case) for case in run_om.cases(found)] == [["ids", "x"], ["x"]]
    run_om.write(str(tmp_path / "b.safetensors"), found, {"runtime": "none"})
    again = load_file(tmp_path / "b.safetensors")
    assert {n: (a.shape, a.tobytes()) for n, a in again.items()} == {
        n: (a.shape, a.tobytes()) for n, a in arrays.items()
    }


def test_the_runner_needs_what_cann_has(bundle: Path) -> None:
    """Without ais_bench it says so, after Python itself has read the file."""
    done = subprocess.run(
        [sys.executable, "-P", str(bundle / "run_om.py"), "model.om", "static", "g", "a"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'ais_bench'" in done.stderr
