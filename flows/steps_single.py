"""One step on its own: convert without judging, capture, validate, publish by report."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ascend_migrate.flows import capturing, localising, steps
from ascend_migrate.flows.context import context_of
from ascend_migrate.flows.sources import open_source
from ascend_migrate.flows.steps import GOLDEN, PAGE, REPORT, Progress
from ascend_migrate.flows.weights import prepare_folder
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann.om_file import ANSWERS, om_artifact, read_om
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.errors import EvidenceError, SpecError
from ascend_migrate.pipeline.evidence import read_report
from ascend_migrate.pipeline.mindir_buckets import is_index
from ascend_migrate.pipeline.records import GRAPH_FORMS, ONNX_FORMS, Artifact, Form, Verdict
from ascend_migrate.pipeline.registry import OciRegistry, Publication
from ascend_migrate.pipeline.spec import MigrationSpec, with_forms
from ascend_migrate.pipeline.torch_npu.manifest import MANIFEST, weights_of
from ascend_migrate.validators.runners import check_runtime

_SUFFIXES = {
    ".safetensors": Form.SAFETENSORS,
    ".onnx": Form.ONNX,
    ".mindir": Form.MINDIR,
    ".om": Form.OM,
}


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
        for name in (*(file.path for file in artifact.files), *_kept_beside(artifact)):
            target = out / name
            with durable.storing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artifact.root / name, target)
    return replace(artifact, root=out, notes=(*source.notes, *artifact.notes))


def _kept_beside(artifact: Artifact) -> list[str]:
    """Returns files that are no part of a form, but without which it cannot be judged."""
    return [*read_om(artifact.path).made_from] if artifact.form is Form.OM else []


def capture(spec: MigrationSpec, out: Path, progress: Progress) -> list[str]:
    """Records the original's inputs and outputs in the file ``out``; returns the cases' names."""
    # Whatever is published: what can be run is what a graph would be made of.
    runnable = with_forms(spec, [Form.MINDIR], subject=str(spec.source))
    durable.make_folder(out.absolute().parent)
    progress("capture")
    # The file may go where the original is not: it has to tell alone where an artifact goes wrong.
    return capturing.capture(runnable, out, intermediates=True)


def validate(
    artifact: Path,
    against: MigrationSpec | Path,
    out: Path | None,
    progress: Progress,
    runtime: str = "",
) -> Verdict:
    """Judges the file ``artifact`` against a golden file or the original of a specification.

    Where a runtime is named, one of `runners.RUNTIMES`, that one answers, and no more is asked:
    what a search for a difference finds, it finds on the CPU.
    """
    if out is not None:
        prepare_folder(out)
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
        judged = _validate(artifact, against, Path(scratch), out, progress, runtime)
    if out is not None:
        steps.write_pages(out, judged)
    return judged


def _validate(
    path: Path,
    against: MigrationSpec | Path,
    scratch: Path,
    out: Path | None,
    progress: Progress,
    runtime: str,
) -> Verdict:
    from ascend_migrate.validators.judge import judge

    artifact = artifact_at(path)
    if runtime:
        check_runtime(artifact, runtime)
    if isinstance(against, Path):
        judged = judge(
            [artifact],
            against,
            source_digest="",
            source_weights=None,
            runtime=runtime,
            context={"name": path.name},
            progress=progress,
        )
        return judged if runtime else localising.localised(judged, [artifact], None, against, out)
    # A compiled file says itself what was asked of the compiler; what it is judged by is a graph's.
    # Weights that are run are asked what a graph of them would be.
    like_a_graph = {Form.OM, Form.TORCH_NPU} if runtime else {Form.OM}
    form = Form.MINDIR if artifact.form in like_a_graph else artifact.form
    asked = with_forms(against, [form], subject=str(against.source))
    source = open_source(asked)
    golden = None
    if artifact.form in GRAPH_FORMS or runtime:
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
        runtime=runtime,
        spec=against,
        context=context_of(against, source, [artifact]),
        progress=progress,
    )
    return judged if runtime else localising.localised(judged, [artifact], asked, golden, out)


def publish(report: Path, artifacts: Sequence[Path], name: str, registry: Path) -> Publication:
    """Publishes files that a report proves; the gate compares every digest."""
    verdict = read_report(report)
    evidence: Mapping[str, Path] = {REPORT: report}
    page = report.with_name(PAGE)
    if page.is_file():
        evidence = {**evidence, PAGE: page}
    found = [artifact_at(path) for path in artifacts]
    for artifact in found:
        evidence = {**evidence, **_answers(artifact, verdict)}
    return OciRegistry(registry).publish(name, found, verdict, evidence)


def _answers(artifact: Artifact, verdict: Verdict) -> Mapping[str, Path]:
    """Returns the answers of a device that a verdict rests on, to be kept beside its report.

    Raises:
        EvidenceError: those beside the artifact are not the ones that were judged.
    """
    ran = verdict.context.get("runtimes", {}).get(str(artifact.form), {})
    if "answers" not in ran:
        return {}
    path = artifact.root / ANSWERS
    if not path.is_file() or file_digest(path) != ran["answers"]:
        raise EvidenceError(f"{path}: not the answers that were judged; validate it again")
    return {ANSWERS: path}


def form_of(path: Path) -> Form:
    """Returns the form that the file's suffix names.

    Raises:
        SpecError: the suffix is that of no form.
    """
    if path.name.endswith(".cann.onnx"):
        return Form.ONNX_CANN
    if path.name == MANIFEST:
        return Form.TORCH_NPU
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
    if form is Form.OM:
        return om_artifact(path)
    names = [path.name]
    if form not in GRAPH_FORMS:
        from ascend_migrate.pipeline.checkpoint.hugging_face import shard_names

        weights = weights_of(path) if form is Form.TORCH_NPU else path
        names += [weights.name, *shard_names(weights)]
    if form in ONNX_FORMS:
        from ascend_migrate.pipeline.onnx_signature import external_files

        names += external_files(path)
    if form is Form.MINDIR:
        from ascend_migrate.pipeline.mindir_buckets import files_beside

        names += files_beside(path)
    return Artifact.of(form, path.parent, names, parent="")
