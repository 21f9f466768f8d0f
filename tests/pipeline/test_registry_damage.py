"""Damage and forgery in a registry: always found, always named, and never passed on."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.pipeline import surgery, toys

from ascend_migrate.pipeline.errors import (
    EvidenceError,
    MigrationError,
    PublicationRefusedError,
    SpecError,
    StoreError,
)
from ascend_migrate.pipeline.registry import OciRegistry

FILES = ("README.md", "mindir/model.mindir", "model.onnx", "model.safetensors")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry with toy:v1, whose content is ``one``."""
    toys.publish(tmp_path, "one")
    return tmp_path / "registry"


def blobs_by_role(root: Path) -> Mapping[str, str]:
    """Every blob of toy:v1."""
    found = OciRegistry(root).resolve("toy:v1")
    model, proof = (surgery.manifest_of(root, d) for d in (found.digest, found.evidence_digest))
    roles = {"model manifest": found.digest, "evidence manifest": found.evidence_digest}
    roles |= {"config": model["config"]["digest"], "empty config": proof["config"]["digest"]}
    for layer in (*model["layers"], *proof["layers"]):
        roles[layer["annotations"]["org.opencontainers.image.title"]] = layer["digest"]
    return roles


ROLES = [
    *("model manifest", "config", "evidence manifest", "empty config"),
    *FILES,
    *("report.json", "report.html", "golden.safetensors"),
]


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": lambda p: p.unlink(),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b" "),
    "flipped": lambda p: p.write_bytes(bytes([p.read_bytes()[0] ^ 1]) + p.read_bytes()[1:]),
    "a folder": as_folder,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("role", ROLES)
def test_damage_is_found_and_publishing_again_repairs_it(
    root: Path, tmp_path: Path, role: str, damage: str
) -> None:
    registry, roles = OciRegistry(root), blobs_by_role(root)
    assert sorted(roles) == sorted(ROLES)
    before = registry.resolve("toy")
    path = surgery.blob(root, roles[role])
    DAMAGE[damage](path)
    with pytest.raises(MigrationError) as caught:
        registry.gate("toy")
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert any(path.name in line for line in registry.verify())
    assert any(path.name in line for line in registry.verify("toy"))
    if role in FILES:
        named = "Is a directory" if damage == "a folder" else path.name
        with pytest.raises(StoreError, match=named):
            registry.pull("toy", tmp_path / "out")
        assert not (tmp_path / "out").exists()
    if damage == "a folder":
        shutil.rmtree(path)
    assert toys.publish(root.parent, "one") == before
    assert registry.gate("toy") == before
    assert registry.verify() == ()


def test_other_evidence_takes_the_place_of_what_is_damaged(root: Path, tmp_path: Path) -> None:
    registry = OciRegistry(root)
    before = registry.resolve("toy")
    surgery.blob(root, before.evidence_digest).unlink()
    given = toys.read_artifacts(tmp_path / "work-one")
    verdict = replace(toys.passing(given), context={"seed": 1})
    evidence = toys.write_evidence(tmp_path / "later", verdict)
    after = registry.publish("toy", given, verdict, evidence)
    assert (after.version, after.digest) == (before.version, before.digest)
    assert after.evidence_digest != before.evidence_digest
    assert registry.gate("toy") == after
    assert registry.show("toy")["verdict"]["context"] == {"seed": 1}
    registry.gc()
    assert registry.verify() == ()


def forge_report(root: Path, change: Callable[[bytes], bytes]) -> None:
    """Alters the report, with every digest on the way to it put right."""
    found = OciRegistry(root).resolve("toy:v1")
    old = blobs_by_role(root)["report.json"]
    new = surgery.put(root, change(surgery.blob(root, old).read_bytes()))

    def swap(manifest: surgery.Json) -> None:
        for layer in manifest["layers"]:
            if layer["digest"] == old:
                layer.update(new)

    surgery.forge(root, found.evidence_digest, swap)


def forge_weights(root: Path, *, also_subject: bool) -> None:
    """Puts other weights into the model, with the digests put right, the verdict's left."""
    found = OciRegistry(root).resolve("toy:v1")
    new = surgery.put(root, b"trojan")

    def swap(manifest: surgery.Json) -> None:
        manifest["layers"][-1].update(new)

    digest = surgery.forge(root, found.digest, swap)
    if also_subject:
        surgery.forge(root, found.evidence_digest, lambda m: m["subject"].update(digest=digest))


