"""Small artifacts and passing verdicts, built by hand from the records."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ascend_migrate.pipeline.digest import bytes_digest, file_digest
from ascend_migrate.pipeline.evidence import write_report
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome, Verdict
from ascend_migrate.pipeline.registry import OciRegistry, Publication

GRAPH_CHECKS = ("outputs.close", "outputs.present", "calls.repeatable", "weights.ledger")


def write_artifacts(root: Path, content: str) -> tuple[Artifact, ...]:
    """One model in three forms; ONNX shares the safetensors file, MindIR has a README beside it."""
    (root / "exports").mkdir(parents=True)
    (root / "ascend/mindir").mkdir(parents=True)
    (root / "exports/model.safetensors").write_bytes(f"weights {content}".encode() * 1000)
    (root / "exports/model.onnx").write_bytes(f"graph {content}".encode())
    (root / "ascend/mindir/model.mindir").write_bytes(f"mindir {content}".encode())
    (root / "ascend/README.md").write_bytes(b"how to load it")
    return read_artifacts(root)


def read_artifacts(root: Path) -> tuple[Artifact, ...]:
    """What `write_artifacts` wrote, as it is on disk now."""
    exports, ascend = root / "exports", root / "ascend"
    weights, source = "model.safetensors", bytes_digest(b"source")
    return (
        Artifact.of(Form.SAFETENSORS, exports, [weights], parent=source),
        Artifact.of(Form.ONNX, exports, ["model.onnx", weights], parent=source),
        Artifact.of(Form.MINDIR, ascend, ["mindir/model.mindir", "README.md"], parent=source),
    )


def passing(artifacts: Sequence[Artifact], golden: str = bytes_digest(b"golden")) -> Verdict:
    """A verdict with one finding per required check, all passed."""
    findings = []
    for artifact in artifacts:
        if artifact.form is Form.SAFETENSORS:
            findings.append(Finding("weights.equal", artifact.form, "w", Outcome.PASS))
            continue
        for check in GRAPH_CHECKS:
            numbers = (1e-7, 1e-5) if check == "outputs.close" else (None, None)
            findings.append(Finding(check, artifact.form, "y", Outcome.PASS, *numbers))
    return Verdict(
        source=bytes_digest(b"source"),
        golden=golden,
        subjects={a.form: a.files for a in artifacts},
        findings=tuple(findings),
    )


def write_evidence(root: Path, verdict: Verdict) -> Mapping[str, Path]:
    """report.json, report.html and golden.safetensors; the golden's bytes are ``golden``."""
    root.mkdir(parents=True, exist_ok=True)
    write_report(root / "report.json", verdict)
    (root / "report.html").write_text("<p>passed</p>")
    (root / "golden.safetensors").write_bytes(b"golden")
    assert file_digest(root / "golden.safetensors") == bytes_digest(b"golden")
    return {p.name: p for p in sorted(root.iterdir())}


def publish(root: Path, content: str, name: str = "toy") -> Publication:
    """Publishes a model with this content to ``root / "registry"``."""
    work = root / f"work-{content}"
    artifacts = write_artifacts(work, content) if not work.exists() else read_artifacts(work)
    verdict = passing(artifacts)
    evidence = write_evidence(work / "evidence", verdict)
    return OciRegistry(root / "registry").publish(name, artifacts, verdict, evidence)
