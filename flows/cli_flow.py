"""The commands of the Prefect side: flow run and flow serve."""

from pathlib import Path

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode, SpecError


@click.group()
def flow() -> None:
    """Run migrations under Prefect: once, or on a schedule."""


@flow.command()
@click.argument("spec", metavar="SPEC.toml", type=shared.specification)
@shared.as_json
def run(spec: Path, json_: bool) -> int:
    """Run one migration as a Prefect flow, now."""
    from ascend_migrate.flows import report_text
    from ascend_migrate.flows.prefect_settings import prepare
    from ascend_migrate.pipeline.spec import read_spec

    read_spec(spec)  # its faults are told at once, not after a server has been started
    prepare()
    from ascend_migrate.flows.migrate import run_flow

    done = run_flow(spec.absolute())
    document = report_text.migration_document(done)
    shared.print_result(document, report_text.migration(done), json_=json_)
    return report_text.exit_code(done.verdict)


@flow.command()
@click.argument("specs", metavar="SPEC.toml...", nargs=-1, required=True, type=shared.specification)
@click.option("--cron", required=True, help="When, such as '0 3 * * *'; UTC.")
def serve(specs: tuple[Path, ...], cron: str) -> int:
    """Run migrations on a schedule, until stopped.

    Runs show on the server that PREFECT_API_URL names; without it, on one that this command runs
    for as long as it runs itself.
    """
    from ascend_migrate.flows.prefect_settings import prepare
    from ascend_migrate.pipeline.spec import read_spec

    named: dict[str, Path] = {}
    for path in specs:
        name = read_spec(path).name
        if name in named:
            raise SpecError(str(path), [f"name: {name!r} is that of {named[name]} too"])
        named[name] = path.absolute()
    prepare()
    from ascend_migrate.flows.serve import serve_specs

    serve_specs(named, cron)
    return ExitCode.OK
