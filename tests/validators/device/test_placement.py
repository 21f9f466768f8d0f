"""Where nodes ran, read from profiles that onnxruntime itself writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import parser

from ascend_migrate.validators.device.onnx_cann_worker import PROVIDER, placement_fault
from ascend_migrate.validators.device.placement import placed_elsewhere

CPU = "CPUExecutionProvider"

TWO = """<ir_version: 8, opset_import: ["" : 17]>
net (float[n, 3] x) => (float[n, 1] y) {
    [first] s = Softmax (x)
    [second] y = ReduceMax <axes = [1]> (s)
}"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The profile of a session on the CPU, run twice at different sizes."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    model = parser.parse_model(TWO).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=[CPU])
    for rows in (1, 2):
        session.run(None, {"x": np.ones((rows, 3), np.float32)})
    return Path(session.end_profiling())


def test_every_node_is_named_once_with_its_provider(profile: Path) -> None:
    assert placed_elsewhere(profile, CPU) == []
    assert placed_elsewhere(profile, PROVIDER) == [
        f"first (Softmax) on {CPU}",
        f"second (ReduceMax) on {CPU}",
    ]


def test_one_node_elsewhere_is_found_among_the_rest(profile: Path) -> None:
    events = json.loads(profile.read_text())
    changed = [event for event in events if event["name"].startswith("second")]
    assert len(changed) == 2
    for event in changed:
        event["args"]["provider"] = PROVIDER
    profile.write_text(json.dumps(events))
    assert placed_elsewhere(profile, PROVIDER) == [f"first (Softmax) on {CPU}"]
    assert placement_fault(profile) == f"not all of it ran on {PROVIDER}: first (Softmax) on {CPU}"
    assert not profile.exists()


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "names no node"),
        ([{"cat": "Session", "name": "model_run", "args": {}}], "names no node"),
        ([{"cat": "Node", "name": "a_fence_before", "args": {"op_name": "Add"}}], "names no node"),
        ({"cat": "Node"}, "no list of events"),
    ],
)
def test_a_profile_that_says_nothing_proves_nothing(events: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(events))
    with pytest.raises(ValueError, match=said):
        placed_elsewhere(path, CPU)
    assert said in placement_fault(path)


def test_a_profile_that_is_cut_short_proves_nothing(profile: Path) -> None:
    profile.write_text(profile.read_text()[:-20])
    assert placement_fault(profile)


def test_nodes_beyond_the_first_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    args = {"provider": CPU, "op_name": "Add"}
    path.write_text(
        json.dumps([{"cat": "Node", "name": f"n{i}_kernel_time", "args": args} for i in range(8)])
    )
    said = placement_fault(path)
    assert said.endswith(f"n4 (Add) on {CPU} and 3 more")
    assert "n5" not in said
