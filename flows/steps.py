"""The steps of a migration as plain functions: the whole of it is readable in `migrate`.

spec -> capture -> export -> convert -> judge (-> reach -> capture -> judge) -> publish

The original runs first: where its code, its weights and its inputs do not fit together, it says so
in its own words, and no exporter has to guess.

Neither Prefect nor the terminal is known here; both are thin runners on top of these functions.
Each step is kept in the stage store under the digests of what it was made from, so a second run
takes it from there, and a run that was killed goes on after the last finished step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ascend_migrate.flows import capturing, compiling, localising, torch_npu
from ascend_migrate.flows.context import context_of, versions
from ascend_migrate.flows.sources import Source, open_source
from ascend_migrate.pipeline.evidence import read_report, write_report
from ascend_migrate.pipeline.records import (
    GRAPH_FORMS,
    ONNX_FORMS,
    Artifact,
    FileEntry,
    Form,
    Outcome,
    Verdict,
)
from ascend_migrate.pipeline.registry import OciRegistry, Publication
from ascend_migrate.pipeline.spec import MigrationSpec
from ascend_migrate.pipeline.store import StageResult, StageStore

Progress = Callable[[str], None]
"""Told one line when a step begins or was reused."""

GOLDEN = "golden.safetensors"
REPORT = "report.json"
PAGE = "report.html"

PUBLISHED = frozenset({Outcome.PASS, Outcome.WAIVED})
"""Outcomes of what is published."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a migration works: its request, its stages and its registry."""

    spec: MigrationSpec
    store: StageStore
    registry: OciRegistry
    progress: Progress


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration came to.

    Attributes:
        verdict: the judgement of everything that was made.
        report: folder with report.json, report.html and the golden file.
        publication: the registry entry, or None where the verdict did not pass.
        reused: names of the steps that were taken from the stage store.
    """

    verdict: Verdict
    report: Path
    publication: Publication | None
    reused: tuple[str, ...] = field(default=())


def open_workspace(spec: MigrationSpec, progress: Progress) -> Workspace:
    """Opens the registry that the specification names; the stages are kept inside it.

    Raises:
        ToolchainError: a form needs a compiler that is not here.
    """
    if Form.OM in spec.to:
        compiling.prepared(spec)
    registry = OciRegistry(spec.registry)
    return Workspace(spec, StageStore(spec.registry / "stages"), registry, progress)


def migrate(work: Workspace) -> Migration:
    """Exports, converts, judges and, if and only if the verdict passes, publishes."""
    source = open_source(work.spec)
    golden = capture(work, source)
    exported = export(work, source)
    converted = convert(work, exported)
    artifacts = [*artifacts_of(exported), *artifacts_of(converted)]
    judged = judge(work, source, artifacts, golden)
    wider = reach(work, source, artifacts, golden, judged)
    if wider is not None:
        golden = capture(wider, source)
        judged = judge(wider, source, artifacts, golden)
    publication = publish(work, artifacts, judged)
    return conclude(golden, exported, converted, judged, publication)


def conclude(
    golden: StageResult | None,
    exported: StageResult,
    converted: StageResult | None,
    judged: StageResult,
    publication: Publication | None,
) -> Migration:
    """Gathers what the steps came to."""
    steps = {"capture": golden, "export": exported, "convert": converted, "judge": judged}
    reused = tuple(name for name, step in steps.items() if step is not None and step.reused)
    return Migration(read_report(judged.path / REPORT), judged.path, publication, reused)


def capture(work: Workspace, source: Source) -> StageResult | None:
    """Runs the original and records its inputs and outputs; None when no graph is published."""
    spec = work.spec
    if not GRAPH_FORMS.intersection(spec.to):
        return None
    params = {
        **source.params,
        "inputs": [str(item) for item in source.inputs],
        "samples": [FileEntry.of(path.parent, path.name).to_json() for path in spec.samples],
        "cases": spec.cases,
        "seed": spec.seed,
        "device": spec.device,
        "precision": spec.precision.to_json() if spec.precision else None,
        "libraries": versions("torch", "onnxruntime", "numpy"),
    }

    def write(into: Path) -> dict[str, Any]:
        return {"cases": capturing.capture(spec, into / GOLDEN)}

    return _run(work, "capture", {"source": source.digest}, params, write)


def export(work: Workspace, source: Source) -> StageResult:
    """Writes the weights, and the ONNX graph that points into them, into one folder."""
    spec = work.spec
    graph = bool(GRAPH_FORMS.intersection(spec.to))
    params = {**source.params, "graph": graph}
    described = Form.TORCH_NPU in spec.to
    code = torch_npu.code_of(spec) if described else None
    if described:
        params[torch_npu.KEY] = code
    if graph:
        params |= {
            "inputs": [str(item) for item in spec.inputs],
            "opset": spec.opset,
            "precision": spec.precision.to_json() if spec.precision else None,
            # Only a graph that is published has to run; one on the way to MindIR may hold bfloat16.
            "runnable": bool(ONNX_FORMS.intersection(spec.to)),
            "libraries": versions("torch", "onnx", "onnxscript"),
        }

    def write(into: Path) -> dict[str, Any]:
        made = source.export(into, graph=graph)
        if described:
            made.append(torch_npu.describe(made, code))
        return _record(made)

    return _run(work, "export", {"source": source.digest}, params, write)


def convert(work: Workspace, exported: StageResult) -> StageResult | None:
    """Writes the forms that are made from the exported graph; None when none was asked for."""
    forms = [form for form in (Form.ONNX_CANN, Form.MINDIR, Form.OM) if form in work.spec.to]
    if not forms:
        return None
    graph = next(a for a in artifacts_of(exported) if a.form is Form.ONNX)

    def write(into: Path) -> dict[str, Any]:
        from ascend_migrate.converters import onnx_to_mindir, onnx_to_onnx_cann

        made = []
        if {Form.ONNX_CANN, Form.OM}.intersection(forms):
            made.append(onnx_to_onnx_cann.convert(graph.path, into, parent=graph.digest))
        if Form.OM in forms:
            made.append(compiling.compile_graph(made[0], into, work.spec))
        if Form.MINDIR in forms:
            made.append(
                onnx_to_mindir.convert(
                    graph.path, into, inputs=work.spec.inputs, parent=graph.digest
                )
            )
        return _record([artifact for artifact in made if artifact.form in forms])

    params: dict[str, Any] = {
        "to": [str(form) for form in forms],
        "inputs": [str(item) for item in work.spec.inputs],
    }
    if Form.OM in forms:
        params["om"] = compiling.identity(work.spec)
    return _run(work, "convert", {"onnx": graph.digest}, params, write)


def judge(
    work: Workspace,
    source: Source,
    artifacts: Sequence[Artifact],
    golden: StageResult | None,
) -> StageResult:
    """Judges the published forms against the original's outputs and weights; writes the report."""
    published = [a for a in artifacts if a.form in work.spec.to]
    inputs = {"source": source.digest} | {str(a.form): a.digest for a in published}
    if golden is not None:
        inputs["golden"] = FileEntry.of(golden.path, GOLDEN).digest
    params = {
        "name": work.spec.name,
        "waive_kernels": [str(form) for form in work.spec.waive_kernels],
        "libraries": versions("onnxruntime", "mindspore", "numpy"),
    }

    def write(into: Path) -> dict[str, Any]:
        from ascend_migrate.validators.judge import judge as judge_artifacts

        verdict = judge_artifacts(
            published,
            golden.path / GOLDEN if golden is not None else None,
            source_digest=source.digest,
            source_weights=source.weights,
            source_tensor=source.tensor,
            limits=work.spec.limits,
            waive_kernels=work.spec.waive_kernels,
            stored_as=work.spec.store_as,
            context=context_of(work.spec, source, published),
            progress=work.progress,
        )
        recorded = golden.path / GOLDEN if golden is not None else None
        verdict = localising.localised(verdict, published, work.spec, recorded, into)
        write_pages(into, verdict)
        return {"outcome": str(verdict.outcome)}

    judged = _run(work, "judge", inputs, params, write)
    again = 1
    # What could not be asked is asked again each time: a crash or a full memory may have gone.
    while judged.reused and judged.record["outcome"] == Outcome.NOT_RUN:
        judged = _run(work, "judge", inputs, {**params, "again": again}, write)
        again += 1
    return judged


