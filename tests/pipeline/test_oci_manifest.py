"""The two manifests, against documents written by hand from the specifications."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pipeline.surgery import digest

from ascend_migrate.pipeline import oci_manifest as oci
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.oci_manifest import ModelFiles
from ascend_migrate.pipeline.records import FileEntry, Form

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
MODEL = ModelFiles(
    files=(FileEntry("README.md", TWO, 20), FileEntry("model.safetensors", ONE, 10)),
    forms={"README.md": (Form.ONNX,), "model.safetensors": (Form.SAFETENSORS, Form.ONNX)},
    entries={Form.SAFETENSORS: "model.safetensors", Form.ONNX: "model.safetensors"},
    source="sha256:source",
)
CONFIG = b'{"config":{},"descriptor":{},"modelfs":{"diffIds":["%b","%b"],"type":"layers"}}' % (
    TWO.encode(),
    ONE.encode(),
)


def layer(path: str, kind: str, name: str, size: int, forms: str) -> dict[str, Any]:
    return {
        "mediaType": f"application/vnd.cncf.model.{kind}.v1.raw",
        "digest": name,
        "size": size,
        "annotations": {
            "org.cncf.model.filepath": path,
            "org.opencontainers.image.title": path,
            "vnd.ascend-migrate.forms": forms,
        },
    }


MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "artifactType": "application/vnd.cncf.model.manifest.v1+json",
    "config": {
        "mediaType": "application/vnd.cncf.model.config.v1+json",
        "digest": digest(CONFIG),
        "size": len(CONFIG),
    },
    "layers": [
        layer("README.md", "doc", TWO, 20, "onnx"),
        layer("model.safetensors", "weight", ONE, 10, "onnx,safetensors"),
    ],
    "annotations": {
        "vnd.ascend-migrate.source": "sha256:source",
        "vnd.ascend-migrate.entry.safetensors": "model.safetensors",
        "vnd.ascend-migrate.entry.onnx": "model.safetensors",
    },
}


def test_model() -> None:
    assert oci.model_config(MODEL) == CONFIG
    assert json.loads(oci.model_manifest(MODEL)) == MANIFEST
    assert oci.read_model(MANIFEST, "it") == ModelFiles(
        MODEL.files,
        # In the order of the alphabet, as they are written.
        {"README.md": (Form.ONNX,), "model.safetensors": (Form.ONNX, Form.SAFETENSORS)},
        MODEL.entries,
        MODEL.source,
    )


def test_canonical() -> None:
    written = json.dumps(MANIFEST, sort_keys=True, separators=(",", ":")).encode()
    assert oci.model_manifest(MODEL) == written


def test_files_of_each_form() -> None:
    readme, weights = MODEL.files
    assert MODEL.subjects() == {Form.SAFETENSORS: (weights,), Form.ONNX: (readme, weights)}


def test_evidence() -> None:
    subject = {"mediaType": "a/b", "digest": ONE, "size": 5, "annotations": {"x": "y"}}
    names = ("report.json", "golden.safetensors", "report.html", "notes")
    files = [FileEntry(name, TWO, 7) for name in names]
    kinds = {
        "golden.safetensors": "application/vnd.ascend-migrate.golden.v1.safetensors",
        "notes": "application/octet-stream",
        "report.html": "text/html",
        "report.json": "application/vnd.ascend-migrate.report.v1+json",
    }
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.ascend-migrate.evidence.v1+json",
        # The empty JSON of the OCI image specification 1.1.
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        },
        "layers": [
            {
                "mediaType": kind,
                "digest": TWO,
                "size": 7,
                "annotations": {"org.opencontainers.image.title": name},
            }
            for name, kind in kinds.items()
        ],
        "subject": {"mediaType": "a/b", "digest": ONE, "size": 5},
    }
    written = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert oci.evidence_manifest(files, subject) == written
    assert oci.evidence_manifest(files[::-1], subject) == written


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(("config.json", "weight.config"), ("a/LICENSE.txt", "doc"), ("a.md", "doc")),
        *(("model.onnx", "weight"), ("a/model.mindir", "weight"), ("weights", "weight")),
    ],
)
def test_kinds_of_layers(path: str, kind: str) -> None:
    model = ModelFiles((FileEntry(path, ONE, 1),), {path: (Form.ONNX,)}, {Form.ONNX: path}, "s")
    assert json.loads(oci.model_manifest(model))["layers"] == [layer(path, kind, ONE, 1, "onnx")]


def altered(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(MANIFEST))
    change(document)
    return document


def note(at: int, key: str, value: str) -> Callable[[dict[str, Any]], object]:
    return lambda d: d["layers"][at]["annotations"].update({key: value})


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "other type": (altered(lambda d: d.update(artifactType="x")), "is not a model manifest"),
    "no type": (altered(lambda d: d.pop("artifactType")), "is not a model manifest"),
    "no config": (altered(lambda d: d.pop("config")), "no configuration"),
    "no layers": (altered(lambda d: d.pop("layers")), "'layers'"),
    "no annotations": (altered(lambda d: d.pop("annotations")), "'annotations'"),
    "annotations no table": (altered(lambda d: d.update(annotations=["a"])), "attribute"),
    "no source": (
        altered(lambda d: d["annotations"].pop("vnd.ascend-migrate.source")),
        "vnd.ascend-migrate.source",
    ),
    "layer without notes": (altered(lambda d: d["layers"][0].pop("annotations")), "annotations"),
    "other form": (altered(note(0, "vnd.ascend-migrate.forms", "elf")), "'elf'"),
    "no form": (altered(note(0, "vnd.ascend-migrate.forms", "")), "is not a valid Form"),
    # Such a file would be pulled without ever being asked about at the gate.
    "form without entry": (
        altered(note(0, "vnd.ascend-migrate.forms", "mindir,onnx")),
        "a form has files but no entry",
    ),
    "entry without form": (
        altered(
            lambda d: d["annotations"].update({"vnd.ascend-migrate.entry.mindir": "README.md"})
        ),
        "an entry but no files",
    ),
    "entry of another form": (
        altered(
            lambda d: d["annotations"].update({"vnd.ascend-migrate.entry.safetensors": "README.md"})
        ),
        "not among its form's files",
    ),
    "entry that is no file": (
        altered(lambda d: d["annotations"].update({"vnd.ascend-migrate.entry.onnx": "x"})),
        "is not a manifest of this tool ('x')",
    ),
    **{
        f"path {path!r}": (altered(note(0, "org.cncf.model.filepath", path)), reason)
        for path, reason in (
            *(
                (p, "is not a plain relative path")
                for p in ("../x", "/x", "a//b", "./a", "a/.", "")
            ),
            *(
                (p, "is not a plain relative path")
                for p in ("a\\b", "a\0b", "a\nb", "..", "a/../b")
            ),
            ("model.safetensors", "stands in the way"),
            ("model.safetensors/x", "stands in the way"),
        )
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_manifest(name: str) -> None:
    document, reason = HOSTILE[name]
    with pytest.raises(StoreError) as caught:
        oci.read_model(document, "toy:v1")
    assert str(caught.value).startswith("toy:v1: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


parts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)


@given(paths=st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=4))
def test_paths_without_faults_stay_inside_and_apart(paths: list[str]) -> None:
    if oci.path_faults(paths):
        return
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))
        assert not any(other.startswith(f"{path}/") for other in paths)
