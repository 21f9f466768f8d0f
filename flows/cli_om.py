"""The commands around Huawei's own compiler: om makes or bundles, import-om takes back."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann.om_request import HOST_CPUS, PRECISION_MODES, OmRequest
from ascend_migrate.pipeline.errors import ExitCode, SpecError

if TYPE_CHECKING:
    from ascend_migrate.pipeline.inputs import InputSpec

UNJUDGED = (
    "Not judged, and not verified on device: an .om file runs on its chip alone. Ask it there what "
    "a golden file asks."
)


@click.command()
@click.argument("model", metavar="MODEL.onnx", type=shared.existing)
@shared.chip
@shared.cann
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=DTYPE[DIMS]",
    help="Sizes of an input; by default as the graph declares them.",
)
@click.option(
    "--precision-mode",
    type=click.Choice(PRECISION_MODES),
    default=PRECISION_MODES[0],
    show_default=True,
    help="What ATC may lower; its own default would be fp16.",
)
@click.option("--keep-dtype", type=shared.existing, help="Operators that keep their type.")
@click.option("--mixlist", type=shared.existing, help="Changes to the lists of a mixed mode.")
@click.option("--aipp", type=shared.existing, help="Configuration of the preprocessing unit.")
@click.option("--output-type", default="", help="Type that outputs are cast to, such as FP32.")
@click.option("--host-cpu", type=click.Choice(HOST_CPUS), help="Of the later host.")
@click.option("--bundle", is_flag=True, help="Make a folder for a machine with CANN instead.")
@click.option("--golden", type=shared.existing, help="With --bundle: what `capture` wrote.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
@shared.as_json
def om(
    model: Path,
    *,
    soc: str,
    cann: str,
    inputs: tuple[str, ...],
    bundle: bool,
    golden: Path | None,
    out: Path,
    json_: bool,
    **options: Any,
) -> int:
    """Compile an ONNX file with ATC, or bundle it.

    A bundle is a folder to carry to a machine that has CANN; import-om takes it back.
    """
    from ascend_migrate.pipeline.cann.generations import load_generation

    request = OmRequest(soc, cann, **options)
    faults = request.faults(load_generation(cann).family(soc))
    if golden is not None and not bundle:
        faults.append("--golden goes with --bundle")
    if faults:
        raise SpecError("om", faults)
    fed = _inputs(model, inputs)
    with durable.no_empty_folder(out):
        make = _bundled if bundle else _compiled
        document, text = make(model, out, fed, request, golden)
    shared.print_result(document, text, json_=json_)
    return ExitCode.OK


@click.command("import-om")
@click.argument("folder", type=shared.existing)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
@shared.as_json
def import_om(folder: Path, out: Path, json_: bool) -> int:
    """Take back a bundle that was compiled elsewhere.

    What is not what was sent is refused.
    """
    from ascend_migrate.converters.atc.bundle import read_bundle
    from ascend_migrate.converters.onnx_to_om import IDENTITY, OM, identity
    from ascend_migrate.flows.weights import prepare_folder

    found = read_bundle(folder)
    prepare_folder(out)
    with durable.no_empty_folder(out), durable.storing(out):
        shutil.copyfile(found.om, out / OM)
        durable.write_file(out / IDENTITY, identity(found.identity, found.graph))
    shared.print_result(
        {"om": str(out / OM), "identity": dict(found.identity), "graph": found.graph},
        f"{out / OM}: compiled for {found.identity['soc']}\n{UNJUDGED}",
        json_=json_,
    )
    return ExitCode.OK


def _inputs(model: Path, texts: Sequence[str]) -> "Sequence[InputSpec]":
    from ascend_migrate.pipeline.inputs import parse_inputs
    from ascend_migrate.pipeline.onnx_checks import check_source
    from ascend_migrate.pipeline.onnx_signature import inputs_of_onnx, load_graph

    check_source(model, load_graph(model))
    found, faults = parse_inputs(texts)
    if faults:
        raise SpecError("--input", faults)
    return found or inputs_of_onnx(model)


def _bundled(
    model: Path,
    out: Path,
    inputs: "Sequence[InputSpec]",
    request: OmRequest,
    golden: Path | None,
) -> tuple[dict[str, Any], str]:
    from ascend_migrate.converters.atc.bundle import SCRIPT, write_bundle
    from ascend_migrate.flows.weights import prepare_folder

    prepare_folder(out)
    names = write_bundle(model, out, inputs, request, golden=golden)
    text = f"{out}: {', '.join(names)}\nCarry it to a machine with CANN, and run {SCRIPT} there."
    return {"bundle": str(out), "files": names}, text


def _compiled(
    model: Path,
    out: Path,
    inputs: "Sequence[InputSpec]",
    request: OmRequest,
    _golden: Path | None,
) -> tuple[dict[str, Any], str]:
    from ascend_migrate.converters import onnx_to_om
    from ascend_migrate.flows.weights import prepare_folder
    from ascend_migrate.pipeline.cann.toolkit import find_toolkit

    toolkit = find_toolkit()
    prepare_folder(out)
    with shared.progress() as show:
        show(f"compile for {request.soc}")
        made = onnx_to_om.convert(model, out, inputs, request, toolkit)
    return {"om": str(made), "judged": False}, f"{made}\n{UNJUDGED}"


COMMANDS = (om, import_om)
