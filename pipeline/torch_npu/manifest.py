"""torch_npu.json, which lies beside the weights and says what has to change for torch_npu.

{"schema": ..., "weights": "model.safetensors", ...}: the rest is for readers; nothing is decided
by it, and it holds no time and no path of the machine that wrote it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.durable import write_file
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.printable import in_one_line, plain
from ascend_migrate.pipeline.rule import Effect

MANIFEST = "torch_npu.json"
SCHEMA = "ascend-migrate/torch-npu/1"

_AGAIN = "make it again with convert --to torch-npu"

MAX_BYTES = 64 << 20
"""A manifest is some hundred bytes a tensor and a finding; this is room for 200,000."""


def write_manifest(folder: Path, document: Mapping[str, Any]) -> None:
    """Writes the manifest into ``folder``, for people to read and in one spelling.

    Raises:
        StoreError: the file cannot be written.
    """
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False)
    write_file(folder / MANIFEST, f"{text}\n".encode())


def read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest ``path``, in which everything is there that its readers show.

    Raises:
        SourceError: it cannot be read, or is none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SourceError(f"{path}: larger than a manifest can be ({MAX_BYTES} bytes)")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is not JSON: {in_one_line(error)}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise SourceError(f"{path}: is not {SCHEMA}; {_AGAIN}")
    try:
        _check(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{path}: field missing or malformed ({type(error).__name__}: {plain(str(error))}); "
            f"{_AGAIN}"
        ) from error
    return document


def _check(document: Mapping[str, Any]) -> None:
    for item in document["tensors"]:
        document["rules"][item["rule"]]
        _texts(item["tensors"])
    code = document["code"]
    if code is not None:
        for item in code["findings"]:
            document["rules"][item["rule"]]
            _texts([item[key] for key in ("file", "found", "becomes")])
            _number(item["line"])
        _texts([*code["not_read"].keys(), *code["not_read"].values()])
    for rule in document["rules"].values():
        Effect(rule["effect"])
        _texts([rule[key] for key in ("says", "remedy", "certainty", "source")])
        _texts(rule["chips"])
    for row in document["dtype_policy"]:
        _texts([row["stored"], row["compute"]])
        _number(row["tensors"])
        for other in row["except"]:
            _texts([*other["chips"], other["compute"]])
    for item in document["settings"]:
        _texts([item["set"], item["says"]])


def _number(value: object) -> None:
    if not isinstance(value, int):
        raise TypeError("expected a whole number")


def _texts(values: list[Any]) -> None:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("expected texts")


def weights_of(path: Path) -> Path:
    """Returns the weights file that the manifest ``path`` names, in the same folder.

    Raises:
        SourceError: as `read_manifest`, or what it names is no file there.
    """
    name = read_manifest(path).get("weights")
    # A manifest may come from a stranger: it must not lead out of its folder.
    if not isinstance(name, str) or not _is_plain(name):
        raise SourceError(f"{path}: its weights {name!r} are not the name of a file beside it")
    weights = path.with_name(name)
    if not weights.is_file():
        raise SourceError(f"{path}: names {name}, which is not beside it")
    return weights


def _is_plain(name: str) -> bool:
    return name not in ("", "..") and name.isprintable() and Path(name).name == name
