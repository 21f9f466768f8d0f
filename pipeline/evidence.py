"""The report document: a verdict as canonical JSON, the source of truth for every other page.

It begins with a schema name that carries a version. A reader that does not know the version
refuses, because a field it does not know could be the one that says no.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.durable import write_file
from ascend_migrate.pipeline.errors import EvidenceError
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.pipeline.records import LEVELS, Verdict

SCHEMA = "ascend-migrate/report/1"

MAX_BYTES = 64 << 20
"""A report is some hundred bytes a finding; this is room for 200,000 findings and their notes."""

_KEYS = frozenset({"schema", "verdict", "extra"})


def encode(verdict: Verdict, extra: Mapping[str, Any] | None = None) -> bytes:
    """Returns the report document of ``verdict``.

    Args:
        verdict: what was found.
        extra: JSON-ready data for readers, which never changes the outcome.

    Raises:
        EvidenceError: a value cannot be written as JSON, such as NaN.
    """
    document = {"schema": SCHEMA, "verdict": verdict.to_json(), "extra": dict(extra or {})}
    try:
        return canonical_json(document)
    except (TypeError, ValueError) as error:
        raise EvidenceError(f"the report cannot be written as JSON: {error}") from error


@contextmanager
def recorded(path: Path, what: str, advice: str) -> Iterator[Any]:
    """Opens a safetensors file with a record in it: whatever is wrong with either is one line.

    Args:
        path: of the file.
        what: it is then.
        advice: how to get a sound one.

    Raises:
        EvidenceError: the file is missing or damaged; or what is done with it raises what a
            damaged record makes it raise.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OSError,
        OverflowError,
        RecursionError,
    ) as error:
        raise EvidenceError(f"{path}: {what} ({in_one_line(error)}); {advice}") from error


def decode(data: bytes, subject: str) -> Verdict:
    """Returns the verdict of a report document; its outcome is computed again and compared.

    Args:
        data: the document's bytes.
        subject: what to call the document in errors.

    Raises:
        EvidenceError: not JSON, another schema, a missing field, or an outcome that its own
            findings do not support.
    """
    document = _parse(data, subject)
    if document.get("schema") != SCHEMA:
        raise EvidenceError(
            f"{subject}: schema {document.get('schema')!r} is not {SCHEMA!r}, the only one that "
            "this release reads; make the report again with `validate`"
        )
    try:
        if set(document) != _KEYS:
            raise KeyError(*sorted(set(document) ^ _KEYS))
        verdict = Verdict.from_json(document["verdict"])
        stated = document["verdict"]["outcome"]
        _check_numbers(verdict)
        _check_level(verdict)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EvidenceError(
            f"{subject}: field missing or malformed ({type(error).__name__}: {error}); "
            "make the report again with `validate`"
        ) from error
    if stated != str(verdict.outcome):
        raise EvidenceError(
            f"{subject}: states the outcome {stated!r}, but its findings say "
            f"{str(verdict.outcome)!r}; the report was altered"
        )
    return verdict


def write_report(path: Path, verdict: Verdict, extra: Mapping[str, Any] | None = None) -> None:
    """Writes the report document of ``verdict`` to ``path``, atomically.

    Raises:
        EvidenceError: a value cannot be written as JSON.
        StoreError: the file cannot be written.
    """
    write_file(path, encode(verdict, extra))


def read_report(path: Path) -> Verdict:
    """Reads a report document.

    Raises:
        EvidenceError: the file is missing, too large, malformed or contradicts itself.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EvidenceError(f"{path}: larger than a report can be ({MAX_BYTES} bytes)")
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path}: the report cannot be read: {error.strerror}") from error
    return decode(data, str(path))


def _parse(data: bytes, subject: str) -> dict[str, Any]:
    try:
        document = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{subject}: not a JSON document: {error}") from error
    if not isinstance(document, dict):
        raise EvidenceError(f"{subject}: not a JSON object")
    return document


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses a key given twice: two readers could believe different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _check_numbers(verdict: Verdict) -> None:
    for finding in verdict.findings:
        for number in (finding.measured, finding.allowed):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{finding.check} on {finding.subject}: {number} is no number")


def _check_level(verdict: Verdict) -> None:
    """Refuses a level that is none, or that what is said to have run does not reach."""
    if verdict.level not in LEVELS:
        raise ValueError(f"{verdict.level!r} is no level")
    reached = {ran["level"] for ran in verdict.context.get("runtimes", {}).values()}
    if verdict.level == "device" and reached != {"device"}:
        raise ValueError("states the level device, and not every form was run on one")
