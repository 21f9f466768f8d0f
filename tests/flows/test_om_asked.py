"""`om` as a form among others: `convert --to om`, `migrate`, and lists from a forecast.

ATC is emulated (tests/converters/atc/emulated.py).
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.converters.atc.emulated import install
from tests.converters.atc.emulated_device import ask
from tests.converters.atc.small import SPEC, write_model
from tests.validators.forecast_models import BY_NAME

from ascend_migrate.flows import cli
from ascend_migrate.pipeline.cann.keep_lists import settled
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.errors import SourceError, SpecError

OM = '[om]\nsoc = "Ascend910B3"\n'
HALF = '[precision]\ntype = "float16"\n'


def specified(folder: Path, more: str = OM, to: str = '["om"]') -> Path:
    write_model(folder / "model.onnx")
    path = folder / "migration.toml"
    path.write_text(SPEC.replace('["onnx"]', to) + more)
    return path


@pytest.fixture
def cann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(install(tmp_path)))


@pytest.mark.parametrize("command", ["migrate", "convert"])
def test_without_cann_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    spec = specified(tmp_path)
    options = ["--to", "om", "-o", str(tmp_path / "out")] if command == "convert" else []
    assert cli.run([command, str(spec), *options]) == 3
    error = capsys.readouterr().err
    assert "install Ascend-cann-toolkit" in error
    assert "`om --bundle`" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "om: is required for om"),
        ('[om]\nsoc = "Ascend910B"\n', "chip Ascend910B"),
        (f'{OM}precision_mode = "fast"\n', "precision mode 'fast' is none of"),
        (f'{OM}precision_mode = "fp16"\n', "computes in float16; add [precision] type"),
        (f'{OM}keep_from = "nowhere"\n', "name what `forecast -o` wrote"),
        (f'{OM}precision_mode = "fp16"\nkeep_dtype = "nowhere"\n{HALF}', "does not exist"),
        (f'waive_kernels = ["om"]\n{OM}', "validation.waive_kernels: no form 'om'"),
        (f'{OM}sock = "x"\n', "om.sock: no such key"),
        ('[om]\ncann = "8.1"\n', "om.soc: is required"),
    ],
)
def test_requests_at_fault(
    tmp_path: Path, cann: None, capsys: pytest.CaptureFixture[str], more: str, said: str
) -> None:
    spec = specified(tmp_path, more)
    assert cli.run(["migrate", str(spec)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "registry" / "index.json").exists()


@pytest.mark.parametrize("more", [OM, f'{OM}precision_mode = "mixed_float16"\n{HALF}'])
def test_converted_it_says_what_it_is(tmp_path: Path, cann: None, more: str) -> None:
    spec, out = specified(tmp_path, more), tmp_path / "out"
    assert cli.run(["convert", str(spec), "--to", "om", "-o", str(out)]) == 0
    said = json.loads((out / "om.json").read_text())
    assert (said["soc"], said["mode"], said["toolkit"]) == ("Ascend910B3", "dymbatch", "8.1.RC1")
    assert said["graph"] == "model.cann.onnx"
    names = {path.name for path in out.iterdir()}
    assert names == {"model.om", "om.json", *said["made_from"]}
    given = ["validate", str(out / "model.om"), "--against", str(spec)]
    assert cli.run(given) == 3  # nobody asked a device


def test_a_lowered_graph_is_judged_as_one(
    tmp_path: Path, cann: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """[precision] lowers the graph, and ATC keeps the types that it finds in there."""
    spec, out = specified(tmp_path, OM + HALF), tmp_path / "out"
    assert cli.run(["convert", str(spec), "--to", "om", "-o", str(out)]) == 0
    assert cli.run(["capture", str(spec), "-o", str(out / "golden.safetensors")]) == 0
    asked = ask(out, tmp_path, files=("model.om", "model.cann.onnx"))
    assert (asked.returncode, asked.stderr) == (0, "")
    capsys.readouterr()
    assert cli.run(["validate", str(out / "model.om"), "--against", str(spec), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {item["check"]: item["outcome"] for item in document["findings"]}
    assert (found["precision.graph"], found["weights.ledger"]) == ("pass", "pass")
    assert document["level"] == "device"


def test_migrate_compiles_and_publishes_nothing_without_a_device(
    tmp_path: Path, cann: None, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = specified(tmp_path, to='["onnx", "om"]')
    assert cli.run(["migrate", str(spec), "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    found = {(f["form"], f["check"]): f["outcome"] for f in document["verdict"]["findings"]}
    assert found["om", "weights.ledger"] == "pass"
    assert found["om", "outputs.close"] == "not_run"
    assert found["onnx", "outputs.close"] == "pass"
    assert document["published"] is None


def test_what_atc_said_outlives_a_failed_stage(
    tmp_path: Path,
    cann: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = specified(tmp_path)
    monkeypatch.setenv("EMULATED_ATC", "new message")
    assert cli.run(["convert", str(spec), "--to", "om", "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "E13010 (ai.onnx::22::Conv)" in error
    log = Path(error.rpartition("see ")[2])
    assert "No parser is registered" in log.read_text()
    log.unlink()
    assert not (tmp_path / "out").exists()


def forecast(folder: Path, document: dict[str, Any], **lists: str) -> Path:
    folder.mkdir()
    (folder / "forecast.json").write_text(json.dumps(document))
    for name, text in lists.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


KEPT = {
    "soc": "Ascend910B3",
    "policy": "fp16",
    "atc": "--precision_mode_v2=fp16",
    "holds": False,
    "kept": ["two"],
}


def test_a_forecast_gives_its_mode_and_its_list(tmp_path: Path) -> None:
    lists = forecast(tmp_path / "lists", KEPT, keep_dtype__cfg="two\n")
    for given in (lists, lists / "forecast.json"):
        found = settled(OmRequest("Ascend910B3", "8.1", keep_from=given), "Ascend910B")
        assert (found.precision_mode, found.keep_from) == ("fp16", None)
        assert found.lists() == {"keep_dtype": lists / "keep_dtype.cfg"}


def test_a_forecast_of_hf32_chooses_arithmetic(tmp_path: Path) -> None:
    document = {**KEPT, "policy": "hf32", "atc": "--precision_mode_v2=origin"}
    lists = forecast(tmp_path / "lists", document, op_precision__ini="[ByNodeName]\n")
    found = settled(OmRequest("Ascend910B3", "8.1", keep_from=lists), "Ascend910B")
    assert found.precision_mode == "origin"
    assert found.lists() == {"op_precision": lists / "op_precision.ini"}


@pytest.mark.parametrize(
    ("change", "request_", "said"),
    [
        ({"soc": "Ascend310P3"}, {}, "is for Ascend310P3, not for Ascend910B3"),
        ({"kept": None}, {}, "found no list that helps"),
        ({"policy": "bf16", "atc": ""}, {}, "for the policy bf16"),
        ({}, {"precision_mode": "mixed_float16"}, "is for the mode fp16, not for mixed_float16"),
        ({}, {"keep_dtype": Path("mine")}, "comes with keep_dtype.cfg: give no other list"),
    ],
)
def test_forecasts_that_do_not_fit(
    tmp_path: Path, change: dict[str, Any], request_: dict[str, Any], said: str
) -> None:
    lists = forecast(tmp_path / "lists", {**KEPT, **change}, keep_dtype__cfg="two\n")
    with pytest.raises(SpecError, match=said):
        settled(OmRequest("Ascend910B3", "8.1", keep_from=lists, **request_), "Ascend910B")


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000])
def test_what_is_no_forecast(tmp_path: Path, text: str) -> None:
    (tmp_path / "forecast.json").write_text(text)
    with pytest.raises(SourceError, match="not a forecast"):
        settled(OmRequest("Ascend910B3", "8.1", keep_from=tmp_path), "Ascend910B")


def test_what_forecast_writes_is_what_the_bundle_takes(tmp_path: Path) -> None:
    path = BY_NAME["rms_norm"].save(tmp_path)
    chip = ["--soc", "Ascend910B3"]
    asked = ["forecast", str(path), "--policy", "fp16", *chip, "--input", "x=float32[4,32]"]
    assert cli.run([*asked, "-o", str(tmp_path / "lists")]) == 1
    options = ["--keep-from", str(tmp_path / "lists"), "--bundle", "-o", str(tmp_path / "bundle")]
    assert cli.run(["om", str(path), *chip, "--input", "x=float32[4,32]", *options]) == 0
    assert (tmp_path / "bundle" / "keep_dtype.cfg").read_text() == "/q\n/m\n/e\n/s\n"
    document = json.loads((tmp_path / "bundle" / "request.json").read_text())
    assert "--keep_dtype=keep_dtype.cfg" in document["command"]
    assert "--precision_mode_v2=fp16" in document["command"]
