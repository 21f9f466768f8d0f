"""The form for CANN from a checkpoint to the registry: rewritten, judged, published, pulled."""

from pathlib import Path

import onnx
import pytest
import torch

from ascend_migrate.flows import steps, steps_single
from ascend_migrate.pipeline.errors import UnsupportedOperatorError
from ascend_migrate.pipeline.records import Form, Outcome
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.spec import read_spec

CODE = '''
import torch
from torch import nn


class Tagger(nn.Module):
    """A picture, enlarged as torch does, read line by line by a GRU."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.read = nn.GRU(64, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        x = self.larger(torch.relu(self.conv(x)))
        lines = x.permute(0, 2, 1, 3).flatten(2)
        return self.head(self.read(lines)[0])


class Drawing(nn.Module):
    """Draws the largest of each window and says where it was."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        value, place = nn.functional.max_pool2d(self.conv(x), 2, return_indices=True)
        return value, place
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cann")
    (folder / "cann_models.py").write_text(CODE)
    scope: dict[str, type[torch.nn.Module]] = {}
    exec(CODE, scope)  # noqa: S102 - our own text, above
    torch.manual_seed(0)
    for name in ("Tagger", "Drawing"):
        torch.save(scope[name]().state_dict(), folder / f"{name}.pt")
    return folder


def specification(folder: Path, model: str, forms: str, registry: Path) -> Path:
    path = folder / f"{model}.toml"
    path.write_text(
        f'name = "it"\nto = {forms}\nregistry = "{registry}"\n'
        f'inputs = ["x=float32[n=1..3,3,4,4]"]\n[source]\npath = "{folder}/{model}.pt"\n'
        f'[model]\ncallable = "cann_models:{model}"\n'
    )
    return path


def test_migrated_judged_and_published(folder: Path, tmp_path: Path) -> None:
    spec = read_spec(specification(folder, "Tagger", '["onnx", "onnx-cann"]', tmp_path))
    done = steps.migrate(steps.open_workspace(spec, lambda _line: None))
    assert done.verdict.outcome is Outcome.PASS
    checks = {f.check for f in done.verdict.findings if f.form is Form.ONNX_CANN}
    assert checks >= {"outputs.close", "weights.ledger", "calls.repeatable"}
    pulled = OciRegistry(tmp_path).pull("it", tmp_path / "pulled", Form.ONNX_CANN)
    assert {path.name for path in pulled.iterdir()} == {"model.cann.onnx", "model.safetensors"}
    graph = onnx.load(pulled / "model.cann.onnx")
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 17)]
    assert not [node for node in graph.graph.node if node.op_type == "GRU"]
    (resize,) = [node for node in graph.graph.node if node.op_type == "Resize"]
    modes = {a.name: a.s for a in resize.attribute if a.type == onnx.AttributeProto.STRING}
    assert modes["nearest_mode"] == b"round_prefer_ceil"


def test_one_form_alone_and_its_validation(folder: Path, tmp_path: Path) -> None:
    path = specification(folder, "Tagger", '["onnx-cann"]', tmp_path / "registry")
    spec = read_spec(path)
    made = steps_single.convert(spec, Form.ONNX_CANN, tmp_path / "out", lambda _line: None)
    assert [file.path for file in made.files] == ["model.cann.onnx", "model.safetensors"]
    assert any("rewritten" in note for note in made.notes)
    verdict = steps_single.validate(made.path, spec, None, lambda _line: None)
    assert verdict.outcome is Outcome.PASS


def test_what_cannot_be_said_exactly_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    spec = read_spec(specification(folder, "Drawing", '["onnx-cann"]', tmp_path))
    with pytest.raises(UnsupportedOperatorError, match=r"\(MaxPool\): its indices are used"):
        steps.migrate(steps.open_workspace(spec, lambda _line: None))
