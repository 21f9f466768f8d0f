"""The folder for a machine with CANN: complete, and refused when it is not what was sent.

Its script is run for real, against a program that keeps to the documented contract of ATC.
"""

import ast
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
from tests.converters.atc.emulated_device import ask

from ascend_migrate.converters.atc.bundle import read_bundle, write_bundle
from ascend_migrate.converters.atc.command import mode_of
from ascend_migrate.pipeline.cann import run_om
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.errors import ConversionError, EvidenceError, SourceError, SpecError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs

REQUEST = OmRequest("Ascend910B3", "8.1")


def inputs(text: str = "x=float32[2,3]") -> tuple[InputSpec, ...]:
    found, faults = parse_inputs([text])
    assert not faults
    return found


def write_matmul(folder: Path, location: str = "w.bin") -> None:
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(
        model, folder / "m.onnx", save_as_external_data=True, location=location, size_threshold=0
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    write_matmul(source)
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


def test_lists_and_buckets_go_along_under_names_of_ours(tmp_path: Path) -> None:
    write_matmul(tmp_path)
    texts = {"a.txt": "product\n", "b.txt": "[ByNodeName]\nproduct=enable_float_32_execution\n"}
    texts |= {"c.txt": "{}", "d.txt": "aipp_op{}"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    request = OmRequest(
        *("Ascend910B3", "8.1", "mixed_float16"),
        keep_dtype=tmp_path / "a.txt",
        op_precision=tmp_path / "b.txt",
        mixlist=tmp_path / "c.txt",
        aipp=tmp_path / "d.txt",
        host_cpu="aarch64",
    )
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_bundle(tmp_path / "m.onnx", folder, inputs("x=float32[b=1|2,3]"), request)
    lists = ["keep_dtype.cfg", "op_precision.ini", "modify_mixlist.json", "aipp.cfg"]
    assert [(folder / name).read_text() for name in lists] == [*texts.values()]
    document = json.loads((folder / "request.json").read_text())
    assert set(lists) < set(document["files"])
    assert {
        "--keep_dtype=keep_dtype.cfg",
        "--op_precision_mode=op_precision.ini",
        "--modify_mixlist=modify_mixlist.json",
        "--insert_op_conf=aipp.cfg",
        "--input_shape=x:-1,3",
        "--dynamic_batch_size=1,2",
        "--precision_mode_v2=mixed_float16",
    } < set(document["command"])
    done = converted(folder, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to ask it came along" in done.stdout
    found = read_bundle(folder)
    assert found.om.name == "model_linux_aarch64.om"
    assert found.identity["mode"] == "dymbatch"
    digest = hashlib.sha256(b"product\n").hexdigest()
    assert found.identity["lists"]["keep_dtype"] == f"sha256:{digest}"
    (folder / "keep_dtype.cfg").write_text("another\n")
    assert converted(folder, tmp_path).returncode == 2
    with pytest.raises(EvidenceError, match=r"keep_dtype\.cfg: is not the file that was sent"):
        read_bundle(folder)


def test_a_list_of_another_graph_is_refused(tmp_path: Path) -> None:
    write_matmul(tmp_path)
    (tmp_path / "keep.txt").write_text("OpType::Softmax\nproduct\nnobody\n")
    request = OmRequest("Ascend910B3", "8.1", "fp16", keep_dtype=tmp_path / "keep.txt")
    with pytest.raises(SpecError, match="1 of its nodes are not in the graph: nobody"):
        write_bundle(tmp_path / "m.onnx", tmp_path, inputs(), request)


@pytest.mark.parametrize("name", ["run_om.py", "convert.sh", "answers.safetensors"])
def test_weights_that_would_hide_a_file_of_the_bundle_are_refused(
    tmp_path: Path, name: str
) -> None:
    write_matmul(tmp_path, location=name)
    with pytest.raises(SpecError, match=f"{name} has the name of a file of the bundle"):
        write_bundle(tmp_path / "m.onnx", tmp_path, inputs(), REQUEST)


def test_weights_beside_the_compiled_file_come_back(bundle: Path, tmp_path: Path) -> None:
    assert converted(bundle, tmp_path, behaviour="weights beside").returncode == 0
    found = read_bundle(bundle)
    assert found.weights == {"weight/0": bundle / "compiled" / "weight" / "0"}
    found.weights["weight/0"].write_text("others")
    with pytest.raises(EvidenceError, match=r"weight/0: is not the file that convert\.sh made"):
        read_bundle(bundle)


def test_no_path_of_this_machine_goes_along(bundle: Path, tmp_path: Path) -> None:
    for name in ("convert.sh", "request.json"):
        assert str(tmp_path) not in (bundle / name).read_text()


def test_there_and_back(bundle: Path, tmp_path: Path) -> None:
    done = converted(bundle, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run_om.py compiled/model.om static golden.safetensors" in done.stdout
    found = read_bundle(bundle)
    assert found.om == bundle / "compiled" / "model.om"
    graph = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    assert found.om.read_text() == f"emulated {graph}"
    assert found.graph == bundle / "model.onnx"
    assert found.golden == bundle / "golden.safetensors"
    assert (found.weights, found.answers) == ({}, None)
    assert found.identity["soc"] == "Ascend910B3"
    assert found.identity["toolkit"] == "8.1.RC1"


def test_another_chip_is_refused(bundle: Path, tmp_path: Path) -> None:
    done = converted(bundle, tmp_path, "Ascend310P3")
    assert done.returncode == 2
    assert "is for Ascend910B3, not for Ascend310P3" in done.stderr
    assert not (bundle / "compiled" / "model.om").exists()


def test_a_chip_that_atc_does_not_know_is_refused(bundle: Path, tmp_path: Path) -> None:
    text = (bundle / "convert.sh").read_text()
    (bundle / "convert.sh").write_text(text.replace("Ascend910B3", "Ascend910B9"))
    done = converted(bundle, tmp_path)
    assert done.returncode == 1
    assert "E10001" in done.stderr
    assert not (bundle / "result.json").exists()


@pytest.mark.parametrize(
    "behaviour", ["old message", "no code", "writes nothing", "says nothing", "fails after writing"]
)
def test_a_failed_conversion_is_no_result(bundle: Path, tmp_path: Path, behaviour: str) -> None:
    assert converted(bundle, tmp_path).returncode == 0
    done = converted(bundle, tmp_path, behaviour=behaviour)
    assert done.returncode == 1
    assert "not converted" in done.stderr
    assert not (bundle / "result.json").exists()
    assert not (bundle / "compiled").exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_that_was_changed_is_noticed(bundle: Path, tmp_path: Path, when: str) -> None:
    """What was compiled is what the script says: the request is the word for it afterwards."""
    path = bundle / "request.json"
    changed = path.read_text().replace('"precision_mode":"origin"', '"precision_mode":"fp16"')
    if when == "before":
        path.write_text(changed)
        assert converted(bundle, tmp_path).returncode == 2
        return
    assert converted(bundle, tmp_path).returncode == 0
    path.write_text(changed)
    with pytest.raises(EvidenceError, match=r"result\.json: is of another request\.json"):
        read_bundle(bundle)


def test_a_success_without_a_result_is_no_failure_of_atc(bundle: Path, tmp_path: Path) -> None:
    converted(bundle, tmp_path)
    (bundle / "result.json").unlink()
    with pytest.raises(SourceError, match="was not converted; run"):
        read_bundle(bundle)


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
    (bundle / "compiled" / "model.om").write_text("another")
    with pytest.raises(EvidenceError, match=r"is not the file that convert\.sh made"):
        read_bundle(bundle)


def test_a_result_for_another_chip_is_refused(bundle: Path, tmp_path: Path) -> None:
    converted(bundle, tmp_path)
    text = (bundle / "result.json").read_text()
    (bundle / "result.json").write_text(text.replace("Ascend910B3", "Ascend310P3"))
    with pytest.raises(EvidenceError, match="is for Ascend310P3, asked was Ascend910B3"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "name", ["../bundle/compiled/model.om", "/model.om", "model.onnx", "compiled/../model.om"]
)
def test_a_result_cannot_name_a_file_elsewhere(bundle: Path, tmp_path: Path, name: str) -> None:
    converted(bundle, tmp_path)
    document = json.loads((bundle / "result.json").read_text())
    document["om"] = name
    document["files"] = {name: document["files"]["compiled/model.om"]}
    (bundle / "result.json").write_text(json.dumps(document))
    with pytest.raises(EvidenceError, match=r"names no \.om file of this folder"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "ascend-migrate/om-bundle/1"}, "not written by this release"),
        ({"files": None}, "does not say what was asked for"),
        ({"files": {}}, "does not say what was asked for"),
        ({"request": []}, "does not say what was asked for"),
        ({"request": {"soc": 1, "precision_mode": "fp16"}}, "does not say for which chip"),
        ({"files": {"model.onnx": "", "../x": ""}}, "is not a plain relative path"),
        ({"files": {"model.onnx": "", "absent": ""}}, "is not the file that was sent"),
    ],
)
def test_a_request_that_was_tampered_with(bundle: Path, change: dict[str, Any], said: str) -> None:
    path = bundle / "request.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises((SourceError, EvidenceError), match=said):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "change", [{"files": []}, {"files": {"compiled/model.om": 1}}, {"om": None}, {"soc": None}]
)
def test_a_result_that_was_tampered_with(
    bundle: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    converted(bundle, tmp_path)
    path = bundle / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(EvidenceError):
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


def test_the_runner_is_written_for_the_python_of_old_machines() -> None:
    ast.parse(Path(str(run_om.__file__)).read_text(), feature_version=(3, 7))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("last:0:y", "y"),
        ("y", "y"),
        ("PartitionedCall:1:a/b:0", "a/b:0"),
        ("z", "z"),
        ("a:b", "a:b"),
    ],
)
def test_outputs_have_their_own_names(name: str, wanted: str) -> None:
    assert run_om.spoken(name, {"y", "a/b:0"}) == wanted