def reach(
    work: Workspace,
    source: Source,
    artifacts: Sequence[Artifact],
    golden: StageResult | None,
    judged: StageResult,
) -> Workspace | None:
    """Looks for inputs that reach weights which no case exercised.

    Returns:
        The work with these inputs as further samples, to be captured and judged once more; None
        where no weight is dark, or none was reached. None as well where the verdict refuses: limits
        come from all cases, and more of them must not make of it one that passes.
    """
    graph = next((a for a in artifacts if a.form is Form.ONNX and a.form in work.spec.to), None)
    verdict = read_report(judged.path / REPORT)
    power = verdict.context.get("power", {}).get(Form.ONNX)
    if graph is None or golden is None or power is None or not power["not_exercised"]:
        return None
    if verdict.outcome not in PUBLISHED:
        return None
    recorded, dark, inputs = golden.path / GOLDEN, power["not_exercised"], source.inputs

    def write(into: Path) -> dict[str, Any]:
        from safetensors.numpy import save_file

        from ascend_migrate.validators.golden import read_golden
        from ascend_migrate.validators.power import reach as power_reach

        truth = read_golden(recorded)
        found = power_reach.reach(graph, truth, dark, inputs, work.spec.limits)
        names = [f"reaching-{index}.safetensors" for index in range(len(found))]
        for name, item in zip(names, found, strict=True):
            save_file(item.case.feeds, into / name)
        return {"samples": names}

    made_of = {"onnx": graph.digest, "golden": FileEntry.of(golden.path, GOLDEN).digest}
    params = {"not_exercised": dark, "inputs": [str(item) for item in inputs]}
    found = _run(work, "reach", made_of, params, write)
    if not found.record["samples"]:
        return None
    samples = (*work.spec.samples, *(found.path / name for name in found.record["samples"]))
    return replace(work, spec=replace(work.spec, samples=samples))