FORGED: dict[str, tuple[Callable[[Path], object], type[MigrationError], str]] = {
    "outcome": (
        lambda r: forge_report(r, lambda d: d.replace(b'"outcome":"pass"', b'"outcome":"fail"', 1)),
        EvidenceError,
        "the report was altered",
    ),
    "another file judged": (
        lambda r: forge_report(
            r,
            lambda d: d.replace(surgery.digest(b"graph one")[:20].encode(), b"sha256:000000000000"),
        ),
        PublicationRefusedError,
        "is not the file that was judged",
    ),
    "limit": (
        lambda r: forge_report(r, lambda d: d.replace(b'"allowed":1e-05', b'"allowed":1e-08')),
        PublicationRefusedError,
        "is called passed, but is not",
    ),
    "later schema": (
        lambda r: forge_report(r, lambda d: d.replace(b"report/1", b"report/2")),
        EvidenceError,
        "is not 'ascend-migrate/report/1'",
    ),
    "weights": (
        lambda r: forge_weights(r, also_subject=False),
        EvidenceError,
        "its evidence is about sha256:",
    ),
    "weights and subject": (
        lambda r: forge_weights(r, also_subject=True),
        PublicationRefusedError,
        "model.safetensors is not the file that was judged",
    ),
    "no evidence": (
        lambda r: surgery.change_index(r, lambda d: d["manifests"].pop(1)),
        EvidenceError,
        "its evidence is missing",
    ),
    "model as its own evidence": (
        lambda r: surgery.change_index(
            r,
            lambda d: d["manifests"][0]["annotations"].update(
                {"vnd.ascend-migrate.evidence": d["manifests"][0]["digest"]}
            ),
        ),
        EvidenceError,
        "is not evidence",
    ),
    "evidence without report": (
        lambda r: surgery.forge(
            r, OciRegistry(r).resolve("toy").evidence_digest, lambda m: m["layers"].pop()
        ),
        EvidenceError,
        "has no report.json",
    ),
    "evidence without layers": (
        lambda r: surgery.forge(
            r, OciRegistry(r).resolve("toy").evidence_digest, lambda m: m.pop("layers")
        ),
        EvidenceError,
        "holds nothing",
    ),
    "climbing path": (
        lambda r: surgery.forge(
            r,
            OciRegistry(r).resolve("toy").digest,
            lambda m: m["layers"][0]["annotations"].update({"org.cncf.model.filepath": "../../x"}),
        ),
        StoreError,
        "is not a plain relative path",
    ),
    "model without config": (
        lambda r: surgery.forge(r, OciRegistry(r).resolve("toy").digest, lambda m: m.pop("config")),
        StoreError,
        "no configuration",
    ),
    "manifest that is no JSON": (
        lambda r: surgery.replant(r, OciRegistry(r).resolve("toy").digest, b"{"),
        StoreError,
        "is not JSON",
    ),
    "index that is no JSON": (
        lambda r: (r / "index.json").write_bytes(b"{"),
        StoreError,
        "index.json: is not JSON",
    ),
}


@pytest.mark.parametrize("what", FORGED)
def test_forgery_is_refused(root: Path, tmp_path: Path, what: str) -> None:
    forge, kind, reason = FORGED[what]
    forge(root)
    for call in (OciRegistry(root).gate, lambda ref: OciRegistry(root).promote(ref, "prod")):
        with pytest.raises(kind) as caught:
            call("toy")
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    assert any(reason in line for line in OciRegistry(root).verify())
    if kind is StoreError:
        with pytest.raises(StoreError):
            OciRegistry(root).pull("toy", tmp_path / "out")
    assert not (tmp_path / "x").exists()


def test_a_bad_name_in_the_index_is_damage(root: Path) -> None:
    def change(document: surgery.Json) -> None:
        document["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "../toy:v1"

    surgery.change_index(root, change)
    assert any("../toy" in line for line in OciRegistry(root).verify())
    with pytest.raises(SpecError):
        OciRegistry(root).verify("../toy:v1")
