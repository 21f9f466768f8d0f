"""Reading a whole registry, and collecting what nothing needs and nothing else."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pipeline import surgery, toys

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.oci_layout import OciLayout
from ascend_migrate.pipeline.registry import OciRegistry

REF = "org.opencontainers.image.ref.name"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry with toy:v1 (alias prod) and toy:v2."""
    toys.publish(tmp_path, "one")
    toys.publish(tmp_path, "two")
    OciRegistry(tmp_path / "registry").promote("toy:v1", "prod")
    return tmp_path / "registry"


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def forget(root: Path, *refs: str) -> None:
    def change(document: surgery.Json) -> None:
        document["manifests"] = [
            entry for entry in document["manifests"] if entry["annotations"][REF] not in refs
        ]

    surgery.change_index(root, change)


def test_nothing_is_collected_from_a_registry_in_order(root: Path) -> None:
    before = content(root)
    collected = OciRegistry(root).gc()
    assert (collected.files, collected.size) == (0, 0)
    assert content(root) == before


def test_a_forgotten_version_goes_with_its_evidence(root: Path) -> None:
    before = {path.name: path.stat().st_size for path in (root / "blobs/sha256").iterdir()}
    forget(root, "toy:v2")
    # Model manifest, its configuration and three files; evidence manifest and report. The README,
    # the page, the golden file and the empty configuration belong to toy:v1 as well.
    collected = OciRegistry(root).gc()
    gone = set(before) - surgery.blobs(root)
    assert (collected.files, len(gone)) == (7, 7)
    assert collected.size == sum(before[name] for name in gone)
    assert OciRegistry(root).verify() == ()
    tags = [entry["annotations"][REF] for entry in surgery.index_of(root)["manifests"]]
    assert len(tags) == 3
    assert {"toy:v1", "toy:prod"} < set(tags)


def test_an_alias_alone_keeps_its_blobs(root: Path) -> None:
    manifest = OciRegistry(root).resolve("toy:v1").digest
    forget(root, "toy:v1")
    OciRegistry(root).gc()
    assert surgery.blob(root, manifest).exists()


def test_what_the_dead_left_is_collected(root: Path) -> None:
    (root / ".tmp-dead/model").mkdir(parents=True)
    (root / ".tmp-dead/model/incoming").write_bytes(b"12345")
    surgery.put(root, b"never entered")
    collected = OciRegistry(root).gc()
    assert (collected.files, collected.size) == (2, 5 + 13)
    assert list(root.glob(".tmp-*")) == []


def test_strange_files_are_not_ours_to_remove(root: Path) -> None:
    (root / "blobs/sha256/notes.txt").write_bytes(b"x")
    (root / "stages").mkdir()
    (root / "stages/file").write_bytes(b"x")
    assert OciRegistry(root).gc().files == 0
    assert (root / "blobs/sha256/notes.txt").exists()
    assert (root / "stages/file").exists()


def test_a_running_publication_is_waited_for(root: Path) -> None:
    """Its blobs are in their place and no index names them yet."""
    layout = OciLayout(root)
    thread = threading.Thread(target=OciRegistry(root).gc)
    with layout.publishing(), durable.temporary_folder(root) as folder:
        (folder / "file").write_bytes(b"work in progress")
        blob = surgery.blob(root, surgery.put(root, b"on its way")["digest"])
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert blob.exists()
        assert (folder / "file").exists()
    thread.join()
    assert not blob.exists()


def test_a_manifest_that_cannot_be_read_stops_the_collection(root: Path) -> None:
    found = OciRegistry(root).resolve("toy:v1")
    surgery.put(root, b"garbage")
    forget(root, "toy:v2")
    surgery.blob(root, found.digest).write_bytes(b"{}")
    before = content(root)
    with pytest.raises(StoreError, match="has 2 bytes instead of"):
        OciRegistry(root).gc()
    assert content(root) == before


def test_a_second_view_of_a_manifest_hides_nothing(root: Path) -> None:
    """An entry of another tool may call the same blob by another media type."""
    ours = surgery.index_of(root)["manifests"]
    others = [{"mediaType": "a/b", "digest": e["digest"], "size": e["size"]} for e in ours]
    surgery.change_index(root, lambda d: d.update(manifests=[*others, *ours, *others]))
    assert OciRegistry(root).gc().files == 0
    assert OciRegistry(root).verify() == ()


def test_what_a_nested_index_leads_to_is_kept(root: Path) -> None:
    layer = surgery.put(root, b"layer of another tool") | {"mediaType": "a/b"}
    inner = {"schemaVersion": 2, "manifests": [layer]}
    nested = surgery.put(root, json.dumps(inner).encode()) | {"mediaType": INDEX}
    surgery.change_index(root, lambda d: d["manifests"].append(nested))
    assert OciRegistry(root).gc().files == 0
    assert OciRegistry(root).verify() == ()
    surgery.blob(root, layer["digest"]).unlink()
    assert any(layer["digest"][7:] in line for line in OciRegistry(root).verify())


def test_an_index_that_names_itself_ends(root: Path) -> None:
    """No file can hold its own digest, so the circle goes through a wrong one."""
    digest = f"sha256:{'0' * 64}"
    data = json.dumps({"manifests": [{"mediaType": INDEX, "digest": digest, "size": 1}]}).encode()
    surgery.blob(root, digest).write_bytes(data)
    item = {"mediaType": INDEX, "digest": digest, "size": len(data)}
    surgery.change_index(root, lambda d: d["manifests"].append(item))
    assert any(digest[7:] in line for line in OciRegistry(root).verify())
    with pytest.raises(StoreError):
        OciRegistry(root).gc()


def test_a_registry_that_is_not_there_is_not_in_order(tmp_path: Path) -> None:
    (line,) = OciRegistry(tmp_path / "none").verify()
    assert line.startswith(f"{tmp_path / 'none'}: is not there, so nothing was verified")


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "blob that nothing lists": (lambda r: surgery.put(r, b"x"), "nothing lists it (intact)"),
    "damaged blob that nothing lists": (
        lambda r: surgery.blob(r, f"sha256:{'0' * 64}").write_bytes(b"x"),
        "nothing lists it (damaged)",
    ),
    "no blob": (lambda r: (r / "blobs/sha256/notes").write_bytes(b"x"), "notes: is no blob"),
    "a folder": (lambda r: (r / "blobs/sha256" / ("0" * 64)).mkdir(), "is no blob"),
    "index gone": (lambda r: (r / "index.json").unlink(), "index.json: cannot be read"),
    "layout gone": (lambda r: (r / "oci-layout").unlink(), "oci-layout: cannot be read"),
}


@pytest.mark.parametrize("what", PROBLEMS)
def test_problems_of_the_whole(root: Path, what: str) -> None:
    damage, reason = PROBLEMS[what]
    damage(root)
    found = OciRegistry(root).verify()
    assert len(found) == 1
    assert reason in found[0]
    assert str(root) in found[0]