def publish(
    work: Workspace, artifacts: Sequence[Artifact], judged: StageResult
) -> Publication | None:
    """Publishes the judged artifacts; returns None, publishing nothing, on any other verdict."""
    verdict = read_report(judged.path / REPORT)
    if verdict.outcome not in PUBLISHED:
        return None
    work.progress("publish")
    published = [a for a in artifacts if a.form in work.spec.to]
    evidence = {REPORT: judged.path / REPORT, PAGE: judged.path / PAGE}
    return work.registry.publish(work.spec.name, published, verdict, evidence)


def artifacts_of(stage: StageResult | None) -> tuple[Artifact, ...]:
    """Returns the artifacts that a finished stage holds."""
    if stage is None:
        return ()
    return tuple(
        Artifact(
            form=Form(item["form"]),
            root=stage.path,
            entry=str(item["entry"]),
            files=tuple(FileEntry.from_json(f) for f in item["files"]),
            parent=str(item["parent"]),
            notes=tuple(item["notes"]),
        )
        for item in stage.record["artifacts"]
    )


def write_pages(into: Path, verdict: Verdict) -> None:
    """Writes report.json, the source of truth, and report.html, which is made from it."""
    from ascend_migrate.flows.report_html import render

    write_report(into / REPORT, verdict)
    (into / PAGE).write_text(render(read_report(into / REPORT)), encoding="utf-8")


def _run(
    work: Workspace,
    stage: str,
    inputs: Mapping[str, str],
    params: Mapping[str, Any],
    write: Callable[[Path], Mapping[str, Any]],
) -> StageResult:
    work.progress(stage)
    result = work.store.run(stage, inputs=inputs, params=params, work=write)
    if result.reused:
        work.progress(f"{stage}: reused")
    return result


def _record(artifacts: Sequence[Artifact]) -> dict[str, Any]:
    return {
        "artifacts": [
            {
                "form": str(a.form),
                "entry": a.entry,
                "files": [f.to_json() for f in a.files],
                "parent": a.parent,
                "notes": list(a.notes),
            }
            for a in artifacts
        ]
    }
