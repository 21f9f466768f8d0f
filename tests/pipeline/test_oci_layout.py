"""The layout folder: made, read, and every kind of damage told."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline import surgery

from ascend_migrate.pipeline import oci_layout
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.oci_layout import OciLayout, Staging, copy_hashed

# FIPS 180-2, appendix B.1.
ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
ENTRY = {"mediaType": "text/plain", "digest": ABC, "size": 3}


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    made = OciLayout(tmp_path / "registry")
    made.create()
    return made


def test_an_empty_layout_as_the_specification_wants_it(layout: OciLayout) -> None:
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((layout.root / "index.json").read_bytes()) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
    assert (layout.root / "blobs/sha256").is_dir()
    assert layout.read_index() == []


def test_making_it_again_changes_nothing(layout: OciLayout) -> None:
    layout.write_index([ENTRY])
    layout.create()
    assert layout.read_index() == [ENTRY]


def test_reading_makes_nothing(tmp_path: Path) -> None:
    assert OciLayout(tmp_path / "none").read_index() == []
    assert not (tmp_path / "none").exists()


def test_what_a_killed_maker_leaves_is_empty_and_is_completed(layout: OciLayout) -> None:
    (layout.root / "oci-layout").unlink()
    assert layout.read_index() == []
    layout.create()
    assert (layout.root / "oci-layout").exists()


def test_a_lost_index_is_damage_and_never_made_anew(layout: OciLayout) -> None:
    (layout.root / "index.json").unlink()
    with pytest.raises(StoreError, match=r"index\.json: cannot be read: .*restore it from a copy"):
        layout.read_index()
    layout.create()
    assert not (layout.root / "index.json").exists()


def test_a_lost_layout_file_is_damage(layout: OciLayout) -> None:
    layout.write_index([ENTRY])
    (layout.root / "oci-layout").unlink()
    with pytest.raises(StoreError, match="oci-layout: cannot be read"):
        layout.read_index()


def test_a_path_that_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="File name too long"):
        OciLayout(tmp_path / ("a" * 300)).read_index()


def entries(**changes: Any) -> bytes:
    entry = {key: value for key, value in (ENTRY | changes).items() if value is not None}
    return json.dumps({"manifests": [entry]}).encode()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not JSON"),
    "cut": (b'{"manifests":[', "is not JSON"),
    "binary": (b"\xff\xfe", "is not JSON"),
    "deep": (b"[" * 100_000, "is not JSON"),
    "list": (b"[]", "is not a JSON object"),
    "no list": (b'{"schemaVersion":2}', "has no list of manifests"),
    "table of manifests": (b'{"manifests":{}}', "has no list of manifests"),
    "number": (b'{"manifests":[1]}', "without a sha256 digest"),
    "no digest": (entries(digest=None), "without a sha256 digest"),
    "climbing digest": (entries(digest="sha256:../../../etc/passwd"), "without a sha256 digest"),
    "other algorithm": (entries(digest="sha512:" + "0" * 128), "without a sha256 digest"),
    "upper case": (entries(digest=ABC.upper()), "without a sha256 digest"),
    "newline": (entries(digest=ABC + "\n"), "without a sha256 digest"),
    "no media type": (entries(mediaType=None), f"{ABC} has no media type"),
    "list of media types": (entries(mediaType=["a"]), f"{ABC} has no media type"),
    "no size": (entries(size=None), f"{ABC} has no size"),
    "negative size": (entries(size=-1), f"{ABC} has no size"),
    "size as text": (entries(size="3"), f"{ABC} has no size"),
    "size as truth": (entries(size=True), f"{ABC} has no size"),
    "endless size": (entries().replace(b'"size": 3', b'"size": 1e400'), f"{ABC} has no size"),
    "annotations as list": (entries(annotations=["a"]), f"annotations of {ABC} are not text"),
    "annotation as number": (entries(annotations={"a": 1}), f"annotations of {ABC} are not text"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_index(layout: OciLayout, name: str) -> None:
    data, reason = HOSTILE[name]
    (layout.root / "index.json").write_bytes(data)
    with pytest.raises(StoreError) as caught:
        layout.read_index()
    assert str(caught.value).startswith(f"{layout.root / 'index.json'}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [n for n in HOSTILE if HOSTILE[n][0].startswith(b'{"mani')])
def test_hostile_manifest(layout: OciLayout, name: str) -> None:
    data, reason = HOSTILE[name]
    item = surgery.put(layout.root, data) | {"mediaType": oci_layout.INDEX_TYPE}
    with pytest.raises(StoreError) as caught:
        layout.read_manifest(item)
    assert str(layout.blob(item["digest"])) in str(caught.value)
    # In a manifest the same fault of the list has other words than in the index.
    assert reason in str(caught.value) or "manifests is not a list" in str(caught.value)


@pytest.mark.parametrize("version", ["1.0.1", None, 1])
def test_another_version_of_the_layout(layout: OciLayout, version: object) -> None:
    (layout.root / "oci-layout").write_text(json.dumps({"imageLayoutVersion": version}))
    with pytest.raises(StoreError, match=f"layout version {version!r} is not"):
        layout.read_index()


def test_files_that_are_larger_than_they_can_be(layout: OciLayout) -> None:
    with (layout.root / "index.json").open("wb") as stream:
        stream.truncate(oci_layout.MAX_INDEX + 1)
    with pytest.raises(StoreError, match=f"is larger than the {oci_layout.MAX_INDEX} bytes"):
        layout.read_index()
    with pytest.raises(StoreError, match="is full"):
        layout.write_index([ENTRY | {"annotations": {"a": "x" * oci_layout.MAX_INDEX}}])


@pytest.mark.parametrize("digest", ["", "..", "sha256:..", ABC[:-1], ABC.upper(), f"{ABC}/../x"])
def test_only_a_digest_becomes_a_path(layout: OciLayout, digest: str) -> None:
    with pytest.raises(StoreError, match="is not a sha256 digest"):
        layout.blob(digest)


def test_blobs(layout: OciLayout) -> None:
    surgery.put(layout.root, b"abc")
    assert layout.read_blob(ENTRY) == b"abc"
    layout.check_blob(ENTRY)
    path = layout.root / "blobs/sha256" / ABC.removeprefix("sha256:")
    for data, reason in ((b"ab", "has 2 bytes instead of 3"), (b"abd", "its bytes have")):
        path.write_bytes(data)
        with pytest.raises(StoreError, match=reason):
            layout.check_blob(ENTRY)
        with pytest.raises(StoreError, match=reason):
            layout.read_blob(ENTRY)
    path.unlink()
    for read in (layout.check_blob, layout.read_blob):
        with pytest.raises(StoreError, match="the blob is missing"):
            read(ENTRY)


def test_a_small_blob_that_claims_to_be_large(layout: OciLayout) -> None:
    with pytest.raises(StoreError, match="11 bytes are more than the 10 allowed"):
        layout.read_blob(ENTRY | {"size": 11}, limit=10)


def test_staged_blobs_appear_together(layout: OciLayout, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"abc")
    (tmp_path / "stage").mkdir()
    staging = Staging(layout, tmp_path / "stage/model")
    assert staging.add_file(tmp_path / "source") == (ABC, 3)
    assert staging.add_bytes(b"abc") == (ABC, 3)
    other, size = staging.add_bytes(b"other")
    assert size == 5
    assert staging.read(other, 5) == b"other"
    assert surgery.blobs(layout.root) == set()
    staging.commit()
    assert {f"sha256:{name}" for name in surgery.blobs(layout.root)} == {ABC, other}
    assert layout.read_blob(ENTRY) == b"abc"


def test_a_damaged_blob_is_replaced_and_a_whole_one_is_not_touched(
    layout: OciLayout, tmp_path: Path
) -> None:
    whole = surgery.blob(layout.root, surgery.put(layout.root, b"whole")["digest"])
    before = whole.stat()
    surgery.blob(layout.root, ABC).write_bytes(b"abX")
    staging = Staging(layout, tmp_path / "stage")
    staging.add_bytes(b"abc")
    staging.add_bytes(b"whole")
    staging.commit()
    assert layout.read_blob(ENTRY) == b"abc"
    assert (whole.stat().st_ino, whole.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("size", [0, 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1])
def test_copies(tmp_path: Path, size: int) -> None:
    data = (b"0123456789abcdef" * (1 << 20))[:size]
    (tmp_path / "source").write_bytes(data)
    assert copy_hashed(tmp_path / "source", tmp_path / "copy") == (
        surgery.digest(data),
        size,
    )
    assert (tmp_path / "copy").read_bytes() == data


def test_copies_where_the_kernel_cannot(tmp_path: Path) -> None:
    data = Path("/proc/version").read_bytes()
    digest, size = copy_hashed(Path("/proc/version"), tmp_path / "copy")
    assert (digest, size) == (surgery.digest(data), len(data))
    assert (tmp_path / "copy").read_bytes() == data


def test_a_copy_never_replaces_anything(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for target in ("copy", "link"):
        with pytest.raises(FileExistsError):
            copy_hashed(Path("/proc/version"), tmp_path / target)
    assert (tmp_path / "copy").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()
