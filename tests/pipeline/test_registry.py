"""The registry from publication to pull, with real files and hand-built verdicts."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline import surgery, toys

from ascend_migrate.pipeline.errors import (
    EvidenceError,
    MigrationError,
    PublicationRefusedError,
    SpecError,
    StoreError,
)
from ascend_migrate.pipeline.records import Artifact, FileEntry, Form, Outcome, Verdict
from ascend_migrate.pipeline.registry import OciRegistry, Publication

FILES = {
    "README.md": b"how to load it",
    "mindir/model.mindir": b"mindir one",
    "model.onnx": b"graph one",
    "model.safetensors": b"weights one" * 1000,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry with toy:v1, whose content is ``one``."""
    toys.publish(tmp_path, "one")
    return tmp_path / "registry"


def opened(root: Path) -> OciRegistry:
    return OciRegistry(root)


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".tmp-*")]


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_version_is_found_by_every_name(root: Path) -> None:
    (found,) = opened(root).list()
    assert (found.name, found.version) == ("toy", "v1")
    for ref in ("toy", "toy:v1", f"toy@{found.digest}"):
        assert opened(root).resolve(ref) == opened(root).gate(ref) == found
    assert opened(root).verify() == ()
    assert leftovers(root) == []


def test_every_byte_is_stored_once_under_its_digest(root: Path) -> None:
    stored = {surgery.digest(data) for data in FILES.values()}
    for name in surgery.blobs(root):
        assert surgery.digest(surgery.blob(root, name).read_bytes()) == f"sha256:{name}"
    manifest = surgery.manifest_of(root, opened(root).resolve("toy").digest)
    assert {layer["digest"] for layer in manifest["layers"]} == stored
    # Four files, two manifests, two configurations, and report, page and golden file.
    assert len(surgery.blobs(root)) == 4 + 2 + 2 + 3


def test_json_has_one_spelling(root: Path) -> None:
    opened(root).promote("toy", "prod")
    texts = [(root / "index.json").read_bytes(), (root / "oci-layout").read_bytes()]
    for entry in surgery.index_of(root)["manifests"]:
        texts.append(surgery.blob(root, entry["digest"]).read_bytes())
        texts.append(surgery.blob(root, json.loads(texts[-1])["config"]["digest"]).read_bytes())
    for text in texts:
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()


def test_publishing_again_changes_nothing(root: Path) -> None:
    before, index = content(root), (root / "index.json").stat().st_mtime_ns
    again = toys.publish(root.parent, "one")
    assert again == opened(root).resolve("toy:v1")
    assert content(root) == before
    assert (root / "index.json").stat().st_mtime_ns == index


def test_the_same_content_has_the_same_digest_everywhere(root: Path, tmp_path: Path) -> None:
    other = toys.publish(tmp_path / "elsewhere", "one")
    mine = opened(root).resolve("toy")
    assert (other.digest, other.evidence_digest) == (mine.digest, mine.evidence_digest)
    namesake = toys.publish(root.parent, "one", name="team/other")
    assert (namesake.version, namesake.digest) == ("v1", mine.digest)
    assert len(surgery.blobs(root)) == 11


def test_other_content_is_the_next_version(root: Path) -> None:
    before = opened(root).resolve("toy:v1")
    assert toys.publish(root.parent, "two").version == "v2"
    assert opened(root).resolve("toy").version == "v2"
    assert opened(root).resolve("toy:v1") == before
    assert toys.publish(root.parent, "one") == before
    assert [p.version for p in opened(root).list()] == ["v1", "v2"]


def test_shows_what_it_holds(root: Path) -> None:
    found = opened(root).show("toy")
    assert [(f["path"], f["digest"], f["size"]) for f in found["files"]] == [
        (path, surgery.digest(data), len(data)) for path, data in FILES.items()
    ]
    assert [f["forms"] for f in found["files"]] == [
        ["mindir"],
        ["mindir"],
        ["onnx"],
        ["onnx", "safetensors"],
    ]
    assert found["entries"] == {
        "mindir": "mindir/model.mindir",
        "onnx": "model.onnx",
        "safetensors": "model.safetensors",
    }
    assert found["verdict"]["outcome"] == "pass"
    assert json.loads(json.dumps(found)) == found


