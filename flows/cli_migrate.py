"""The commands that make and judge artifacts: migrate, convert, capture, validate."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import ASKED_FOR, GRAPH_FORMS, Form
from ascend_migrate.validators.runners import RUNTIMES


@click.command()
@click.argument("path", metavar="SPEC.toml | PATH", type=shared.existing)
@shared.request
@click.option(
    "--to",
    metavar="FORM[,FORM]",
    help=f"Forms to publish: {', '.join(Form)}; by default all but {', '.join(sorted(ASKED_FOR))}.",
)
@click.option("--name", help="Name in the registry; made from the file's name by default.")
@click.option(
    "--registry",
    type=click.Path(path_type=Path),
    envvar=shared.REGISTRY_VARIABLE,
    show_envvar=True,
    help="Folder of the registry, in place of the specification's; else `registry`.",
)
@shared.as_json
def migrate(path: Path, to: str | None, json_: bool, **options: Any) -> int:
    """Export, convert, validate and publish: the main job.

    Takes a specification, or a checkpoint with the code of its model. Nothing is published unless
    every form is proved equivalent to the original.
    """
    from ascend_migrate.flows import report_text, steps

    spec = shared.spec_from(path, to, options)
    with shared.progress() as show:
        done = steps.migrate(steps.open_workspace(spec, show))
    document = report_text.migration_document(done)
    shared.print_result(document, report_text.migration(done), json_=json_)
    return report_text.exit_code(done.verdict)


@click.command()
@click.argument("path", metavar="SPEC.toml | PATH", type=shared.existing)
@click.option("--to", required=True, type=click.Choice([*map(str, Form)]), help="Form to make.")
@shared.request
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
@click.option("--no-digest", is_flag=True, help="Do not hash safetensors files; that is quicker.")
@shared.as_json
def convert(path: Path, to: str, out: Path, no_digest: bool, json_: bool, **options: Any) -> int:
    """Make one form, without judging it."""
    spec = shared.spec_from(path, None if shared.is_spec(path) else to, options)
    if Form(to) not in GRAPH_FORMS:
        from ascend_migrate.flows import weights

        with durable.no_empty_folder(out), shared.transfer() as told:
            artifact = weights.convert(spec, out, form=Form(to), hashed=not no_digest, told=told)
    else:
        from ascend_migrate.flows import steps_single

        with durable.no_empty_folder(out), shared.progress() as show:
            artifact = steps_single.convert(spec, Form(to), out, show)
    document: dict[str, Any] = {
        "form": to,
        "folder": str(out),
        "files": [f.to_json() for f in artifact.files],
        "notes": list(artifact.notes),
        "judged": False,
    }
    lines = [
        f"{out / f.path}  {f.size:,} bytes  {f.digest or 'not hashed'}" for f in artifact.files
    ]
    lines += [f"note: {note}" for note in artifact.notes]
    if Form(to) is Form.TORCH_NPU:
        from ascend_migrate.flows import torch_npu

        document |= torch_npu.found_in([artifact])
        lines += torch_npu.lines(document[torch_npu.KEY])
    lines.append(
        "Not judged: nothing says yet that this computes what the original does; "
        f"see `ascend-migrate validate {out / artifact.entry}`."
    )
    shared.print_result(document, "\n".join(lines), json_=json_)
    return ExitCode.OK


@click.command()
@click.argument("spec", metavar="SPEC.toml", type=shared.specification)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="GOLDEN.safetensors",
    help="File to write.",
)
@shared.as_json
def capture(spec: Path, out: Path, json_: bool) -> int:
    """Record the original's answers, to judge against elsewhere."""
    from ascend_migrate.flows import steps_single

    request = shared.spec_from(spec, None, {})
    with shared.progress() as show:
        cases = steps_single.capture(request, out, show)
    text = f"{out}: {len(cases)} cases\n" + "\n".join(f"  {case}" for case in cases)
    shared.print_result({"golden": str(out), "cases": cases}, text, json_=json_)
    return ExitCode.OK


@click.command()
@click.argument("artifact", type=shared.existing)
@shared.judged_against
@click.option(
    "--runtime",
    type=click.Choice([*RUNTIMES]),
    help="What runs it, as onnxruntime-cann on an Ascend host; by default what needs no device.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the report.")
@shared.as_json
def validate(
    artifact: Path, against: Path, runtime: str | None, out: Path | None, json_: bool
) -> int:
    """Judge an artifact against the original; nothing is published."""
    from ascend_migrate.flows import report_text, steps_single

    spec = shared.against(against)
    kept = durable.no_empty_folder(out) if out is not None else nullcontext()
    with kept, shared.progress() as show:
        verdict = steps_single.validate(artifact, spec, out, show, runtime or "")
    document = verdict.to_json()
    text = report_text.verdict(verdict)
    if out is not None:
        document["report"] = str(out / "report.json")
        text += f"\nreport: {out / 'report.html'}"
    shared.print_result(document, text, json_=json_)
    return report_text.exit_code(verdict)


COMMANDS = (migrate, convert, capture, validate)
