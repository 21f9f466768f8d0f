"""Every operator, converted and run by MindSpore, gives what onnxruntime gives."""

from pathlib import Path

import onnx
import pytest
from tests.converters.mindir.case import Case
from tests.converters.mindir.operator_cases import cases
from tests.converters.oracle import assert_same, run_onnx

from ascend_migrate.converters.mindir.registry import registry
from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

CASES = cases()
NOT_CALLED = {"Constant"}
"""A node without inputs is folded; every other test has some."""

ELSEWHERE = {"If", "Loop", "Scan"}
ELSEWHERE |= {"ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty"}
ELSEWHERE |= {"SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence"}
ELSEWHERE |= {"Optional", "OptionalGetElement", "OptionalHasElement"}
"""Operators that need more than one node: see test_control.py and test_sequences.py."""


@pytest.mark.mindspore
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_operator(case: Case, tmp_path: Path, mindspore_process: MindSporeProcess) -> None:
    model = case.model()
    onnx.save(model, tmp_path / "model.onnx")
    artifact = convert(tmp_path / "model.onnx", tmp_path, inputs=(), parent="p")
    runner = MindSporeRunner(artifact, process=mindspore_process)
    for sizes in case.all_sizes():
        feeds = case.feeds(sizes)
        found = runner.run(feeds)
        assert list(found) == [output.name for output in model.graph.output]
        assert_same(list(found.values()), run_onnx(model, feeds), case.rtol)


def test_every_operator_has_a_case() -> None:
    assert {name for name, _ in registry()} - NOT_CALLED - ELSEWHERE <= {case.op for case in CASES}
