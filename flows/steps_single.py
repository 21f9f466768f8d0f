"""One step on its own: convert without judging, capture, validate, publish by report."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ascend_migrate.flows import capturing, localising, steps
from ascend_migrate.flows.sources import open_source
from ascend_migrate.flows.steps import GOLDEN, PAGE, REPORT, Progress
from ascend_migrate.flows.weights import prepare_folder
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.evidence import read_report
from ascend_migrate.pipeline.mindir_buckets import is_index
from ascend_migrate.pipeline.records import ONNX_FORMS, Artifact, Form, Verdict
from ascend_migrate.pipeline.registry import OciRegistry, Publication
from ascend_migrate.pipeline.spec import MigrationSpec, with_forms

_SUFFIXES = {".safetensors": Form.SAFETENSORS, ".onnx": Form.ONNX, ".mindir": Form.MINDIR}


def convert(spec: MigrationSpec, form: Form, out: Path, progress: Progress) -> Artifact:
    """Makes one form in the folder ``out``, which must be new or empty."""
    wanted = with_forms(spec, [form], subject=str(spec.source))
    prepare_folder(out)
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
        work = steps.open_workspace(replace(wanted, registry=Path(scratch)), progress)
        source = open_source(work.spec)
        exported = steps.export(work, source)
        made = [*steps.artifacts_of(exported), *steps.artifacts_of(steps.convert(work, exported))]
        artifact = next(a for a in made if a.form is form)
        for entry in artifact.files:
            target = out / entry.path
            with durable.storing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artifact.root / entry.path, target)
    return replace(artifact, root=out, notes=(*source.notes, *artifact.notes))


def capture(spec: MigrationSpec, out: Path, progress: Progress) -> list[str]:
    """Records the original's inputs and outputs in the file ``out``; returns the cases' names."""
    # Whatever is published: what can be run is what a graph would be made of.
    runnable = with_forms(spec, [Form.MINDIR], subject=str(spec.source))
    durable.make_folder(out.absolute().parent)
    progress("capture")
    return capturing.capture(runnable, out)


def validate(
    artifact: Path, against: MigrationSpec | Path, out: Path | None, progress: Progress
) -> Verdict:
    """Judges the file ``artifact`` against a golden file or the original of a specification."""
    if out is not None:
        prepare_folder(out)
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
        judged = _validate(artifact, against, Path(scratch), out, progress)
    if out is not None:
        steps.write_pages(out, judged)
    return judged


def _validate(
    path: Path,
    against: MigrationSpec | Path,
    scratch: Path,
    out: Path | None,
    progress: Progress,
) -> Verdict:
    from ascend_migrate.validators.judge import judge

    artifact = artifact_at(path)
    if isinstance(against, Path):
        judged = judge(
            [artifact],
            against,
            source_digest="",
            source_weights=None,
            context={"name": path.name},
            progress=progress,
        )
        return localising.localised(judged, [artifact], None, against, out)
    asked = with_forms(against, [artifact.form], subject=str(against.source))
    source = open_source(asked)
    golden = None
    if artifact.form is not Form.SAFETENSORS:
        golden = scratch / GOLDEN
        progress("capture")
        capturing.capture(asked, golden)
    judged = judge(
        [artifact],
        golden,
        source_digest=source.digest,
        source_weights=source.weights,
        source_tensor=source.tensor,
        limits=against.limits,
        waive_kernels=against.waive_kernels,
        stored_as=against.store_as,
        context=steps.context_of(against, source, [artifact]),
        progress=progress,
    )
    return localising.localised(judged, [artifact], asked, golden, out)


def publish(report: Path, artifacts: Sequence[Path], name: str, registry: Path) -> Publication:
    """Publishes files that a report proves; the gate compares every digest."""
    verdict = read_report(report)
    evidence: Mapping[str, Path] = {REPORT: report}
    page = report.with_name(PAGE)
    if page.is_file():
        evidence = {**evidence, PAGE: page}
    found = [artifact_at(path) for path in artifacts]
    return OciRegistry(registry).publish(name, found, verdict, evidence)


def form_of(path: Path) -> Form:
    """Returns the form that the file's suffix names.

    Raises:
        SpecError: the suffix is that of no form.
    """
    if path.name.endswith(".cann.onnx"):
        return Form.ONNX_CANN
    if is_index(path):
        return Form.MINDIR
    if path.name.endswith(".safetensors.index.json"):
        return Form.SAFETENSORS
    if path.suffix not in _SUFFIXES:
        raise SpecError(str(path), [f"is none of {', '.join(_SUFFIXES)}; name the model file"])
    return _SUFFIXES[path.suffix]


def artifact_at(path: Path) -> Artifact:
    """Describes an artifact that lies in a folder, with every file that its form needs."""
    form = form_of(path)
    names = [path.name]
    if form is Form.SAFETENSORS:
        from ascend_migrate.pipeline.checkpoint.hugging_face import shard_names

        names += shard_names(path)
    if form in ONNX_FORMS:
        from ascend_migrate.pipeline.onnx_signature import external_files

        names += external_files(path)
    if form is Form.MINDIR:
        from ascend_migrate.pipeline.mindir_buckets import files_beside

        names += files_beside(path)
    return Artifact.of(form, path.parent, names, parent="")
