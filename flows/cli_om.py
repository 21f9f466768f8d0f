"""The commands around Huawei's own compiler: om makes or bundles, import-om takes back."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann.om_file import ANSWERS, OM
from ascend_migrate.pipeline.cann.om_request import HOST_CPUS, PRECISION_MODES, OmRequest
from ascend_migrate.pipeline.errors import EvidenceError, ExitCode, SpecError

if TYPE_CHECKING:
    from ascend_migrate.converters.atc.bundle import Compiled
    from ascend_migrate.pipeline.inputs import InputSpec

UNJUDGED = "Not judged, and not verified on device: an .om file runs on its chip alone."

_HOW_TO_ASK = "Ask it there with run_om.py of a bundle (om --bundle --golden), or by `validate`."


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
@click.option(
    "--keep-from",
    type=shared.existing,
    metavar="FORECAST",
    help="What `forecast -o` wrote: its precision mode, and its list of what keeps its type.",
)
@click.option("--keep-dtype", type=shared.existing, help="Operators that keep their type.")
@click.option("--op-precision", type=shared.existing, help="Arithmetic of single operators.")
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
    from ascend_migrate.flows.compiling import checked

    request = checked(OmRequest(soc, cann, **options))
    if golden is not None and not bundle:
        raise SpecError("om", ["--golden goes with --bundle"])
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

    What a device answered is taken along; what is not what was sent is refused.
    """
    from ascend_migrate.converters.atc.bundle import read_bundle
    from ascend_migrate.converters.onnx_to_om import completed
    from ascend_migrate.flows.weights import prepare_folder

    found = read_bundle(folder)
    answered = _answered(found)
    with durable.no_empty_folder(out):
        prepare_folder(out)
        with durable.temporary_folder(out.absolute().parent) as new:
            with durable.storing(out):
                for name, path in {OM: found.om, **found.weights, **answered}.items():
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, new / name)
            made = completed(new, found.identity, found.graph)
            durable.publish_folder(new, out)
    artifact = replace(made, root=out)
    document = {
        "om": str(artifact.path),
        "identity": dict(found.identity),
        "files": [file.to_json() for file in artifact.files],
        "answers": str(out / ANSWERS) if answered else None,
    }
    against = found.golden or "GOLDEN"
    how = f"see `ascend-migrate validate {artifact.path} --against {against}`"
    then = f"Not judged yet: {how}" if answered else f"{UNJUDGED} {_HOW_TO_ASK}"
    text = f"{artifact.path}: {'; '.join(artifact.notes)}\n{then}"
    shared.print_result(document, text, json_=json_)
    return ExitCode.OK


def _answered(found: "Compiled") -> dict[str, Path]:
    """Returns the answers to be taken along, if there are any, and they are to what was asked."""
    if found.answers is None:
        return {}
    from ascend_migrate.pipeline.cann.run_om import feeds_digest
    from ascend_migrate.pipeline.digest import file_digest
    from ascend_migrate.validators.brought import read_answers
    from ascend_migrate.validators.golden import read_golden

    answers = read_answers(found.answers)
    answers.check_asked(file_digest(found.om), str(found.identity["soc"]))
    if found.golden is None or answers.golden != file_digest(found.golden):
        raise EvidenceError(f"{found.answers}: are not to the questions of this folder; ask again")
    asked = read_golden(found.golden).cases
    if answers.cases != tuple(feeds_digest(case.feeds) for case in asked):
        raise EvidenceError(f"{found.answers}: do not answer every case; ask again")
    return {ANSWERS: found.answers}


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
    from ascend_migrate.flows.compiling import check_questions
    from ascend_migrate.flows.weights import prepare_folder

    if golden is not None:
        check_questions(golden, inputs)
    prepare_folder(out)
    with durable.temporary_folder(out.absolute().parent) as new:
        names = write_bundle(model, new, inputs, request, golden=golden)
        durable.publish_folder(new, out)
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
    text = f"{made.path}: {'; '.join(made.notes)}\n{UNJUDGED} {_HOW_TO_ASK}"
    return {"om": str(made.path), "judged": False}, text


COMMANDS = (om, import_om)
