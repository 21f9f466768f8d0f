"""The form for torch_npu from a checkpoint to the registry: described, judged, published."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.flows.toys import command
from tests.pipeline.limits import files_of_at_most

from ascend_migrate.flows import cli, steps, steps_single, torch_npu
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline.errors import PublicationRefusedError, SourceError
from ascend_migrate.pipeline.records import Artifact, Form, Outcome
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.spec import read_spec
from ascend_migrate.pipeline.torch_npu.manifest import read_manifest

CODE = '''
"""Speaks of cuda."""
import torch
import missing_package
from npu_parts import Rotary

raise SystemExit("never run")


def build():
    return Rotary().cuda()
'''
PARTS = "import torch\nstate = torch.load('x', weights_only=False)\nx = torch.polar(state, state)\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("npu")
    (folder / "npu_model.py").write_text(CODE)
    (folder / "npu_parts.py").write_text(PARTS)
    torch.manual_seed(0)
    state = {"a": torch.randn(3, 4), "b": torch.randn(2, dtype=torch.float64)}
    torch.save(state, folder / "net.pt")
    (folder / "m.toml").write_text(
        'name = "net"\nto = ["safetensors", "torch-npu"]\n'
        '[source]\npath = "net.pt"\n[model]\ncallable = "npu_model:build"\n'
    )
    return folder


@pytest.fixture(scope="module")
def published(folder: Path) -> steps.Migration:
    work = steps.open_workspace(read_spec(folder / "m.toml"), lambda _line: None)
    return steps.migrate(work)


RULES = {"tensor-float64", "cuda-method", "unsafe-load", "complex"}


def test_both_forms_are_published_and_share_their_blob(
    folder: Path, published: steps.Migration
) -> None:
    assert published.verdict.outcome is Outcome.PASS
    subjects = published.verdict.subjects
    assert {entry.path for entry in subjects[Form.TORCH_NPU]} == {
        "model.safetensors",
        "torch_npu.json",
    }
    assert set(subjects[Form.SAFETENSORS]) < set(subjects[Form.TORCH_NPU])
    equal = [f for f in published.verdict.findings if f.check == "weights.equal"]
    assert {f.form for f in equal} == {Form.SAFETENSORS, Form.TORCH_NPU}
    size = next(entry.size for entry in subjects[Form.SAFETENSORS])
    blobs = [p.stat().st_size for p in (folder / "registry" / "blobs" / "sha256").iterdir()]
    assert blobs.count(size) == 1
    registry = OciRegistry(folder / "registry")
    registry.gate("net:v1")
    pulled = registry.pull("net:v1", folder / "pulled", Form.TORCH_NPU)
    assert sorted(p.name for p in pulled.iterdir()) == ["model.safetensors", "torch_npu.json"]


def test_the_report_has_what_was_found(folder: Path, published: steps.Migration) -> None:
    assert set(published.verdict.context["torch_npu"]["rules"]) == RULES
    page = (published.report / "report.html").read_text()
    assert "What changes for torch_npu" in page
    assert "npu_model.py:11 Rotary().cuda() -&gt; .npu()" in page
    done = command("migrate", folder / "m.toml")
    assert done.returncode == 0
    assert (
        "torch-npu: looked at tensors and code: fails 2, changes numbers 1, note 1" in done.stdout
    )


def test_a_changed_module_of_the_project_makes_it_anew(
    folder: Path, published: steps.Migration, tmp_path: Path
) -> None:
    for name in ("npu_model.py", "npu_parts.py", "net.pt", "m.toml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    first = steps.migrate(steps.open_workspace(read_spec(tmp_path / "m.toml"), lambda _line: None))
    (tmp_path / "npu_parts.py").write_text("x = 'cuda'\n")
    second = steps.migrate(steps.open_workspace(read_spec(tmp_path / "m.toml"), lambda _line: None))
    assert first.verdict.subjects == published.verdict.subjects
    assert second.reused == ()
    assert set(second.verdict.context["torch_npu"]["rules"]) == {
        "tensor-float64",
        "cuda-method",
        "device-string",
    }
    assert second.publication is not None
    assert second.publication.version == "v2"


def test_convert_lists_the_findings_and_succeeds(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    out = tmp_path / "out"
    options = ["--to", "torch-npu", "--model", "npu_model:build", "-o", str(out)]
    assert cli.run(["convert", "net.pt", *options]) == 0
    text = capsys.readouterr().out
    assert "npu_model.py:11 Rotary().cuda() -> .npu()" in text
    assert "compute: float64 x1 in float32" in text
    assert "not read: missing_package: another package" in text
    assert "Not verified on device" in text
    assert cli.run(["validate", str(out / "torch_npu.json"), "--against", "m.toml"]) == 0


def test_convert_as_json_without_code(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["convert", str(folder / "net.pt"), "--to", "torch-npu", "-o", str(out), "--json"]
    assert cli.run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["torch_npu"]["code"] is None
    assert found["torch_npu"] == json.loads((out / "torch_npu.json").read_text())
    assert set(found["torch_npu"]["rules"]) == {"tensor-float64"}


def test_a_wrong_weight_beside_the_manifest_fails(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.run(["convert", str(folder / "net.pt"), "--to", "torch-npu", "-o", str(out)]) == 0
    with (out / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00")
    capsys.readouterr()
    arguments = ["validate", str(out / "torch_npu.json"), "--against", str(folder / "m.toml")]
    assert cli.run(arguments) == 1
    assert "FAIL: torch-npu weights.equal" in capsys.readouterr().out


def test_the_gate_refuses_another_manifest(
    folder: Path, published: steps.Migration, tmp_path: Path
) -> None:
    OciRegistry(folder / "registry").pull("net:v1", tmp_path / "pulled")
    manifest = tmp_path / "pulled" / "torch_npu.json"
    manifest.write_text(manifest.read_text().replace("fails", "slow"))
    report = published.report / "report.json"
    files = [tmp_path / "pulled" / "model.safetensors", manifest]
    with pytest.raises(PublicationRefusedError, match=r"torch_npu\.json is not the file that was"):
        steps_single.publish(report, files, "net", tmp_path / "registry")


def test_shards_are_described_as_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--to", "torch-npu", "--max-shard-size", "48", "-o", str(out)]
    assert cli.run(["convert", str(folder / "net.pt"), *options]) == 0
    artifact = steps_single.artifact_at(out / "torch_npu.json")
    assert [file.path for file in artifact.files] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "torch_npu.json",
    ]
    assert json.loads(artifact.path.read_text())["weights"] == "model.safetensors.index.json"
    verdict = steps_single.validate(
        artifact.path, read_spec(folder / "m.toml"), None, lambda _line: None
    )
    assert verdict.outcome is Outcome.PASS


def test_a_graph_beside_it_shares_the_same_weights(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("import torch\ndef build(): return torch.nn.Linear(3, 4)\n")
    torch.save(torch.nn.Linear(3, 4).state_dict(), tmp_path / "net.pt")
    (tmp_path / "m.toml").write_text(
        'name = "net"\nto = ["onnx", "torch-npu"]\ninputs = ["x=float32[n=1..4,3]"]\n'
        '[source]\npath = "net.pt"\n[model]\ncallable = "plain:build"\n'
    )
    work = steps.open_workspace(read_spec(tmp_path / "m.toml"), lambda _line: None)
    exported = steps.artifacts_of(steps.export(work, open_source(work.spec)))
    weights = {
        artifact.form: [file for file in artifact.files if file.path == "model.safetensors"]
        for artifact in exported
    }
    assert len(weights[Form.ONNX]) == 1
    assert weights[Form.ONNX] == weights[Form.TORCH_NPU]
    assert len({artifact.root for artifact in exported}) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.onnx", "--to", "torch-npu"], "torch-npu cannot be made from an ONNX file"),
        (["net.pt", "--to", "torch-npu", "--model", "absent:build"], "there is no module 'absent'"),
        (["net.pt", "--to", "torch-npu", "--model", "broken:build"], "is not Python: line 1"),
    ],
)
def test_what_cannot_be_described_is_one_line_and_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "net.pt").write_bytes((folder / "net.pt").read_bytes())
    (tmp_path / "net.onnx").write_bytes(b"")
    (tmp_path / "broken.py").write_text("def (:\n")
    monkeypatch.chdir(tmp_path)
    assert cli.run(["convert", *arguments, "-o", "out"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("out").exists()


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else inner:
        yield (*above, key)
        yield from _places(item, (*above, key))


def _shown(path: Path) -> list[str]:
    try:
        return torch_npu.lines(read_manifest(path))
    except SourceError as error:
        return [str(error)]


def test_whatever_stands_in_a_manifest_it_is_shown_or_refused(
    published: steps.Migration, tmp_path: Path
) -> None:
    """Every value of a manifest is replaced by other kinds of values, one at a time."""
    text = next(published.report.parent.glob("export-*/torch_npu.json")).read_text()
    path = tmp_path / "torch_npu.json"
    places = list(_places(json.loads(text)))
    assert len(places) > 50
    for place in places:
        for other in (None, 1e400, "x\n", [3], {"a": 3}):
            document = json.loads(text)
            *above, last = place
            within = document
            for key in above:
                within = within[key]
            within[last] = other
            path.write_text(json.dumps(document))
            assert all(line.isprintable() for line in _shown(path)), place


def test_a_full_disk_leaves_no_half_of_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["convert", str(folder / "net.pt"), "--to", "torch-npu", "-o", str(out)]
    # The weights have some 200 bytes, the manifest ten times as many.
    with files_of_at_most(1_000):
        assert cli.run(arguments) == 3
    assert "torch_npu.json" in capsys.readouterr().err
    assert not out.exists()
    assert cli.run(arguments) == 0


def test_an_artifact_is_known_by_its_manifest(folder: Path, published: steps.Migration) -> None:
    del published
    OciRegistry(folder / "registry").pull("net:v1", folder / "again", Form.TORCH_NPU)
    artifact: Artifact = steps_single.artifact_at(folder / "again" / "torch_npu.json")
    assert artifact.form is Form.TORCH_NPU
