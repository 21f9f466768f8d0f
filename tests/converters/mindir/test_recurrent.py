"""What onnxruntime has no kernel for: recurrent layers with the batch in front."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.converters.mindir.case import Case, f
from tests.converters.mindir.graphs import converted
from tests.converters.oracle import assert_same, run_onnx

from ascend_migrate.pipeline.errors import UnsupportedOperatorError
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

TIME, BATCH, WIDTH, HIDDEN = 4, 2, 3, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _case(op: str, kind: str = "bidirectional") -> Case:
    count, gates = (2 if kind == "bidirectional" else 1), GATES[op]
    weights = {1: f(count, gates * HIDDEN, WIDTH), 2: f(count, gates * HIDDEN, HIDDEN)}
    states = [f(count, BATCH, HIDDEN)] * (2 if op == "LSTM" else 1)
    inputs = [f(TIME, BATCH, WIDTH), None, None, None, None, *states]
    attributes = {"hidden_size": HIDDEN, "direction": kind}
    return Case(op, op, inputs, weights, attributes, 3 if op == "LSTM" else 2)


@pytest.mark.mindspore
@pytest.mark.parametrize("op", GATES)
def test_a_layout_with_the_batch_in_front_is_the_other_one_transposed(
    op: str, tmp_path: Path, mindspore_process: MindSporeProcess
) -> None:
    case = _case(op)
    turned = replace(
        case,
        inputs=[None if a is None else a.transpose(1, 0, 2) for a in case.inputs],
        attributes={**case.attributes, "layout": 1},
    )
    runner = MindSporeRunner(converted(turned.model(), tmp_path), process=mindspore_process)
    found = runner.run(turned.feeds({}))
    whole, *states = run_onnx(case.model(), case.feeds({}))
    wanted = [whole.transpose(2, 0, 1, 3), *(state.transpose(1, 0, 2) for state in states)]
    assert_same(list(found.values()), [np.ascontiguousarray(array) for array in wanted])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"activations": ["Sine"]}, "activation Sine"),
        ({"activations": ["Affine"]}, "activation Affine without activation_alpha"),
    ],
)
def test_functions_that_onnx_does_not_define_are_refused(
    attributes: dict[str, list[str]], message: str, tmp_path: Path
) -> None:
    case = _case("RNN", "forward")
    model = replace(case, attributes={**case.attributes, **attributes}).model()
    with pytest.raises(UnsupportedOperatorError, match=message):
        converted(model, tmp_path)
