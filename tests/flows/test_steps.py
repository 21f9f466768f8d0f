"""The steps of a migration: what they publish, refuse, reuse, and survive."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.flows.toys import ALL, Home, command, started

from ascend_migrate.flows import steps
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline.errors import PublicationRefusedError
from ascend_migrate.pipeline.evidence import read_report
from ascend_migrate.pipeline.records import Artifact, FileEntry, Finding, Form, Outcome, Verdict
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.spec import read_spec
from ascend_migrate.pipeline.store import StageResult
from ascend_migrate.validators.power.power import Power

GRAPHS = ("onnx", "mindir")
FILES = {
    ("safetensors",): {"model.safetensors"},
    ("mindir",): {"model.mindir"},
    ("onnx",): {"model.onnx", "model.safetensors"},
    GRAPHS: {"model.mindir", "model.onnx", "model.safetensors"},
    ALL: {"model.mindir", "model.onnx", "model.safetensors"},
}


def workspace(spec: Path, said: list[str] | None = None) -> steps.Workspace:
    said = [] if said is None else said
    return steps.open_workspace(read_spec(spec), said.append)


@pytest.fixture(scope="module")
def stages(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry whose stage store holds every step of the toy in all forms."""
    registry = tmp_path_factory.mktemp("stages") / "registry"
    steps.migrate(workspace(home.spec(registry)))
    return registry


@pytest.fixture
def primed(stages: Path, tmp_path: Path) -> Path:
    """A registry without a version, whose stage store holds every step."""
    registry = tmp_path / "registry"
    shutil.copytree(stages / "stages", registry / "stages")
    return registry


@pytest.mark.parametrize("forms", FILES, ids="+".join)
def test_pass_publishes_the_forms_asked_for(
    forms: tuple[str, ...], home: Home, primed: Path
) -> None:
    said: list[str] = []
    done = steps.migrate(workspace(home.spec(primed, to=forms), said))
    assert done.verdict.outcome is Outcome.PASS
    assert done.publication is not None
    assert said[-1] == "publish"
    registry = OciRegistry(primed)
    assert registry.list() == (done.publication,)
    shown = registry.show("toy")
    assert {f["path"] for f in shown["files"]} == FILES[forms]
    assert set(shown["entries"]) == set(forms)
    assert {path.name for path in done.report.iterdir()} >= {"report.json", "report.html"}


def test_weights_that_no_case_exercises_are_reached_and_judged_again(
    home: Home, tmp_path: Path
) -> None:
    said: list[str] = []
    spec = home.spec(tmp_path, to=("onnx",), model="Gated")
    work = workspace(spec, said)
    done = steps.migrate(work)
    asked = ["capture", "export", "judge", "judge onnx"]
    assert said == [*asked, "reach", "capture", "judge", "judge onnx", "publish"]
    power = done.verdict.context["power"]["onnx"]
    assert (power["planted"], power["outputs"], power["not_exercised"]) == (4, 4, [])
    assert any(name.startswith("sample reaching-0") for name in done.verdict.context["cases"])
    judged = sorted(tmp_path.glob("stages/judge-*/report.json"))
    powers = [read_report(path).context["power"]["onnx"] for path in judged]
    assert sorted(len(found["not_exercised"]) for found in powers) == [0, 2]


@pytest.mark.parametrize(("outcome", "looked"), [(Outcome.FAIL, False), (Outcome.PASS, True)])
def test_what_is_refused_gets_no_further_cases(
    outcome: Outcome, looked: bool, home: Home, primed: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    work = workspace(home.spec(primed), said)
    source = open_source(work.spec)
    artifacts = steps.artifacts_of(steps.export(work, source))
    power = {"onnx": Power(1, 1, 0, 1, ("first.weight",)).to_json()}
    findings = (Finding("outputs.close", Form.MINDIR, "y", outcome),)
    steps.write_pages(tmp_path, Verdict("", "", {}, findings, "cpu", {"power": power}))
    judged = StageResult(tmp_path, {}, reused=False)
    steps.reach(work, source, artifacts, steps.capture(work, source), judged)
    assert ("reach" in said) == looked


@pytest.mark.parametrize("forms", [("mindir",), GRAPHS], ids="+".join)
def test_graph_is_a_source_too(forms: tuple[str, ...], home: Home, tmp_path: Path) -> None:
    spec = home.spec(tmp_path, to=forms, model=None, source=home.graph)
    done = steps.migrate(workspace(spec))
    assert done.verdict.outcome is Outcome.PASS
    assert done.verdict.context["inputs"] == ["x=float32[batch=1..8,16]"]
    shown = OciRegistry(tmp_path).show("toy")
    assert {f["path"] for f in shown["files"]} == FILES[forms]
    assert shown["source"] == done.verdict.source != ""


def test_onnx_form_can_be_used_from_where_it_was_pulled(
    home: Home, primed: Path, tmp_path: Path
) -> None:
    import onnxruntime

    steps.migrate(workspace(home.spec(primed, to=GRAPHS)))
    pulled = OciRegistry(primed).pull("toy", tmp_path / "pulled", Form.ONNX)
    session = onnxruntime.InferenceSession(pulled / "model.onnx")
    x = np.ones((2, 3), np.float32)
    (y,) = session.run(None, {"x": x})
    w = load_file(pulled / "model.safetensors")
    hidden = np.tanh(x @ w["first.weight"].T + w["first.bias"])
    np.testing.assert_allclose(y, hidden @ w["second.weight"].T + w["second.bias"], rtol=1e-5)


def test_second_run_reuses_every_step_and_says_so(home: Home, primed: Path) -> None:
    said: list[str] = []
    done = steps.migrate(workspace(home.spec(primed), said))
    assert done.reused == ("capture", "export", "convert", "judge")
    wanted = [line for name in done.reused for line in (name, f"{name}: reused")]
    assert said == [*wanted, "publish"]


def test_what_changed_is_made_again_and_only_that(home: Home, primed: Path) -> None:
    other_seed = home.spec(primed, more="[validation]\nseed = 1")
    assert steps.migrate(workspace(other_seed)).reused == ("export", "convert")
    named = home.spec(primed)
    named.write_text(named.read_text().replace('"toy"', '"other"'))
    assert steps.migrate(workspace(named)).reused == ("capture", "export", "convert")


def _negate_bias(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["first.bias"] = -weights["first.bias"]
    # In place, header and all: the graph points at byte ranges of this very file.
    scratch = folder / "other"
    save_file(weights, scratch)
    old = (folder / "model.safetensors").read_bytes()
    before = load_file(folder / "model.safetensors")["first.bias"].tobytes()
    assert old.count(before) == 1
    (folder / "model.safetensors").write_bytes(old.replace(before, weights["first.bias"].tobytes()))
    scratch.unlink()


def _cut(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"Tanh", b"Sinh"))


SABOTAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "bias negated": (_negate_bias, "weights.ledger"),
    "operator changed": (_cut, "outputs.close"),
}


