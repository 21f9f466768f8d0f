"""The command that foresees what a chip's arithmetic does to a model."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import Form, Outcome

if TYPE_CHECKING:
    from ascend_migrate.validators.forecast.forecast import Forecast
    from ascend_migrate.validators.forecast.survey import Harm

_SHOWN = 10
"""Nodes shown on the terminal; --json and forecast.json have them all."""

_VISIBLE = 0.005
"""Share that is not printed as 0 %."""

_LISTED = 30
"""Nodes of the keep-list shown there; the files have them all."""

_HEAD = ("node", "operator", "module", "largest", "overflows", "to zero", "own error", "of limit")


def _known(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Returns the name of a precision mode, ours or one of ATC's; fails on an unknown one."""
    from ascend_migrate.validators.forecast.policy import NAMES, POLICIES

    if value not in NAMES:
        others = ", ".join(sorted(set(NAMES) - set(POLICIES)))
        said = f"{value!r} is none of {', '.join(POLICIES)}, or ATC's {others}"
        raise click.BadParameter(said, ctx, param)
    return value


@click.command()
@click.argument("path", metavar="MODEL.onnx | SPEC.toml", type=shared.existing)
@click.option(
    "--policy",
    required=True,
    callback=_known,
    metavar="MODE",
    help="fp16, bf16, hf32, mixed, cube_fp16, or a value of ATC's --precision_mode.",
)
@shared.chip
@click.option(
    "--against",
    type=shared.existing,
    metavar="GOLDEN",
    help="What `capture` wrote; by default the model itself is asked.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=DTYPE[DIMS]",
    help="What a MODEL.onnx is fed, such as x=int64[batch=1..8,16]:0..99.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    help="Seconds for the search.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the keep-lists.")
@shared.as_json
def forecast(
    path: Path, policy: str, soc: str, out: Path | None, json_: bool, **options: Any
) -> int:
    """Foresee what a chip's precision does to a model.

    Says where it does harm, and which nodes must stay in float32. A simulation on the CPU, not
    verified on device. Exit code 0: the policy holds as it is.
    """
    from ascend_migrate.flows import forecasting
    from ascend_migrate.validators.forecast import files as forecast_files

    if not shared.is_spec(path) and path.suffix != ".onnx":
        raise click.BadParameter(f"{path} is neither an ONNX file nor a specification (.toml)")
    form = None if shared.is_spec(path) else str(Form.ONNX)
    spec = shared.spec_from(path, form, {"inputs": options.pop("inputs")})
    with shared.progress() as show:
        found = forecasting.forecast(spec, policy, soc, out=out, progress=show, **options)
    document = forecast_files.to_json(found)
    if out is not None:
        document["files"] = [str(out / name) for name in forecast_files.files(found)]
    shared.print_result(document, _text(path, found, out), json_=json_)
    return ExitCode.OK if found.holds else ExitCode.REFUSED


def _text(path: Path, found: "Forecast", out: Path | None) -> str:
    from ascend_migrate.validators.forecast import files as forecast_files
    from ascend_migrate.validators.forecast.forecast import LABEL

    chip = "saturates" if found.chip.saturates else "has infinities"
    lines = [
        f"{LABEL}: {path.name} on {found.soc}, which {chip}, in {found.policy.name}",
        f"{found.lowered} nodes are lowered to {found.policy.number}; {len(found.cases)} cases",
    ]
    if found.holds:
        lines.append("HOLDS: the outputs stay within the limits of this type")
    else:
        lines += [
            f"FAILS: {item.check} of {item.subject}: {item.note}"
            for item in [f for f in found.findings if f.outcome is not Outcome.PASS][:_SHOWN]
        ]
    shown = [harm for harm in found.harms[:_SHOWN] if harm.lost or harm.overflows]
    if shown:
        lines += ["", shared.table([_HEAD, *map(_row, shown)])]
    lines += _kept(found)
    if found.opaque:
        lines.append(f"not simulated, taken as float32: {', '.join(found.opaque[:_SHOWN])}")
    if out is not None:
        lines.append(f"files: {', '.join(str(out / n) for n in forecast_files.files(found))}")
    return "\n".join(lines)


def _kept(found: "Forecast") -> list[str]:
    from ascend_migrate.validators.forecast import files as forecast_files

    if found.holds:
        return []
    if found.kept is None:
        return ["", "No keep-list helps: it fails with everything kept that the chip can keep."]
    least = "none can be left out" if found.minimal else "time ran out: perhaps fewer would do"
    lines = ["", f"must stay in float32: {len(found.kept)} nodes ({least}; {found.runs} runs)"]
    lines += [
        f"  {step.name} ({step.op_type}){f' of {step.module}' if step.module else ''}"
        for step in found.kept[:_LISTED]
    ]
    if len(found.kept) > _LISTED:
        lines.append(f"  and {len(found.kept) - _LISTED} more")
    if found.carried:
        lines.append(f"  and {len(found.carried)} nodes that only move elements between them")
    return [*lines, *forecast_files.usage(found)]


def _row(harm: "Harm") -> tuple[str, ...]:
    effect = "" if harm.effect is None else _number(harm.effect)
    return (
        harm.name,
        harm.op_type,
        harm.module,
        _number(harm.largest),
        str(harm.overflows or ""),
        f"{harm.flushed:.0%}" if harm.flushed >= _VISIBLE else "",
        _number(harm.lost),
        effect,
    )


def _number(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "lost"
