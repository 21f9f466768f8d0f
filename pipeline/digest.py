"""Digests of files and of JSON documents, always spelled ``sha256:<64 hex digits>``."""

import hashlib
import json
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
"""Bytes read at a time: larger blocks do not hash faster and cost memory."""


def bytes_digest(data: bytes | memoryview) -> str:
    """Returns the digest of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def file_digest(path: Path) -> str:
    """Returns the digest of the file's bytes, read once in blocks of 1 MiB."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            state.update(block)
    return f"sha256:{state.hexdigest()}"


def canonical_json(document: Any) -> bytes:
    """Returns the one spelling of ``document``: sorted keys, no blanks, UTF-8, no NaN or Inf."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def json_digest(document: Any) -> str:
    """Returns the digest of the canonical spelling of ``document``."""
    return bytes_digest(canonical_json(document))
