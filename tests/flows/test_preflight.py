"""`ascend-migrate preflight`: what it prints and how it ends."""

import json
from pathlib import Path

import onnx
import pytest
from tests.flows.toys import Home
from tests.validators.preflight_models import CONV, TRIPS, Node

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
        "model.onnx on Ascend910B3, by the rules for CANN 8.0:",
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
        (["--soc", "Ascend910B3", "--cann", "next"], "is not a version"),
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