def attempt(
    tmp_path: Path,
    *,
    artifacts: Callable[[list[Artifact]], object] = lambda _: None,
    verdict: Callable[[Verdict], Verdict] = lambda v: v,
    evidence: Callable[[dict[str, Path]], object] = lambda _: None,
    name: str = "toy",
) -> Publication:
    """Publishes the content ``two`` after something was done to it."""
    given = list(toys.write_artifacts(tmp_path / "two", "two"))
    judged = verdict(toys.passing(given))
    files = dict(toys.write_evidence(tmp_path / "two/evidence", judged))
    artifacts(given)
    evidence(files)
    return opened(tmp_path / "registry").publish(name, given, judged, files)


def overwrite(path: str, data: bytes) -> Callable[[list[Artifact]], object]:
    return lambda given: (given[0].root.parent / path).write_bytes(data)


def failing(verdict: Verdict) -> Verdict:
    bad = replace(verdict.findings[-1], outcome=Outcome.FAIL, note="it differs")
    return replace(verdict, findings=(*verdict.findings[:-1], bad))


def rename(path: str) -> Callable[[list[Artifact]], object]:
    def change(given: list[Artifact]) -> None:
        files = tuple(replace(f, path=path) for f in given[0].files)
        given[0] = replace(given[0], files=files, entry=path)

    return change


def clash(given: list[Artifact]) -> None:
    other = FileEntry("model.safetensors", surgery.digest(b"x"), 1)
    given[2] = replace(given[2], files=(*given[2].files, other))


def other_report(files: dict[str, Path]) -> None:
    data = files["report.json"].read_bytes()
    files["report.json"].write_bytes(data.replace(b'"outputs.close"', b'"outputs.never"'))


