"""The records that flow through a migration, in the order in which they appear.

MigrationSpec -> Artifact -> Artifact ... -> Verdict -> Publication
 (spec.py)       (each form)                 (evidence) (registry.py)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.digest import file_digest, json_digest


class Form(StrEnum):
    """A form that a model can be published in."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    ONNX_CANN = "onnx-cann"
    MINDIR = "mindir"
    OM = "om"
    TORCH_NPU = "torch-npu"


ONNX_FORMS = frozenset({Form.ONNX, Form.ONNX_CANN})
"""Forms that onnxruntime runs, and so what they hold must have kernels there."""

GRAPH_FORMS = ONNX_FORMS | {Form.MINDIR, Form.OM}
"""Forms that compute, so that at least one number must have been measured."""

READABLE_FORMS = GRAPH_FORMS - {Form.OM}
"""Forms that compute and can be looked into: of a compiled file, only its chip knows anything."""

ASKED_FOR = frozenset({Form.ONNX_CANN, Form.OM, Form.TORCH_NPU})
"""Forms for one compiler, chip or library, which are made only where they are asked for by name."""


class Outcome(StrEnum):
    """What a check found. Only PASS opens the gate: a check that did not run proves nothing.

    WAIVED is a check that could not run because the judging runtime lacks a kernel, which the
    specification accepts for that form, by name.
    """

    PASS = "pass"
    FAIL = "fail"
    NOT_RUN = "not_run"
    WAIVED = "waived"


WORST_FIRST = (Outcome.FAIL, Outcome.NOT_RUN, Outcome.WAIVED, Outcome.PASS)
"""The order in which one finding outweighs another."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artifact.

    Attributes:
        path: relative to the artifact's folder, with forward slashes.
        digest: ``sha256:<hex>`` of its bytes.
        size: in bytes.
    """

    path: str
    digest: str
    size: int

    @classmethod
    def of(cls, root: Path, path: str) -> "FileEntry":
        """Describes the file ``root / path`` as it is on disk now."""
        absolute = root / path
        return cls(path, file_digest(absolute), absolute.stat().st_size)

    def to_json(self) -> dict[str, Any]:
        """Returns the entry as plain JSON data."""
        return {"path": self.path, "digest": self.digest, "size": self.size}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FileEntry":
        """Inverse of `to_json`."""
        return cls(str(data["path"]), str(data["digest"]), int(data["size"]))


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model in one form: a folder, the files in it that count, and where they came from.

    Two artifacts may share files: the ONNX form keeps its weights in the safetensors file.

    Attributes:
        form: which form it is.
        root: the folder that holds the files.
        entry: path (within ``root``) of the file that a runtime is told to load.
        files: every file that the form needs, ``entry`` included, sorted by path.
        parent: digest of what it was made from.
        notes: what the user should know about this conversion, one sentence each.
    """

    form: Form
    root: Path
    entry: str
    files: tuple[FileEntry, ...]
    parent: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        form: Form,
        root: Path,
        paths: Sequence[str],
        *,
        parent: str,
        notes: Sequence[str] = (),
    ) -> "Artifact":
        """Describes files on disk; the first of ``paths`` is the entry."""
        files = tuple(FileEntry.of(root, path) for path in sorted(set(paths)))
        return cls(form, root, paths[0], files, parent, tuple(notes))

    @property
    def path(self) -> Path:
        """Absolute path of the entry file."""
        return self.root / self.entry

    @property
    def digest(self) -> str:
        """Identity: the form and the digests of all its files, independent of the folder."""
        return json_digest(
            {"form": self.form, "entry": self.entry, "files": [f.to_json() for f in self.files]}
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found on one subject.

    Attributes:
        check: name of the check, such as ``outputs.close``.
        form: the form that was judged.
        subject: what was looked at: an output, a tensor, a case.
        outcome: PASS, FAIL, NOT_RUN or WAIVED.
        measured: the number found; None where the check has no number. NaN and infinity, which
            fail, become None in JSON.
        allowed: the largest number that passes.
        note: why the limit has its value, or why the check failed or did not run.
    """

    check: str
    form: Form
    subject: str
    outcome: Outcome
    measured: float | None = None
    allowed: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as plain JSON data."""
        # JSON has no NaN and no infinity. What passes by one cannot be written at all.
        measured = self.measured
        if measured is not None and not math.isfinite(measured) and self.outcome is Outcome.FAIL:
            measured = None
        return {
            "check": self.check,
            "form": str(self.form),
            "subject": self.subject,
            "outcome": str(self.outcome),
            "measured": measured,
            "allowed": self.allowed,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Finding":
        """Inverse of `to_json`."""
        return cls(
            check=str(data["check"]),
            form=Form(data["form"]),
            subject=str(data["subject"]),
            outcome=Outcome(data["outcome"]),
            measured=None if data["measured"] is None else float(data["measured"]),
            allowed=None if data["allowed"] is None else float(data["allowed"]),
            note=str(data["note"]),
        )


LEVELS = ("ledger", "cpu", "device")
"""How far a proof reaches: the weights alone, outputs on the CPU, outputs on a device."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Findings about exactly these files, made from exactly this source.

    Attributes:
        source: digest of the source checkpoint (its files).
        golden: digest of the golden file that the outputs were judged against.
        subjects: the files that were judged, by form.
        findings: everything that was found; empty means that nothing was judged.
        level: one of `LEVELS`.
    """

    source: str
    golden: str
    subjects: Mapping[Form, tuple[FileEntry, ...]]
    findings: tuple[Finding, ...]
    level: str = "cpu"
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """The worst finding: FAIL, NOT_RUN, WAIVED, PASS; no finding at all is NOT_RUN."""
        outcomes = {finding.outcome for finding in self.findings} or {Outcome.NOT_RUN}
        return next(outcome for outcome in WORST_FIRST if outcome in outcomes)

    def to_json(self) -> dict[str, Any]:
        """Returns the verdict as plain JSON data."""
        return {
            "source": self.source,
            "golden": self.golden,
            "subjects": {
                str(form): [f.to_json() for f in files] for form, files in self.subjects.items()
            },
            "findings": [finding.to_json() for finding in self.findings],
            "level": self.level,
            "context": dict(self.context),
            "outcome": str(self.outcome),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Verdict":
        """Inverse of `to_json`; the outcome is recomputed, never believed."""
        return cls(
            source=str(data["source"]),
            golden=str(data["golden"]),
            subjects={
                Form(form): tuple(FileEntry.from_json(f) for f in files)
                for form, files in data["subjects"].items()
            },
            findings=tuple(Finding.from_json(f) for f in data["findings"]),
            level=str(data["level"]),
            context=dict(data["context"]),
        )
