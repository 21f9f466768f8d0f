"""The commands that make and judge artifacts: migrate, convert, capture, validate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import Form


@click.command()
@click.argument("path", metavar="SPEC.toml | PATH", type=shared.existing)
@shared.request
@click.option("--to", metavar="FORM[,FORM]", help=f"Forms to publish: {', '.join(Form)}.")
@click.option("--name", help="Name in the registry; made from the file's name by default.")
@click.option(
    "--registry",
    type=click.Path(path_type=Path),
    envvar=shared.REGISTRY_VARIABLE,
    help="Folder of the registry; in a specification: its own.",
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
    return ExitCode.OK if done.publication else report_text.exit_code(done.verdict)


@click.command()
@click.argument("path", type=shared.existing)
@click.option("--to", required=True, type=click.Choice([*map(str, Form)]), help="Form to make.")
@shared.request
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
@shared.as_json
def convert(path: Path, to: str, out: Path, json_: bool, **options: Any) -> int:
    """Make one form, without judging it."""
    from ascend_migrate.flows import steps_single

    spec = shared.spec_from(path, None if path.suffix == ".toml" else to, options)
    with shared.progress() as show:
        artifact = steps_single.convert(spec, Form(to), out, show)
    document = {
        "form": to,
        "folder": str(out),
        "files": [f.to_json() for f in artifact.files],
        "notes": list(artifact.notes),
        "judged": False,
    }
    lines = [f"{out / f.path}  {f.size:,} bytes  {f.digest}" for f in artifact.files]
    lines += [f"note: {note}" for note in artifact.notes]
    lines.append("Not judged: nothing says yet that this computes what the original does.")
    shared.print_result(document, "\n".join(lines), json_=json_)
    return ExitCode.OK


@click.command()
@click.argument("path", metavar="SPEC.toml", type=shared.existing)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="GOLDEN.safetensors to write.",
)
@shared.as_json
def capture(path: Path, out: Path, json_: bool) -> int:
    """Record inputs and original outputs, to be judged against elsewhere."""
    from ascend_migrate.flows import steps_single

    spec = shared.spec_from(path, None, {})
    with shared.progress() as show:
        cases = steps_single.capture(spec, out, show)
    text = f"{out}: {len(cases)} cases\n" + "\n".join(f"  {case}" for case in cases)
    shared.print_result({"golden": str(out), "cases": cases}, text, json_=json_)
    return ExitCode.OK


@click.command()
@click.argument("artifact", type=shared.existing)
@click.option(
    "--against",
    required=True,
    type=shared.existing,
    help="GOLDEN.safetensors of `capture`, or the SPEC.toml of the original.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the report.")
@shared.as_json
def validate(artifact: Path, against: Path, out: Path | None, json_: bool) -> int:
    """Judge an artifact against the original, and write the report; nothing is published."""
    from ascend_migrate.flows import report_text, steps_single

    spec = shared.spec_from(against, None, {}) if against.suffix == ".toml" else None
    if spec is not None:
        spec = replace(spec, to=(steps_single.form_of(artifact),))
    with shared.progress() as show:
        verdict = steps_single.validate(artifact, spec or against, out, show)
    text = report_text.verdict(verdict)
    if out is not None:
        text += f"\nreport: {out / 'report.html'}"
    shared.print_result(verdict.to_json(), text, json_=json_)
    return report_text.exit_code(verdict)


COMMANDS = (migrate, convert, capture, validate)
