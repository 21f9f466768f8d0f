"""Specifications, golden files and registries that somebody else has written."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.case import Case
from tests.hostile.headers import of

Write = Callable[[Path], object]
DIGEST = "sha256:" + "0" * 64


def _spec(text: str | bytes) -> Write:
    data = text.encode() if isinstance(text, str) else text

    def write(home: Path) -> None:
        (home / "w.safetensors").write_bytes(of())
        (home / "evil.toml").write_bytes(data)

    return write


def _toml(*lines: str, name: str = '"a"', path: str = '"w.safetensors"') -> str:
    head = (f"name = {name}", 'to = ["safetensors"]', *lines)
    return "\n".join((*head, "[source]", f"path = {path}"))


def _specs() -> dict[str, tuple[Write, str]]:
    return {
        "no TOML": (_spec("name = "), ""),
        "not in UTF-8": (_spec(b'name = "\xff"'), ""),
        "with NULs": (_spec(b"\0" * 100), ""),
        "without a name": (_spec(_toml().partition("\n")[2]), "name: is required"),
        "a pickle": (_spec(b"\x80\x02cos\nsystem\n."), ""),
        "10 000 levels deep": (_spec("a = " + "[" * 10_000), ""),
        "a key twice": (_spec(_toml('name = "b"')), ""),
        "an unknown key": (_spec(_toml('exec = "touch canary"')), "no such key"),
        "a name that climbs": (_spec(_toml(name='"../../canary"')), "name"),
        "a name with terminal codes": (_spec(_toml(name='"\\u001b[2J"')), "name"),
        "a name that is a table": (_spec(_toml(name="{a = 1}")), "name"),
        "a form that is none": (_spec(_toml().replace('"safetensors"]', '"\\u001b[2J"]')), "form"),
        "a source with a NUL": (_spec(_toml(path='"a\\u0000b"')), ""),
        "a source of 1 000 letters": (_spec(_toml(path='"' + "a" * 1000 + '"')), "does not exist"),
        "a source that is a number": (_spec(_toml(path="7")), "path"),
        "a source that is not there": (_spec(_toml(path='"none"')), "does not exist"),
        "a source that is itself": (_spec(_toml(path='"evil.toml"')), ""),
        "a number of 100 000 digits": (_spec(_toml("cases = " + "9" * 100_000)), ""),
        "an input that is code": (
            _spec(_toml("inputs = [\"x=float32[__import__('os')]\"]")),
            "",
        ),
    }


def _golden(document: Any, data: bytes | None = None) -> Write:
    text = document if isinstance(document, str) else json.dumps(document)

    def write(home: Path) -> None:
        metadata = {"ascend_migrate.golden": text}
        evil = of(__metadata__=metadata) if data is None else data
        (home / "evil.safetensors").write_bytes(evil)
        (home / "w.safetensors").write_bytes(of())

    return write


def _goldens() -> dict[str, tuple[Write, str]]:
    from ascend_migrate.validators.golden import SCHEMA

    good: dict[str, Any] = {
        **{"schema": SCHEMA, "source": "", "cases": [], "weights": {}, "about": {}},
        **{"no_exact": "", "precision": None, "overflows": []},
    }
    return {
        "no record": (_golden({}), "not a golden file"),
        "a record that is no JSON": (_golden("{"), "golden"),
        "a record that is a list": (_golden([]), "golden"),
        "a record that is 100 000 levels deep": (_golden("[" * 100_000), "golden"),
        "another version": (_golden({"schema": "evil"}), "not a golden file"),
        "cases that are a number": (_golden({**good, "cases": 7}), "golden"),
        "weights that are a list": (_golden({**good, "weights": []}), "golden"),
        "weights that are numbers": (_golden({**good, "weights": {"w": 7}}), "golden"),
        "an empty file": (_golden({}, b""), "golden"),
        "a file of 2**63 bytes of header": (_golden({}, b"\xff" * 16), "golden"),
        "a pickle": (_golden({}, b"\x80\x02cos\nsystem\n."), "golden"),
        "a name twice": (
            _golden({}, (30).to_bytes(8, "little") + b'{"__metadata__":{"a":"b","a":1}'),
            "golden",
        ),
    }


def _registry(index: Any, **files: bytes) -> Write:
    """A registry with this index, and with these blobs by their digests."""
    data = index if isinstance(index, bytes) else json.dumps(index).encode()

    def write(home: Path) -> None:
        blobs = home / "evil/blobs/sha256"
        blobs.mkdir(parents=True)
        (home / "evil/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (home / "evil/index.json").write_bytes(data)
        for name, content in files.items():
            (blobs / name).write_bytes(content)

    return write


def _index(**fields: Any) -> dict[str, Any]:
    """An index with the version a:v1, changed as said."""
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": DIGEST,
        "size": 100,
        "artifactType": "application/vnd.ascend-migrate.model.v1",
        "annotations": {"org.opencontainers.image.ref.name": "a:v1"},
    }
    return {"schemaVersion": 2, "manifests": [{**entry, **fields}]}


def _registries() -> dict[str, tuple[Write, str]]:
    zero = "0" * 64

    def layout(data: bytes) -> Write:
        def write(home: Path) -> None:
            _registry(_index())(home)
            (home / "evil/oci-layout").write_bytes(data)

        return write

    def pipe(home: Path) -> None:
        _registry(_index())(home)
        (home / "evil/index.json").unlink()
        os.mkfifo(home / "evil/index.json")

    def blob_link(home: Path) -> None:
        _registry(_index(size=8))(home)
        (home / f"evil/blobs/sha256/{zero}").symlink_to("/etc/hostname")

    def blob_pipe(home: Path) -> None:
        _registry(_index())(home)
        os.mkfifo(home / f"evil/blobs/sha256/{zero}")

    return {
        "an index that is no JSON": (_registry(b"{"), ""),
        "an index that is a list": (_registry([]), ""),
        "an index 100 000 levels deep": (_registry(b"[" * 100_000), ""),
        "an index that is a pickle": (_registry(b"\x80\x02cos\nsystem\n."), ""),
        "an index that is empty": (_registry(b""), ""),
        "an index that is a pipe": (pipe, ""),
        "an index without manifests": (_registry({"schemaVersion": 2}), ""),
        "an index of numbers": (_registry({"schemaVersion": 2, "manifests": [7]}), ""),
        "a layout that is none": (layout(b"{}"), ""),
        "a layout of another version": (layout(b'{"imageLayoutVersion":"9"}'), ""),
        "a digest that climbs": (_registry(_index(digest="sha256:../../../secret")), ""),
        "a digest in capitals": (_registry(_index(digest="sha256:" + "A" * 64)), ""),
        "a digest of another kind": (_registry(_index(digest="md5:" + "0" * 32)), ""),
        "a digest that is a number": (_registry(_index(digest=7)), ""),
        "a negative size": (_registry(_index(size=-1)), ""),
        "a size that is text": (_registry(_index(size="1")), ""),
        "a size of 2**63": (_registry(_index(size=2**63)), ""),
        "annotations that are a list": (_registry(_index(annotations=[])), ""),
        "a manifest that is missing": (_registry(_index()), ""),
        "a manifest of another size": (_registry(_index(), **{zero: b"{}"}), ""),
        "a manifest of another digest": (_registry(_index(size=2), **{zero: b"{}"}), ""),
        "a manifest that is a link out": (blob_link, ""),
        "a manifest that is a pipe": (blob_pipe, ""),
    }


def cases() -> list[Case]:
    """Returns all of them."""
    found = [
        Case(
            f"spec: {name}",
            "specifications",
            "evil.toml",
            write,
            reason,
            ("migrate {path}", "convert {path} --to safetensors -o {out}"),
        )
        for name, (write, reason) in _specs().items()
    ]
    found += [
        Case(
            f"golden: {name}",
            "golden files",
            "evil.safetensors",
            write,
            reason,
            ("validate {home}/w.safetensors --against {path}",),
        )
        for name, (write, reason) in _goldens().items()
    ]
    found += [
        Case(
            f"registry: {name}",
            "registries",
            "evil",
            write,
            reason,
            (
                "gate a:v1 --registry {path}",
                "pull a:v1 --registry {path} -o {out}",
                "promote a:v1 production --registry {path}",
            ),
            # A registry that cannot be read is no fault of the request.
            codes=(1, 2, 3),
            culprit="a",
        )
        for name, (write, reason) in _registries().items()
    ]
    return found
