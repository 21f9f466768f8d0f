"""The two manifests of a version: the model's (ModelPack) and its evidence, which refers to it.

Both are functions of the content alone, without times or machine names, so publishing the same
content gives the same digest everywhere. Media types: CNCF ModelPack specification, and the OCI
image specification 1.1 for the referring manifest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ascend_migrate.pipeline.digest import bytes_digest, canonical_json
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.oci_layout import Descriptor
from ascend_migrate.pipeline.records import FileEntry, Form

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MODEL_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
EVIDENCE_TYPE = "application/vnd.ascend-migrate.evidence.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"

TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"
CREATED = "org.opencontainers.image.created"
FILE_PATH = "org.cncf.model.filepath"
FORMS = "vnd.ascend-migrate.forms"
"""On a layer: the forms that need this file, separated by commas."""
ENTRY = "vnd.ascend-migrate.entry."
"""On the manifest, followed by a form: the file that a runtime is told to load."""
SOURCE = "vnd.ascend-migrate.source"
"""On the manifest: digest of the checkpoint that it was made from."""
EVIDENCE = "vnd.ascend-migrate.evidence"
"""On an index entry of a version: digest of its evidence manifest."""
HISTORY = "vnd.ascend-migrate.history"
"""On an index entry of an alias: what it named before, as JSON."""

REPORT = "report.json"
GOLDEN = "golden.safetensors"

_LAYER_TYPES = {".json": "weight.config", ".md": "doc", ".txt": "doc", ".html": "doc"}
_EVIDENCE_TYPES = {
    ".json": "application/vnd.ascend-migrate.report.v1+json",
    ".html": "text/html",
    ".safetensors": "application/vnd.ascend-migrate.golden.v1.safetensors",
}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What a model manifest says.

    Attributes:
        files: every file, sorted by path.
        forms: for each path, the forms that need it.
        entries: for each form, the file that a runtime is told to load.
        source: digest of the source checkpoint.
    """

    files: tuple[FileEntry, ...]
    forms: Mapping[str, tuple[Form, ...]]
    entries: Mapping[Form, str]
    source: str

    def subjects(self) -> dict[Form, tuple[FileEntry, ...]]:
        """Returns the files of each form, sorted by path."""
        return {
            form: tuple(f for f in self.files if form in self.forms[f.path])
            for form in self.entries
        }


def model_config(model: ModelFiles) -> bytes:
    """Returns the ModelPack configuration; its schema admits no fields of our own."""
    layers = {"type": "layers", "diffIds": [f.digest for f in model.files]}
    return canonical_json({"descriptor": {}, "config": {}, "modelfs": layers})


def model_manifest(model: ModelFiles) -> bytes:
    """Returns the manifest of a model; its configuration is `model_config`."""
    notes = {SOURCE: model.source}
    notes |= {f"{ENTRY}{form}": path for form, path in model.entries.items()}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": MODEL_TYPE,
        "config": descriptor_of(model_config(model), CONFIG_TYPE),
        "layers": [_layer(model, file) for file in model.files],
        "annotations": notes,
    }
    return canonical_json(document)


def evidence_manifest(files: Sequence[FileEntry], subject: Descriptor) -> bytes:
    """Returns the manifest that refers to ``subject`` and holds its evidence ``files``."""
    layers = [
        {
            "mediaType": _EVIDENCE_TYPES.get(
                PurePosixPath(file.path).suffix, "application/octet-stream"
            ),
            "digest": file.digest,
            "size": file.size,
            "annotations": {TITLE: file.path},
        }
        for file in sorted(files, key=lambda f: f.path)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": EVIDENCE_TYPE,
        "config": descriptor_of(EMPTY, EMPTY_TYPE),
        "layers": layers,
        "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
    }
    return canonical_json(document)


def read_model(manifest: Mapping[str, Any], where: str) -> ModelFiles:
    """Returns what a model manifest says.

    Raises:
        StoreError: it is not a manifest that this release wrote, or a path in it is unsafe.
    """
    if manifest.get("artifactType") != MODEL_TYPE:
        raise StoreError(f"{where}: is not a model manifest")
    try:
        notes = manifest["annotations"]
        files, forms = [], {}
        for layer in manifest["layers"]:
            path = layer["annotations"][FILE_PATH]
            files.append(FileEntry(path, layer["digest"], layer["size"]))
            forms[path] = tuple(Form(f) for f in layer["annotations"][FORMS].split(","))
        entries = {
            Form(key.removeprefix(ENTRY)): str(path)
            for key, path in notes.items()
            if key.startswith(ENTRY)
        }
        model = ModelFiles(tuple(files), forms, entries, str(notes[SOURCE]))
        # A file of a form without entry would be pulled, but not be asked about at the gate.
        if {form for needed in forms.values() for form in needed} != set(entries):
            raise ValueError("a form has files but no entry, or an entry but no files")
        if "config" not in manifest or any(f not in forms[p] for f, p in entries.items()):
            raise ValueError("no configuration, or an entry that is not among its form's files")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{where}: is not a manifest of this tool ({error})") from error
    faults = path_faults([f.path for f in files])
    if faults:
        raise StoreError(f"{where}: {'; '.join(faults)}")
    return model


def descriptor_of(data: bytes, media_type: str) -> Descriptor:
    """Returns the descriptor of a small blob."""
    return {"mediaType": media_type, "digest": bytes_digest(data), "size": len(data)}


def path_faults(paths: Sequence[str]) -> list[str]:
    """Says which paths could leave the folder that they are written into, or hide each other."""
    faults = [f"{path!r} is not a plain relative path" for path in paths if not _is_plain(path)]
    seen: set[str] = set()
    for path in sorted(paths):
        parents = {str(p) for p in PurePosixPath(path).parents}
        if path in seen or parents & seen:
            faults.append(f"{path!r} stands in the way of another file")
        seen.add(path)
    return faults


def _is_plain(path: object) -> bool:
    if not isinstance(path, str) or not path.isprintable() or "\\" in path:
        return False
    return bool(path) and all(part not in ("", ".", "..") for part in path.split("/"))


def _layer(model: ModelFiles, file: FileEntry) -> Descriptor:
    kind = _LAYER_TYPES.get(PurePosixPath(file.path).suffix, "weight")
    return {
        "mediaType": f"application/vnd.cncf.model.{kind}.v1.raw",
        "digest": file.digest,
        "size": file.size,
        "annotations": {
            FILE_PATH: file.path,
            TITLE: file.path,
            FORMS: ",".join(sorted(model.forms[file.path])),
        },
    }