@pytest.mark.parametrize("kind", SABOTAGE)
def test_sabotage_between_export_and_judge_publishes_nothing(
    kind: str, home: Home, primed: Path, tmp_path: Path
) -> None:
    harm, check = SABOTAGE[kind]
    work = workspace(home.spec(primed, to=("onnx",)))
    source = open_source(work.spec)
    golden, exported = steps.capture(work, source), steps.export(work, source)
    shutil.copytree(exported.path, tmp_path / "harmed")
    harm(tmp_path / "harmed")
    files = ["model.onnx", "model.safetensors"]
    harmed = [Artifact.of(Form.ONNX, tmp_path / "harmed", files, parent=source.digest)]
    judged = steps.judge(work, source, harmed, golden)
    verdict = steps.conclude(golden, exported, None, judged, None).verdict
    assert verdict.outcome is Outcome.FAIL
    assert check in {f.check for f in verdict.findings if f.outcome is Outcome.FAIL}
    assert steps.publish(work, harmed, judged) is None
    assert work.registry.list() == ()


def test_file_that_changes_after_the_judgement_is_refused(home: Home, primed: Path) -> None:
    work = workspace(home.spec(primed, to=("onnx",)))
    source = open_source(work.spec)
    golden, exported = steps.capture(work, source), steps.export(work, source)
    artifacts = [a for a in steps.artifacts_of(exported) if a.form is Form.ONNX]
    judged = steps.judge(work, source, artifacts, golden)
    _negate_bias(exported.path)
    with pytest.raises(PublicationRefusedError, match="changed after it was judged"):
        steps.publish(work, artifacts, judged)
    assert work.registry.list() == ()
    # The next run sees that the stage is damaged, makes it again, and publishes the true one.
    done = steps.migrate(workspace(home.spec(primed, to=("onnx",))))
    assert done.reused == ("capture", "judge")
    assert done.publication is not None
    assert len(list((primed / "stages").glob("damaged-*"))) == 1


def test_golden_of_another_machine_judges_the_same(home: Home, primed: Path) -> None:
    done = steps.migrate(workspace(home.spec(primed)))
    (golden,) = (primed / "stages").glob("capture-*/golden.safetensors")
    assert FileEntry.of(golden.parent, golden.name).digest == done.verdict.golden


# Where a run is killed: the line of progress that comes first, and what must have appeared since.
# Every step starts after its line, so that nothing to wait for means the boundary before it.
KILLS = [
    ("capture", ""),
    ("capture", "registry/stages/.tmp-*/*"),
    ("export", ""),
    ("export", "registry/stages/.tmp-*/model.safetensors"),
    ("convert", ""),
    ("convert", "registry/stages/.tmp-*/*"),
    ("judge onnx", ""),
    ("judge mindir", "ascend-migrate-mindspore-*"),
    ("judge mindir", "registry/stages/.tmp-*/report.json"),
    ("publish", ""),
    ("publish", "registry/.tmp-*/*"),
]


def test_killed_anywhere_it_resumes_and_ends_the_same(
    home: Home, stages: Path, tmp_path: Path
) -> None:
    (wanted,) = OciRegistry(stages).list()
    root = tmp_path / "registry"
    registry = OciRegistry(root)
    spec = home.spec(root)
    for line, trace in KILLS:
        _killed(spec, tmp_path, line, trace)
        listed = registry.list()
        # Nothing, or all of it: publishing is too short to be sure of hitting it from outside.
        assert [p.digest for p in listed] in ([], [wanted.digest])
        assert line == "publish" or listed == ()
        for entry in listed:
            registry.gate(f"toy:{entry.version}")
    done = command("migrate", spec, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["published"]["digest"] == wanted.digest
    assert result["published"]["version"] == "v1"
    assert result["reused"] == ["capture", "export", "convert", "judge"]
    assert list((root / "stages").glob(".tmp-*")) == []
    registry.gc()
    assert registry.verify() == ()


def _killed(spec: Path, folder: Path, line: str, trace: str) -> None:
    """Starts the migration and ends it with SIGKILL; it must have got as far as ``line``."""
    before = set(folder.glob(trace)) if trace else set()
    # What the dead leave in the temporary folder stays within the test's own.
    process = started("migrate", spec, cwd=folder, TMPDIR=str(folder))
    assert process.stderr is not None
    seen = []
    for text in process.stderr:
        seen.append(text.strip())
        if seen[-1] == line:
            break
    assert seen[-1:] == [line], seen
    while trace and process.poll() is None and not set(folder.glob(trace)) - before:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL or line == "publish"