REFUSED: dict[str, tuple[dict[str, Any], type[MigrationError], str]] = {
    "failing verdict": ({"verdict": failing}, PublicationRefusedError, "failed: it differs"),
    "no artifacts": ({"artifacts": lambda a: a.clear()}, PublicationRefusedError, "nothing to"),
    "one form less": ({"artifacts": lambda a: a.pop()}, PublicationRefusedError, "mindir: judged"),
    "one form twice": ({"artifacts": lambda a: a.append(a[0])}, PublicationRefusedError, "once"),
    "other bytes": (
        {"artifacts": overwrite("exports/model.onnx", b"graph twO")},
        PublicationRefusedError,
        "model.onnx was changed after it was judged",
    ),
    "shared file changed": (
        {"artifacts": overwrite("exports/model.safetensors", b"")},
        PublicationRefusedError,
        "model.safetensors was changed after it was judged",
    ),
    "file gone": (
        {"artifacts": lambda a: a[1].path.unlink()},
        StoreError,
        "model.onnx: No such file",
    ),
    "two files of one path": ({"artifacts": clash}, PublicationRefusedError, "two different files"),
    "entry that is no file": (
        {"artifacts": lambda a: a.append(replace(a.pop(), entry="x"))},
        PublicationRefusedError,
        "its entry x is not among its files",
    ),
    **{
        f"path {path}": ({"artifacts": rename(path)}, PublicationRefusedError, "plain relative")
        for path in ("../model.safetensors", "/etc/passwd", "a//b", "a\nb")
    },
    "report of another verdict": ({"evidence": other_report}, EvidenceError, "another verdict"),
    "no report": ({"evidence": lambda e: e.pop("report.json")}, EvidenceError, "has no report"),
    "report that is none": (
        {"evidence": lambda e: e["report.json"].write_bytes(b"{}")},
        EvidenceError,
        "schema None",
    ),
    "report gone": (
        {"evidence": lambda e: e["report.json"].unlink()},
        StoreError,
        "report.json: No such file",
    ),
    "other golden file": (
        {"evidence": lambda e: e["golden.safetensors"].write_bytes(b"brass")},
        EvidenceError,
        "golden.safetensors: is not what the outputs were judged against",
    ),
    "climbing evidence": (
        {"evidence": lambda e: e.update({"../x": e["report.json"]})},
        EvidenceError,
        "plain file names, not '../x'",
    ),
    "bad name": ({"name": "../toy"}, SpecError, "lower-case"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_leaves_no_trace(root: Path, tmp_path: Path, what: str) -> None:
    changes, kind, reason = REFUSED[what]
    before = content(root)
    with pytest.raises(kind) as caught:
        attempt(tmp_path, **changes)
    assert reason in str(caught.value)
    assert content(root) == before
    assert leftovers(root) == []


def test_a_refused_publication_makes_no_registry(tmp_path: Path) -> None:
    with pytest.raises(PublicationRefusedError):
        attempt(tmp_path, verdict=failing)
    assert not (tmp_path / "registry").exists()


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    registry = opened(tmp_path / "none")
    assert registry.list() == ()
    assert registry.gc().files == 0
    for call in (registry.resolve, registry.gate, registry.show, registry.rollback):
        with pytest.raises(SpecError):
            call("toy")
    assert not (tmp_path / "none").exists()


def test_promote_and_rollback(root: Path) -> None:
    toys.publish(root.parent, "two")
    registry = opened(root)
    assert registry.promote("toy:v1", "prod").aliases == ("prod",)
    assert registry.promote("toy:v2", "prod").version == "v2"
    assert registry.resolve("toy:prod").version == "v2"
    assert registry.rollback("prod").version == "v1"
    assert registry.resolve("toy:prod").aliases == ("prod",)
    with pytest.raises(SpecError, match="no way back"):
        registry.rollback("toy:prod")
    with pytest.raises(SpecError, match="registry's own"):
        registry.promote("toy:v1", "v2")
    assert registry.verify() == ()


def test_neither_promotes_nor_rolls_back_to_damage(root: Path) -> None:
    toys.publish(root.parent, "two")
    registry = opened(root)
    registry.promote("toy:v1", "prod")
    registry.promote("toy:v2", "prod")
    surgery.blob(root, surgery.digest(b"graph one")).write_bytes(b"graph onE")
    before = (root / "index.json").read_bytes()
    with pytest.raises(PublicationRefusedError, match="its bytes have the digest"):
        registry.promote("toy:v1", "test")
    with pytest.raises(PublicationRefusedError, match="its bytes have the digest"):
        registry.rollback("prod")
    assert (root / "index.json").read_bytes() == before


@pytest.mark.parametrize(
    ("form", "paths"),
    [
        (None, ["README.md", "mindir/model.mindir", "model.onnx", "model.safetensors"]),
        (Form.SAFETENSORS, ["model.safetensors"]),
        (Form.ONNX, ["model.onnx", "model.safetensors"]),
        (Form.MINDIR, ["README.md", "mindir/model.mindir"]),
    ],
)
def test_pull(root: Path, tmp_path: Path, form: Form | None, paths: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    for into in (tmp_path / "new/folder", tmp_path / "empty"):
        assert opened(root).pull("toy", into, form) == into
        assert content(into) == {path: FILES[path] for path in paths}


def test_pull_never_writes_over_anything(root: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/old").write_bytes(b"x")
    for into in (tmp_path / "full", tmp_path / "full/old"):
        with pytest.raises(SpecError, match="exists already"):
            opened(root).pull("toy", into)
    assert content(tmp_path / "full") == {"old": b"x"}


def test_pull_of_a_form_that_is_not_there(root: Path, tmp_path: Path) -> None:
    given = toys.write_artifacts(tmp_path / "work", "alone")[:1]
    verdict = toys.passing(given)
    evidence = toys.write_evidence(tmp_path / "work/evidence", verdict)
    opened(root).publish("alone", given, verdict, evidence)
    with pytest.raises(SpecError, match="has no form onnx; it has: safetensors"):
        opened(root).pull("alone", tmp_path / "out", Form.ONNX)
    assert not (tmp_path / "out").exists()


SKOPEO = shutil.which("skopeo")


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed")
def test_another_tool_reads_and_copies_it(root: Path, tmp_path: Path) -> None:
    opened(root).promote("toy:v1", "prod")
    digest = opened(root).resolve("toy").digest
    for tag in ("v1", "prod"):
        raw = subprocess.run(
            [str(SKOPEO), "inspect", "--raw", f"oci:{root}:toy:{tag}"],
            check=True,
            capture_output=True,
        )
        assert surgery.digest(raw.stdout) == digest
    copy = tmp_path / "copy"
    subprocess.run(
        [str(SKOPEO), "copy", "--quiet", f"oci:{root}:toy:v1", f"oci:{copy}:toy:v1"], check=True
    )
    manifest = surgery.manifest_of(root, digest)
    needed = [digest, manifest["config"]["digest"], *(x["digest"] for x in manifest["layers"])]
    assert surgery.blobs(copy) == {name.removeprefix("sha256:") for name in needed}