def test_what_belongs_to_no_case_is_not_asked(tmp_path: Path) -> None:
    """A golden file holds more than questions, in types that old machines do not know."""
    one = np.ones(2, np.float32)
    names = ["0/input/x", "0/own/y", "intermediates/input/z", "intermediates/input"]
    save_file(dict.fromkeys(names, one), tmp_path / "g.safetensors")
    found = run_om.read(str(tmp_path / "g.safetensors"), "input")
    assert list(found) == ["0/input/x"]


def test_the_runner_needs_what_cann_has(bundle: Path) -> None:
    """Without CANN it says so, after Python itself has read the file."""
    done = subprocess.run(
        [sys.executable, "-P", str(bundle / "run_om.py"), "model.om", "static", "g", "a"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("No module named 'acl'; run `source")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("golden", "said"),
    [
        (b"", "golden.safetensors: cannot be read"),
        (b"junk " * 9, "golden.safetensors: cannot be read"),
        (None, "golden.safetensors: cannot be read"),
    ],
)
def test_a_damaged_golden_file_is_one_line_on_the_device(
    bundle: Path, tmp_path: Path, golden: bytes | None, said: str
) -> None:
    (bundle / "golden.safetensors").unlink()
    if golden is not None:
        (bundle / "golden.safetensors").write_bytes(golden)
    done = ask(bundle, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert not (bundle / "answers.safetensors").exists()
