"""Small channels beside large ones: what is wrong with them shows, what is sound passes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tests.validators import toys
from torch import Tensor, nn

from ascend_migrate.converters import torch_to_onnx
from ascend_migrate.pipeline.model import load_state
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import capture
from ascend_migrate.validators.groups import check_groups
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.outputs import Answer, compare

SCALES = np.array([1e3] * 4 + [1e-3] * 2)
EPSILON = 2.0**-24


def answers(
    scales: np.ndarray = SCALES, *, seed: int = 0, faults: Sequence[float] = (), axis: int = -1
) -> list[Answer]:
    """Five cases whose channels have these sizes; ``faults`` are factors of the channels."""
    rng = np.random.default_rng(seed)

    def noisy(exact: np.ndarray) -> np.ndarray:
        return (exact * (1 + 4 * EPSILON * rng.standard_normal(exact.shape))).astype(np.float32)

    found = []
    for case in range(5):
        exact = rng.standard_normal((2, 7, len(scales))) * scales
        wrong = exact * (np.array(faults) if len(faults) else 1.0)
        arrays = [np.moveaxis(a, -1, axis) for a in (noisy(exact), exact, noisy(wrong))]
        found.append(Answer(f"case {case}", *arrays))
    return found


def one(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


@pytest.mark.parametrize("axis", [-1, 1])
def test_one_percent_in_the_small_channels_fails_here_alone(axis: int) -> None:
    given = answers(faults=[1, 1, 1, 1, 1, 1.01], axis=axis)
    assert {f.outcome for f in compare(Form.ONNX, "y", given)} == {Outcome.PASS}
    finding = one(check_groups(Form.ONNX, "y", given))
    assert finding.outcome is Outcome.FAIL
    assert "2 of 6 along axis" in finding.note
    assert "channel 4 among them" in finding.note


def test_sound_channels_of_any_sizes_give_no_alarm() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for seed in range(300):
        scales = 10.0 ** rng.uniform(-6, 4, int(rng.integers(2, 40)))
        found = check_groups(Form.ONNX, "y", answers(scales, seed=seed))
        alarms += sum(f.outcome is not Outcome.PASS for f in found)
    assert alarms == 0


def test_channels_of_one_size_need_no_groups() -> None:
    assert check_groups(Form.ONNX, "y", answers(np.ones(6))) == []
    lone = [Answer("c", a.own[0, 0], a.exact[0, 0], a.found[0, 0]) for a in answers()]
    assert check_groups(Form.ONNX, "y", lone) == []


def test_a_sigmoid_that_errs_absolutely_near_zero_passes() -> None:
    given = answers(np.array([1.0, 1e-7]))
    kernel = [
        Answer(a.case, a.own, a.exact, (a.exact + np.array([0, 3e-8])).astype(np.float32))
        for a in given
    ]
    assert one(check_groups(Form.ONNX, "y", kernel)).outcome is Outcome.PASS


def test_channels_that_are_always_zero_stay_zero() -> None:
    given = answers(np.array([1.0, 0.0]))
    assert one(check_groups(Form.ONNX, "y", given)).outcome is Outcome.PASS
    stray = [
        Answer(a.case, a.own, a.exact, a.found + np.array([0, 1e-5], np.float32)) for a in given
    ]
    assert one(check_groups(Form.ONNX, "y", stray)).outcome is Outcome.FAIL


def test_an_original_that_is_as_noisy_there_says_so() -> None:
    """A small channel that is the difference of large numbers has their noise in both."""
    rng = np.random.default_rng(2)
    given = [
        Answer(
            a.case,
            a.own + (SCALES < 1) * rng.standard_normal(a.own.shape).astype(np.float32) * 1e-4,
            a.exact,
            a.found + (SCALES < 1) * rng.standard_normal(a.own.shape).astype(np.float32) * 2e-4,
        )
        for a in answers()
    ]
    given = [Answer(a.case, a.own.astype("f4"), a.exact, a.found.astype("f4")) for a in given]
    assert one(check_groups(Form.ONNX, "y", given)).outcome is Outcome.PASS


class Detector(nn.Module):
    """Boxes in pixels beside scores that are small everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(8, 16)
        self.boxes = nn.Linear(16, 4)
        self.scores = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.trunk(x))
        return torch.cat([self.boxes(y) * 1e3, torch.sigmoid(self.scores(y)) * 1e-3], -1)


def test_a_wrong_score_of_a_detector_fails_beside_its_boxes(tmp_path: Path) -> None:
    checkpoint = toys.checkpoint_of(Detector(), tmp_path)
    model = Detector().eval()
    load_state(model, checkpoint)
    made = torch_to_onnx.convert(model, toys.X, tmp_path, weights=None, parent=checkpoint.digest)
    golden = tmp_path / "golden"
    original = toys.original(Detector, tmp_path)
    capture(original, make_cases(toys.X, seed=0, count=2), golden, source=checkpoint.digest)

    def outcomes() -> dict[str, Outcome]:
        now = Artifact.of(made.form, made.root, [made.entry], parent="")
        verdict = judge([now], golden, source_digest="", source_weights=None)
        return {f.check: f.outcome for f in verdict.findings}

    assert set(outcomes().values()) == {Outcome.PASS}
    graph = onnx.load(made.path)
    weight = next(t for t in graph.graph.initializer if t.name == "scores.weight")
    wrong = numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(numpy_helper.from_array(wrong, weight.name))
    onnx.save(graph, made.path)
    found = outcomes()
    assert (found["outputs.close"], found["outputs.peak"]) == (Outcome.PASS, Outcome.PASS)
    assert found["outputs.groups"] is Outcome.FAIL
