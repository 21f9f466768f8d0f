"""Opens a registry with json and hashlib only, to look into it and to damage it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def index_of(root: Path) -> Json:
    found: Json = json.loads((root / "index.json").read_bytes())
    return found


def blob(root: Path, name: str) -> Path:
    return root / "blobs/sha256" / name.removeprefix("sha256:")


def manifest_of(root: Path, name: str) -> Json:
    found: Json = json.loads(blob(root, name).read_bytes())
    return found


def change_index(root: Path, change: Callable[[Json], object]) -> None:
    document = index_of(root)
    change(document)
    (root / "index.json").write_text(json.dumps(document))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def put(root: Path, data: bytes) -> Json:
    """Adds a blob; returns digest and size as a descriptor has them."""
    blob(root, digest(data)).write_bytes(data)
    return {"digest": digest(data), "size": len(data)}


def replant(root: Path, old: str, data: bytes) -> str:
    """Puts ``data`` in the place of the manifest ``old``, in the index as well."""
    new = put(root, data)

    def change(document: Json) -> None:
        for entry in document["manifests"]:
            if entry["digest"] == old:
                entry.update(new)
            for key, value in entry["annotations"].items():
                entry["annotations"][key] = value.replace(old, new["digest"])

    change_index(root, change)
    return str(new["digest"])


def forge(root: Path, old: str, change: Callable[[Json], object]) -> str:
    """Alters a manifest as someone would who can write to the registry; returns its digest."""
    document = manifest_of(root, old)
    change(document)
    return replant(root, old, json.dumps(document).encode())


def blobs(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs/sha256").iterdir()}
