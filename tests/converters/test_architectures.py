"""Models of each family: torch, the ONNX graph and MindSpore say the same at every size."""

from dataclasses import dataclass

import pytest
from tests.architectures import ARCHITECTURES
from tests.converters.exporting import (
    MINDSPORE,
    ONNXRUNTIME,
    Original,
    all_sizes,
    arrays,
    export,
    feeds,
    specs,
)
from tests.converters.oracle import run_onnx
from tests.converters.recurrent_models import RECURRENT

from ascend_migrate.converters import onnx_to_mindir
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

MODELS = ARCHITECTURES | RECURRENT


@dataclass(frozen=True)
class Exported:
    inputs: tuple[InputSpec, ...]
    original: Original
    onnx: Artifact
    mindir: Artifact


@pytest.fixture(scope="module", params=list(MODELS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    architecture, folder = MODELS[request.param], tmp_path_factory.mktemp("export")
    inputs, model = specs(architecture.inputs), architecture.build()
    onnx = export(model, inputs, folder)
    mindir = onnx_to_mindir.convert(onnx.path, folder, inputs=inputs, parent=onnx.digest)
    return Exported(inputs, Original(model), onnx, mindir)


def test_onnx_says_what_torch_says(exported: Exported) -> None:
    for sizes in all_sizes(exported.inputs):
        tensors = feeds(exported.inputs, sizes)
        exported.original.assert_close(
            tensors, run_onnx(exported.onnx.path, arrays(tensors)), ONNXRUNTIME
        )


@pytest.mark.mindspore
def test_mindspore_says_what_torch_says(
    exported: Exported, mindspore_process: MindSporeProcess
) -> None:
    runner = MindSporeRunner(exported.mindir, process=mindspore_process)
    for sizes in all_sizes(exported.inputs):
        tensors = feeds(exported.inputs, sizes)
        exported.original.assert_close(
            tensors, list(runner.run(arrays(tensors)).values()), MINDSPORE
        )
