"""`ascend-migrate preflight`: what it prints and how it ends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.flows.toys import Home
from tests.validators.preflight_models import CONV, FLOAT, TRIPS, Node

from ascend_migrate.flows import cli


def saved(folder: Path, node: Node) -> str:
    onnx.save(node.model(), folder / "model.onnx")
    return str(folder / "model.onnx")


def test_a_graph_that_nothing_is_found_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["preflight", saved(tmp_path, CONV), "--soc", "Ascend910B3"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "model.onnx, on Ascend910B3, CANN 8.1 (rules of 8.0):",
        "nothing found",
        "Not verified on device: these are rules that were read, not a compilation.",
    ]


def test_a_note_alone_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["preflight", saved(tmp_path, CONV), "--soc", "Ascend310P3"]) == 0
    assert "note: Conv the_node" in capsys.readouterr().out


def test_a_graph_that_would_compute_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(tmp_path, TRIPS["mod-fmod"][0])
    assert cli.run(["preflight", model, "--soc", "Ascend910B3", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["verified_on_device"] is False
    assert [(f["rule"], f["place"]) for f in document["findings"]] == [("mod-fmod", "the_node")]


def test_one_line_for_all_places_of_a_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TRIPS["transpose-perm"][0].model()
    for number in range(4):
        node = model.graph.node.add()
        node.CopyFrom(model.graph.node[0])
        node.name, node.output[0] = f"again_{number}", f"z{number}"
    onnx.save(model, tmp_path / "model.onnx")
    assert cli.run(["preflight", str(tmp_path / "model.onnx"), "--soc", "Ascend910B3"]) == 1
    assert "fails: Transpose the_node, again_0, again_1 and 2 more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--soc", "Ascend910B"], "not the A2 generation"),
        (["--soc", "H100"], "chip H100: is not known"),
        (["--soc", "ascend910b3"], "it is written Ascend910B3"),
        (["--soc", "Ascend910B3", "--cann", "4.9"], "older than 5.0"),
        (["--soc", "Ascend910B3", "--cann", "next"], "is not a version"),
        # It becomes a part of the script of a bundle.
        (["--soc", "Ascend910B3", "--cann", "8.1; reboot"], "is not a version"),
    ],
)
def test_a_chip_or_version_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert cli.run(["preflight", saved(tmp_path, CONV), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_checkpoint_is_no_graph(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["preflight", str(home.checkpoint), "--soc", "Ascend910B3"]) == 2
    assert "not an ONNX" in capsys.readouterr().err


def test_after_surgery_only_what_it_leaves_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(tmp_path, TRIPS["mod-fmod"][0])
    asked = ["preflight", model, "--soc", "Ascend910B3", "--after-surgery"]
    assert cli.run(asked) == 0
    assert "nothing found" in capsys.readouterr().out


def quantised(path: Path) -> str:
    """A convolution of bytes, as a quantiser leaves it: every number there goes through a byte."""
    scale, zero = floats32(0.05), np.array(128, np.uint8)
    weight = np.random.default_rng(1).integers(-90, 90, (4, 3, 3, 3)).astype(np.int8)
    nodes: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("QuantizeLinear", ["x", "s", "z"], "xq", {}),
        ("DequantizeLinear", ["xq", "s", "z"], "xd", {}),
        ("DequantizeLinear", ["w", "ws", "wz"], "wd", {"axis": 0}),
        ("Conv", ["xd", "wd"], "c", {}),
        ("QuantizeLinear", ["c", "s", "z"], "cq", {}),
        ("DequantizeLinear", ["cq", "s", "z"], "y", {}),
    ]
    constants = {"s": scale, "z": zero, "w": weight, "ws": floats32(0.01, 0.02, 0.03, 0.04)}
    constants["wz"] = np.zeros(4, np.int8)
    graph = helper.make_graph(
        [helper.make_node(op, read, [made], made, **more) for op, read, made, more in nodes],
        "quantised",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def floats32(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array(numbers if len(numbers) > 1 else numbers[0], np.float32)


def test_a_quantised_graph_is_dequantised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["preflight", quantised(tmp_path / "model.onnx"), "--soc", "Ascend910B3"]
    assert cli.run(asked) == 1
    said = capsys.readouterr().out
    assert "fails: QuantizeLinear xq, cq" in said
    assert "fails: DequantizeLinear xd, wd, y" in said
    assert cli.run([*asked, "--after-surgery"]) == 0
    assert "after surgery" in capsys.readouterr().out


def test_surgery_for_an_old_version_is_of_an_old_opset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["preflight", saved(tmp_path, CONV), "--soc", "Ascend310P3", "--cann", "6.0"]
    assert cli.run(asked) == 1
    assert "opset 17, documented are 9 to 13" in capsys.readouterr().out
    assert cli.run([*asked, "--after-surgery"]) == 0


def test_what_surgery_cannot_say_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(tmp_path, TRIPS["roialign-mode"][0])
    asked = ["preflight", model, "--soc", "Ascend910B3", "--after-surgery", "--json"]
    assert cli.run(asked) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["rule"] == "no-exact-rewriting"
    assert "the_node" in finding["place"]
    assert "mode" in finding["says"]
