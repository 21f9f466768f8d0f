"""A compiled model in its folder, and what it says of itself.

model.om              the compiled file, which nobody but its chip can read
weight/...            its weights, where they are too large to be inside
om.json               chip, versions, precision and lists; the digests of the files above, and of
                      the graph that they were made from
model.onnx, ...       that graph with its weights: no part of the form, but what proves its weights
answers.safetensors   what a device answered, where that was brought back; no part of it either
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.cann.om_request import LOWERED, PRECISION_MODES
from ascend_migrate.pipeline.digest import canonical_json, file_digest
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.oci_manifest import path_faults
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.pipeline.records import Artifact, Form

SCHEMA = "ascend-migrate/om/2"

OM, WEIGHTS, IDENTITY, ANSWERS = "model.om", "weight", "om.json", "answers.safetensors"

_LIMIT = 1 << 20
"""Bytes of om.json: a line for each file."""


@dataclass(frozen=True, slots=True)
class OmFile:
    """What om.json says.

    Attributes:
        path: of the .om file.
        asked: the request, and the version of the toolkit that carried it out.
        files: digests of the .om file and of its weights, by path.
        graph: file name of the ONNX file that it was made from.
        made_from: digests of that and of its weights, by path.
    """

    path: Path
    asked: Mapping[str, Any]
    files: Mapping[str, str]
    graph: str
    made_from: Mapping[str, str]

    @property
    def soc(self) -> str:
        """The chip that it runs on."""
        return str(self.asked["soc"])

    @property
    def lowered(self) -> str | None:
        """The type that its precision mode lowers float32 to; None where it keeps types."""
        return LOWERED.get(str(self.asked["precision_mode"]))


def compiled_files(folder: Path) -> list[str]:
    """Returns what a compilation left: the .om file, and the weights beside it."""
    beside = (path for path in (folder / WEIGHTS).rglob("*") if path.is_file())
    return [OM, *sorted(path.relative_to(folder).as_posix() for path in beside)]


def identity(
    folder: Path, asked: Mapping[str, Any], graph: str, made_from: Mapping[str, str]
) -> bytes:
    """Returns om.json for the compiled files in a folder.

    Args:
        folder: with the compiled files.
        asked: the request and the toolkit.
        graph: file name of the graph that they were made from.
        made_from: digests of the graph's files, itself included.
    """
    document = {
        "schema": SCHEMA,
        **asked,
        "files": {name: file_digest(folder / name) for name in compiled_files(folder)},
        "graph": graph,
        "made_from": dict(made_from),
    }
    return canonical_json(document)


def read_om(path: Path) -> OmFile:
    """Reads what om.json says of the .om file beside it; no digest is compared.

    Raises:
        SourceError: it is missing, damaged, of another version, or about another file.
    """
    beside = path.parent / IDENTITY
    try:
        if beside.stat().st_size > _LIMIT:
            raise ValueError("it is too large")
        document = json.loads(beside.read_bytes())
        if document.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        files, made_from = (
            {str(name): str(digest) for name, digest in document.pop(key).items()}
            for key in ("files", "made_from")
        )
        found = OmFile(path, document, files, str(document.pop("graph")), made_from)
        faults = path_faults([*files, *made_from])
        if faults or path.name not in files or found.graph not in made_from:
            raise ValueError("; ".join(faults) or f"it does not name {path.name} or its graph")
        if not all(isinstance(document[key], str) for key in ("soc", "precision_mode")):
            raise TypeError("no chip, or no precision mode")
        if document["precision_mode"] not in PRECISION_MODES:
            raise ValueError("its precision mode is none of ATC's")
    except OSError as error:
        raise SourceError(
            f"{path}: {IDENTITY} beside it cannot be read ({error.strerror}): keep the folder as "
            "`om` or `import-om` wrote it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{beside}: does not say what {path.name} is ({in_one_line(error)}); compile it again"
        ) from error
    return found


def om_artifact(path: Path, *, notes: tuple[str, ...] = ()) -> Artifact:
    """Describes a compiled model that lies in a folder.

    Raises:
        SourceError: om.json is missing or damaged, or a file that it names is missing.
    """
    said = read_om(path)
    for name in said.files:
        if not (path.parent / name).is_file():
            raise SourceError(f"{path}: {name}, which holds its weights, is missing beside it")
    names = [path.name, IDENTITY, *said.files]
    return Artifact.of(Form.OM, path.parent, names, parent="", notes=notes)


def graph_of(said: OmFile) -> Artifact:
    """Describes the graph that a model was compiled from, which lies beside it.

    Raises:
        SourceError: a file of it is missing, or is not the one that was compiled.
    """
    folder = said.path.parent
    for name, digest in said.made_from.items():
        if not (folder / name).is_file():
            raise SourceError(f"{folder / name} is missing, which {said.path.name} was made from")
        if file_digest(folder / name) != digest:
            raise SourceError(f"{folder / name} is not what {said.path.name} was made from")
    return Artifact.of(Form.ONNX, folder, [said.graph, *said.made_from], parent="")
