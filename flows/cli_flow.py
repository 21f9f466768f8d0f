"""The commands of the Prefect side: flow run and flow serve."""

from pathlib import Path

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode


@click.group()
def flow() -> None:
    """Run migrations under Prefect: once, or on a schedule."""


@flow.command()
@click.argument("spec", metavar="SPEC.toml", type=shared.existing)
@shared.as_json
def run(spec: Path, json_: bool) -> int:
    """Run one migration as a Prefect flow, now."""
    from ascend_migrate.flows import report_text
    from ascend_migrate.flows.prefect_settings import prepare

    prepare()
    from ascend_migrate.flows.migrate import migrate

    done = migrate(str(spec.resolve()))
    shared.print_result(
        report_text.migration_document(done), report_text.migration(done), json_=json_
    )
    return ExitCode.OK if done.publication else report_text.exit_code(done.verdict)


@flow.command()
@click.argument("specs", metavar="SPEC.toml...", nargs=-1, required=True, type=shared.existing)
@click.option("--cron", required=True, help="When, such as '0 3 * * *'; UTC.")
def serve(specs: tuple[Path, ...], cron: str) -> int:
    """Run migrations on a schedule until stopped; needs PREFECT_API_URL or starts a server."""
    from ascend_migrate.flows.prefect_settings import prepare

    prepare()
    from ascend_migrate.flows.serve import serve_specs

    serve_specs([spec.resolve() for spec in specs], cron)
    return ExitCode.OK


COMMANDS = (flow,)
