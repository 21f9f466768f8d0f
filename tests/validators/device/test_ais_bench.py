"""A compiled file that is asked on the spot: everything around the device, which is emulated."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser
from safetensors.numpy import save_file
from tests.converters.atc import emulated_device

from ascend_migrate.pipeline.errors import CheckError, EvidenceError, ToolchainError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.runners import DEVICE, Opened, open_runner

GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
net (float[n, 3] x) => (float[n, 3] y) { y = Neg (x) }"""
CASES = [np.array([[1, 2, 3]], np.float32), np.array([[0, -1, 5], [2, 2, 2]], np.float32)]


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    arrays = {f"{index}/input/x": x for index, x in enumerate(CASES)}
    arrays |= {f"{index}/own/y": -x for index, x in enumerate(CASES)}
    save_file(arrays, tmp_path / "golden.safetensors")
    return tmp_path / "golden.safetensors"


def artifact(folder: Path, **asked: str) -> Artifact:
    onnx.save(parser.parse_model(GRAPH), folder / "graph.onnx")
    return emulated_device.compiled(folder / "om", folder / "graph.onnx", **asked)


def opened(made: Artifact, golden: Path, limits: Limits = Limits()) -> Opened:  # noqa: B008
    return open_runner(made, limits, "ais_bench", golden)


def test_asks_everything_twice_and_says_who_answered(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated_device.install(tmp_path / "python", monkeypatch)
    with opened(artifact(tmp_path), golden) as runner:
        assert runner.level == DEVICE
        assert emulated_device.SOC in runner.name
        for _turn in range(2):
            for x in CASES:
                assert runner.run({"x": x})["y"].tolist() == (-x).tolist()
        with pytest.raises(ToolchainError, match="was not asked everything"):
            runner.run({"x": CASES[0]})
    names = {"graph.onnx", "golden.safetensors", "om", "python"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert {path.name for path in (tmp_path / "om").iterdir()} == {
        *("model.om", "om.json", "model.onnx"),
    }


def test_sizes_are_given_as_the_file_was_compiled(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated_device.install(tmp_path / "python", monkeypatch, EMULATED_MODE="dymbatch")
    with opened(artifact(tmp_path, mode="dymbatch"), golden) as runner:
        assert runner.run({"x": CASES[0]})["y"].tolist() == (-CASES[0]).tolist()


NMS = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1, n, 4] boxes, float[1, 1, n] scores) => (int64[k, 3] kept)
<int64 most = {3}, float iou = {0.5}, float low = {0.1}>
{ kept = NonMaxSuppression (boxes, scores, most, iou, low) }"""


def test_padding_of_the_device_is_taken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = np.array([[[0, 0, 1, 1], [5, 5, 6, 6]]], np.float32)
    scores = np.array([[[0.3, 0.9]]], np.float32)
    feeds = {"boxes": boxes, "scores": scores}
    arrays = {f"0/input/{name}": a for name, a in feeds.items()}
    kept = {"0/own/kept": np.zeros((1, 3), np.int64)}  # ATC's names of outputs are not its own
    save_file(arrays | kept, tmp_path / "golden.safetensors")
    onnx.save(parser.parse_model(NMS), tmp_path / "graph.onnx")
    made = emulated_device.compiled(tmp_path / "om", tmp_path / "graph.onnx")
    emulated_device.install(tmp_path / "python", monkeypatch, EMULATED_DEVICE="pads")
    with opened(made, tmp_path / "golden.safetensors") as runner:
        assert runner.run(feeds)["kept"].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_a_device_that_fails_is_one_line(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated_device.install(tmp_path / "python", monkeypatch, EMULATED_DEVICE="crashes")
    said = r"model\.om: ais_bench does not run it \(exit code 1\): \[ERROR\] .*507013$"
    with pytest.raises(CheckError, match=said):
        opened(artifact(tmp_path), golden)


def test_a_device_that_hangs_is_ended(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated_device.install(tmp_path / "python", monkeypatch, EMULATED_DEVICE="hangs")
    with pytest.raises(ToolchainError, match=r"had not answered after 0\.5 s, ended") as caught:
        opened(artifact(tmp_path), golden, Limits(timeout=0.1))  # once, and twice for each case
    assert caught.value.transient


def test_another_chip_than_it_was_compiled_for(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated_device.install(tmp_path / "python", monkeypatch, EMULATED_SOC="Ascend310P3")
    with pytest.raises(EvidenceError, match=r"given by Ascend310P3; the file is for Ascend910B3"):
        opened(artifact(tmp_path), golden)
