"""Traps of real checkpoints: where one fixed tolerance or one call would judge wrongly.

Each is a correct or a wrong export of a small model, judged whole; how far it is off is measured.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tests.validators import toys
from tests.validators.toys import specs
from torch import Tensor, nn

from ascend_migrate.converters import torch_to_onnx
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.model import load_state
from ascend_migrate.pipeline.records import Outcome, Verdict
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import capture, read_golden
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.onnx_runner import OnnxRunner


@dataclass(frozen=True)
class Judged:
    """A verdict, and how far the artifact's first output is from the original's own."""

    verdict: Verdict
    absolute: float
    relative: float

    @property
    def failed(self) -> set[str]:
        """Names of the checks that did not pass."""
        return {f.check for f in self.verdict.findings if f.outcome is not Outcome.PASS}


def judged(
    original: type[nn.Module],
    exported: type[nn.Module],
    folder: Path,
    inputs: tuple[InputSpec, ...] = toys.X,
) -> Judged:
    """Judges the export of one class against another one with the same weights."""
    checkpoint = toys.checkpoint_of(original(), folder)
    model = exported().eval()
    load_state(model, checkpoint)
    made = torch_to_onnx.convert(model, inputs, folder, weights=None, parent=checkpoint.digest)
    golden = folder / "golden"
    cases = make_cases(inputs, seed=0, count=4)
    capture(toys.original(original, folder), cases, golden, source=checkpoint.digest)
    verdict = judge([made], golden, source_digest="", source_weights=None)
    off: list[float] = []
    shares: list[float] = []
    with OnnxRunner(made) as runner:
        for case in read_golden(golden).cases:
            own = next(iter(case.own.values())).astype(np.float64)
            gap = np.abs(next(iter(runner.run(case.feeds).values())) - own)
            off.append(float(gap.max()))
            with np.errstate(divide="ignore", invalid="ignore"):
                shares.append(float(np.nanmax(gap / np.abs(own))))
    return Judged(verdict, max(off), max(shares))


class Loud(toys.Plain):
    """Outputs of some ten millions."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1e8


class Cancelling(toys.Plain):
    """Adds a large number and takes it away again: digits are lost on the way, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y + 300 * torch.sin(y) - 300 * torch.sin(y * 1.0000001)
        found: Tensor = self.second(torch.tanh(self.norm(y))) * 40000
        return found


class Faint(toys.Plain):
    """A sigmoid that is nearly 0 everywhere, which kernels compute to some units of 1."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(x) - 9)


def test_one_and_a_half_off_at_many_millions_is_rounding(tmp_path: Path) -> None:
    found = judged(Loud, Loud, tmp_path)
    assert found.failed == set()
    assert found.absolute > 1.5


def test_two_hundredths_off_is_rounding_where_the_original_is_no_surer(tmp_path: Path) -> None:
    found = judged(Cancelling, Cancelling, tmp_path)
    assert found.failed == set()
    assert found.absolute > 2e-2


def test_a_large_share_of_nearly_nothing_is_rounding(tmp_path: Path) -> None:
    found = judged(Faint, Faint, tmp_path)
    assert found.failed == set()
    assert found.absolute < 1e-6
    assert found.relative > 2e-4


class Fresh(toys.Plain):
    """What a graph makes of `toys.Stateful`: every call is the first one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(0)


def test_state_on_self_is_refused(tmp_path: Path) -> None:
    found = judged(toys.Stateful, Fresh, tmp_path)
    assert "calls.repeatable" in found.failed


class Mean(nn.Module):
    """The mean over a length that changes from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(x.sum(1) / x.shape[1])
        return y


class Baked(Mean):
    """Right at the length 16 alone, as an exporter makes it that traces one example."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(x.sum(1) / 16)
        return y


SEQUENCE = specs("x=float32[batch=1..4,time=2..16,8]")


def test_a_length_that_is_baked_in_is_refused(tmp_path: Path) -> None:
    found = judged(Mean, Baked, tmp_path, SEQUENCE)
    assert "outputs.close" in found.failed
    (close,) = (f for f in found.verdict.findings if f.check == "outputs.close")
    assert "time=16" not in close.note


def test_a_length_that_stays_dynamic_passes(tmp_path: Path) -> None:
    assert judged(Mean, Mean, tmp_path, SEQUENCE).failed == set()
