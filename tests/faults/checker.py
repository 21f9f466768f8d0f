"""Looks at a registry after a fault, with json and hashlib, and imports nothing that is tested."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REF = "org.opencontainers.image.ref.name"
EVIDENCE = "vnd.ascend-migrate.evidence"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
HEX = re.compile(r"[0-9a-f]{64}")
STAGE = re.compile(r"[a-z]+-[0-9a-f]{64}")
OURS = {"oci-layout", "index.json", "blobs", "stages", ".lock-blobs", ".lock-index"}


@dataclass(frozen=True)
class Snapshot:
    """Entries of the index by name, and size, digest and mode of every blob."""

    entries: dict[str, Any]
    blobs: dict[str, tuple[int, str, int]]


def snapshot(root: Path) -> Snapshot:
    entries = {entry["annotations"][REF]: entry for entry in index_of(root)}
    return Snapshot(entries, {path.name: facts(path) for path in sorted(blobs(root).glob("*"))})


def problems(root: Path, before: Snapshot, *, moving: str = "", new: int = 1) -> list[str]:
    """What is wrong, apart from leftovers under temporary names.

    Args:
        root: the registry.
        before: as it was before the fault.
        moving: the alias that the command was to move; it may name the old or the new version.
        new: how many versions may have been added.
    """
    if not root.exists():
        return []
    try:
        entries = index_of(root)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"index.json: {error!r}"]
    found = [fault for entry in entries for fault in incomplete(root, entry)]
    by_name = {entry["annotations"][REF]: entry for entry in entries}
    if len(by_name) != len(entries):
        found.append("index.json: a name occurs twice")
    for name, entry in before.entries.items():
        if name != moving and by_name.get(name) != entry:
            found.append(f"{name}: the entry was changed")
    for name, old in before.blobs.items():
        if not (blobs(root) / name).is_file() or facts(blobs(root) / name) != old:
            found.append(f"{name}: a blob of before was changed")
    added = set(by_name) - set(before.entries) - {moving}
    versions = {name for name in added if not name.endswith(".evidence")}
    if len(versions) > new or len(added) != 2 * len(versions):
        found.append(f"index.json: {sorted(added)} were added")
    digests = {entry["digest"] for entry in entries}
    found += [
        f"{name}: has no evidence"
        for name in versions
        if by_name[name]["annotations"].get(EVIDENCE) not in digests
    ]
    if moving and moving in by_name:
        targets = {e["digest"] for n, e in by_name.items() if re.search(r":v\d+$", n)}
        if by_name[moving]["digest"] not in targets:
            found.append(f"{moving}: names no version")
    return found + list(strange(root)) + list(half_stages(root))


def leftovers(root: Path) -> list[str]:
    """Temporary names, at any depth."""
    return sorted(str(p.relative_to(root)) for p in root.rglob(".tmp-*"))


def unlisted(root: Path) -> set[str]:
    """Blobs that the index does not lead to."""
    reached: set[str] = set()
    for entry in index_of(root):
        reached.add(entry["digest"][7:])
        manifest = json.loads((blobs(root) / entry["digest"][7:]).read_bytes())
        reached |= {item["digest"][7:] for item in (manifest["config"], *manifest["layers"])}
    return {path.name for path in blobs(root).iterdir()} - reached


def versions_of(root: Path) -> dict[str, str]:
    """Digest by name, aliases and evidence left out."""
    entries = {entry["annotations"][REF]: entry["digest"] for entry in index_of(root)}
    return {name: digest for name, digest in entries.items() if re.search(r":v\d+$", name)}


def index_of(root: Path) -> list[dict[str, Any]]:
    # The last file that a first publication makes; without it there is nothing to be found.
    if not (root / "oci-layout").exists():
        if (root / "index.json").exists() and json.loads((root / "index.json").read_bytes())[
            "manifests"
        ]:
            raise ValueError("entries without oci-layout")
        return []
    if json.loads((root / "oci-layout").read_bytes())["imageLayoutVersion"] != "1.0.0":
        raise ValueError("oci-layout")
    found: list[dict[str, Any]] = json.loads((root / "index.json").read_bytes())["manifests"]
    return found


def incomplete(root: Path, entry: dict[str, Any]) -> Iterator[str]:
    """Follows an entry to every blob that it needs."""
    waiting = [entry]
    while waiting:
        item = waiting.pop()
        path = blobs(root) / item["digest"].removeprefix("sha256:")
        if not path.is_file():
            yield f"{item['digest']}: is missing"
        elif facts(path)[:2] != (item["size"], item["digest"]):
            yield f"{item['digest']}: is torn"
        elif item["mediaType"] == MANIFEST:
            manifest = json.loads(path.read_bytes())
            waiting += [manifest["config"], *manifest["layers"]]
            if "subject" in manifest:
                waiting.append(manifest["subject"] | {"mediaType": "do not go round"})


def strange(root: Path) -> Iterator[str]:
    """Names that are neither ours nor temporary, and blobs that do not have their digest."""
    for path in root.iterdir():
        if path.name not in OURS and not path.name.startswith(".tmp-"):
            yield f"{path.name}: does not belong here"
    for path in blobs(root).glob("*"):
        if not HEX.fullmatch(path.name) or facts(path)[1] != f"sha256:{path.name}":
            yield f"{path.name}: is not what its name says"


def half_stages(root: Path) -> Iterator[str]:
    """Finished stages whose files are not those of their record."""
    for folder in (root / "stages").glob("*"):
        if folder.name.startswith((".tmp-", ".lock-")):
            continue
        if not STAGE.fullmatch(folder.name):
            yield f"{folder.name}: is no stage"
            continue
        if not (folder / "record.json").is_file():
            yield f"{folder.name}: has no record"
            continue
        record = json.loads((folder / "record.json").read_bytes())
        listed = {f["path"]: (f["size"], f["digest"]) for f in record["files"]}
        there = {
            path.relative_to(folder).as_posix(): facts(path)[:2]
            for path in folder.rglob("*")
            if path.is_file() and path.name != "record.json"
        }
        if listed != there:
            yield f"{folder.name}: holds other files than its record"


def blobs(root: Path) -> Path:
    return root / "blobs/sha256"


def facts(path: Path) -> tuple[int, str, int]:
    data = path.read_bytes()
    return len(data), f"sha256:{hashlib.sha256(data).hexdigest()}", path.stat().st_mode
