"""`ascend-migrate forecast`: what it prints, what it writes, and that others can use that."""

import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from tests.validators.forecast_models import BY_NAME

from ascend_migrate.converters import onnx_to_onnx
from ascend_migrate.flows import cli
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.golden import capture
from ascend_migrate.validators.onnx_original import OnnxOriginal

NORM = ["--policy", "fp16", "--soc", "Ascend910B3", "--input", "x=float32[4,32]"]


def run(*arguments: object) -> int:
    return cli.run(["forecast", *map(str, arguments)])


def test_what_must_stay_is_printed_and_written_in_each_tools_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = BY_NAME["rms_norm"].save(tmp_path)
    assert run(path, *NORM, "-o", tmp_path / "out") == 1
    text = capsys.readouterr().out
    assert text.startswith("FORECAST, not verified on device: rms_norm.onnx on Ascend910B3")
    assert "must stay in float32: 4 nodes (none can be left out" in text
    assert "/q (Pow)" in text
    assert "--precision_mode_v2=fp16 --keep_dtype=keep_dtype.cfg (4 nodes)" in text
    out = tmp_path / "out"
    assert (out / "keep_dtype.cfg").read_text() == "/q\n/m\n/e\n/s\n"
    # Pow is kept by the chip's own list.
    assert json.loads((out / "modify_mixlist.json").read_text()) == {
        "black-list": {"to-add": ["Add", "ReduceMean", "Sqrt"]}
    }
    spec = tomllib.loads((out / "precision.toml").read_text())
    assert spec == {"precision": {"type": "float16", "keep_float32": ["/e"]}}
    assert json.loads((out / "cann_provider.json").read_text()) == {
        "precision_mode": "must_keep_origin_dtype"
    }
    document = json.loads((out / "forecast.json").read_text())
    assert document["label"] == "FORECAST, not verified on device"
    assert document["verified_on_device"] is False
    assert document["kept"] == ["/q", "/m", "/e", "/s"]


def test_the_policy_that_is_written_gives_a_graph_that_works(tmp_path: Path) -> None:
    path = BY_NAME["rms_norm"].save(tmp_path)
    assert run(path, *NORM, "-o", tmp_path / "out") == 1
    spec = tomllib.loads((tmp_path / "out" / "precision.toml").read_text())["precision"]
    policy = Precision(spec["type"], tuple(spec["keep_float32"]))
    (tmp_path / "made").mkdir()
    made = onnx_to_onnx.convert(path, tmp_path / "made", precision=policy, parent="")
    kinds = {t.data_type for t in onnx.load(made.path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    x = BY_NAME["rms_norm"].cases(1)[0].feeds
    (wanted,) = onnxruntime.InferenceSession(path).run(None, x)
    (found,) = onnxruntime.InferenceSession(made.path).run(None, x)
    error = np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))
    assert error < 2.0**-5.5  # half of float16's eleven digits survive: the judgement's ceiling


def test_a_policy_that_holds_needs_no_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = BY_NAME["rms_norm"].save(tmp_path)
    options = [o.replace("fp16", "allow_mix_precision_bf16") for o in NORM]
    assert run(path, *options, "--json", "-o", tmp_path / "out") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["holds"] is True
    assert document["policy"] == "mixed_bf16"
    assert document["files"] == [str(tmp_path / "out" / "forecast.json")]


def test_hf32_is_left_node_by_node(tmp_path: Path) -> None:
    path = BY_NAME["cancelling_product"].save(tmp_path)
    options = ["--policy", "origin", "--soc", "Ascend910B3", "--input", "x=float32[4,16]"]
    assert run(path, *options, "-o", tmp_path / "out") == 1
    assert (tmp_path / "out" / "op_precision.ini").read_text() == (
        "[ByNodeName]\n/p=enable_float_32_execution\n"
    )
    assert not (tmp_path / "out" / "keep_dtype.cfg").exists()


MODEL = """
import torch
from torch import nn

class Loud(nn.Module):
    def forward(self, x):
        return x * 30000.0 * 8.0

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.loud = nn.Linear(8, 16), Loud()
        self.norm, self.last = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        return self.last(self.norm(self.loud(self.first(x))))
"""


def specification(folder: Path) -> Path:
    torch.manual_seed(0)
    layers = {"first": torch.nn.Linear(8, 16), "norm": torch.nn.LayerNorm(16)}
    layers["last"] = torch.nn.Linear(16, 4)
    state = {f"{n}.{k}": t for n, layer in layers.items() for k, t in layer.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    (folder / "loud_model.py").write_text(MODEL)
    path = folder / "spec.toml"
    path.write_text(
        'name = "loud"\nto = ["onnx"]\ninputs = ["x=float32[batch=1..4,8]"]\nregistry = "r"\n'
        '[source]\npath = "weights.safetensors"\n[model]\ncallable = "loud_model:Net"\n'
    )
    return path


@pytest.mark.precision
def test_of_a_checkpoint_modules_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = specification(tmp_path)
    options = ["--policy", "fp16", "--soc", "Ascend910B3", "--json", "-o", tmp_path / "out"]
    assert run(path, *options) == 1
    document = json.loads(capsys.readouterr().out)
    modules = {node["name"]: node["module"] for node in document["nodes"]}
    assert {modules[name] for name in document["kept"]} == {"loud", "norm"}
    assert document["precision"] == {"names": ["loud"], "kept": 3, "passes": True}


def test_the_specification_of_a_graph_will_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BY_NAME["rms_norm"].save(tmp_path)
    path = tmp_path / "spec.toml"
    path.write_text(
        'name = "norm"\nto = ["onnx"]\ninputs = ["x=float32[4,32]"]\nregistry = "r"\n'
        '[source]\npath = "rms_norm.onnx"\n[validation]\ncases = 1\n'
    )
    assert run(path, *NORM[:4], "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["kept"] == ["/q", "/m", "/e", "/s"]
    assert "random-1" not in document["cases"]
    assert not (tmp_path / "r").exists()


def test_a_golden_file_takes_the_place_of_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = BY_NAME["rms_norm"]
    path, golden = toy.save(tmp_path), tmp_path / "golden.safetensors"
    capture(OnnxOriginal(path), toy.cases(), golden, source="sha256:0")
    assert run(path, *NORM[:4], "--json", "--against", golden) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["kept"] == ["/q", "/m", "/e", "/s"]
    assert document["cases"] == [case.name for case in toy.cases()]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "fp8", "--soc", "Ascend910B3"], "'fp8' is none of fp16"),
        (["--policy", "fp16", "--soc", "Ascend910B"], "first training chip"),
        (["--policy", "bf16", "--soc", "Ascend310P3"], "does not compute in bfloat16"),
        (["--policy", "fp16"], "--soc"),
    ],
)
def test_a_wrong_request_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    path = BY_NAME["rms_norm"].save(tmp_path)
    assert run(path, *options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    path = BY_NAME["rms_norm"].save(tmp_path)
    assert run(path, *NORM, "-o", tmp_path) == 2
    assert sorted(item.name for item in tmp_path.iterdir()) == [path.name]
