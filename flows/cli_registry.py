"""The commands of the model registry: gate, publish, promote, rollback, list, show, and so on."""

from pathlib import Path

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import Form

REF = "REF is NAME (its newest version), NAME:VERSION, NAME:ALIAS or NAME@sha256:..."


@click.command(epilog=REF)
@click.argument("ref")
@shared.registry
@shared.as_json
def gate(ref: str, registry: Path, json_: bool) -> int:
    """Exit with 0 only if REF is proved.

    The evidence must be present, every digest equal, and the verdict passing.
    """
    from ascend_migrate.pipeline.registry import OciRegistry

    found = OciRegistry(registry).gate(ref)
    text = f"admitted: {found.name}:{found.version} {found.digest}"
    shared.print_result({"admitted": True, **found.to_json()}, text, json_=json_)
    return ExitCode.OK


@click.command()
@click.argument("report", type=shared.existing)
@click.argument("artifacts", nargs=-1, required=True, type=shared.existing)
@click.option("--name", required=True, help="Name in the registry.")
@shared.registry
@shared.as_json
def publish(
    report: Path, artifacts: tuple[Path, ...], name: str, registry: Path, json_: bool
) -> int:
    """Publish ARTIFACTS that a REPORT of `validate` proves.

    REPORT is its report.json; the gate compares every digest in it with the files given.
    """
    from ascend_migrate.flows import steps_single

    done = steps_single.publish(report, artifacts, name, registry)
    text = f"published: {done.name}:{done.version} {done.digest}"
    shared.print_result(done.to_json(), text, json_=json_)
    return ExitCode.OK


@click.command(epilog=REF)
@click.argument("ref")
@click.argument("alias")
@shared.registry
@shared.as_json
def promote(ref: str, alias: str, registry: Path, json_: bool) -> int:
    """Let an ALIAS such as `production` name REF, if proved."""
    from ascend_migrate.pipeline.registry import OciRegistry

    done = OciRegistry(registry).promote(ref, alias)
    text = f"{done.name}:{alias} is now {done.version} {done.digest}"
    shared.print_result(done.to_json(), text, json_=json_)
    return ExitCode.OK


@click.command()
@click.argument("alias", metavar="[NAME:]ALIAS")
@shared.registry
@shared.as_json
def rollback(alias: str, registry: Path, json_: bool) -> int:
    """Let an ALIAS name again what it named before."""
    from ascend_migrate.pipeline.registry import OciRegistry

    done = OciRegistry(registry).rollback(alias)
    text = f"{done.name}:{alias.rpartition(':')[2]} is again {done.version} {done.digest}"
    shared.print_result(done.to_json(), text, json_=json_)
    return ExitCode.OK


@click.command("list")
@shared.registry
@shared.as_json
def list_(registry: Path, json_: bool) -> int:
    """List every version and the aliases that name it."""
    from ascend_migrate.pipeline.registry import OciRegistry

    listed = OciRegistry(registry).list()
    rows = [["version", "aliases", "published", "digest"]]
    rows += [[f"{e.name}:{e.version}", ", ".join(e.aliases), e.published, e.digest] for e in listed]
    text = shared.table(rows) if listed else f"{registry}: nothing is published yet"
    shared.print_result([e.to_json() for e in listed], text, json_=json_)
    return ExitCode.OK


@click.command(epilog=REF)
@click.argument("ref")
@shared.registry
@shared.as_json
def show(ref: str, registry: Path, json_: bool) -> int:
    """Show the files, the source and the verdict of REF."""
    from ascend_migrate.flows import report_text
    from ascend_migrate.pipeline.registry import OciRegistry

    found = OciRegistry(registry).show(ref)
    shared.print_result(found, report_text.entry(found), json_=json_)
    return ExitCode.OK


@click.command(epilog=REF)
@click.argument("ref", required=False)
@shared.registry
@shared.as_json
def verify(ref: str | None, registry: Path, json_: bool) -> int:
    """Compare every byte of REF, or of all, with its digest."""
    from ascend_migrate.pipeline.registry import OciRegistry

    problems = OciRegistry(registry).verify(ref)
    text = "\n".join(problems) or f"{ref or registry}: every digest is right"
    shared.print_result({"problems": problems}, text, json_=json_)
    return ExitCode.REFUSED if problems else ExitCode.OK


@click.command()
@shared.registry
@shared.as_json
def gc(registry: Path, json_: bool) -> int:
    """Remove what no version, alias or report needs."""
    from ascend_migrate.pipeline.registry import OciRegistry

    removed = OciRegistry(registry).gc()
    text = f"removed {removed.files} files, {removed.size:,} bytes"
    shared.print_result({"files": removed.files, "bytes": removed.size}, text, json_=json_)
    return ExitCode.OK


@click.command(epilog=REF)
@click.argument("ref")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--form", type=click.Choice([*map(str, Form)]), help="Only this form; all by default."
)
@shared.registry
@shared.as_json
def pull(ref: str, out: Path, form: str | None, registry: Path, json_: bool) -> int:
    """Write the files of REF into a folder, checking digests."""
    from ascend_migrate.pipeline.registry import OciRegistry

    folder = OciRegistry(registry).pull(ref, out, Form(form) if form else None)
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    text = "\n".join(str(folder / name) for name in files)
    shared.print_result({"folder": str(folder), "files": files}, text, json_=json_)
    return ExitCode.OK


COMMANDS = (publish, gate, promote, rollback, list_, show, pull, verify, gc)
