"""The command that judges a graph by what is known of CANN, without CANN."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ascend_migrate.flows import cli_options as shared
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.printable import plain

if TYPE_CHECKING:
    from ascend_migrate.validators.preflight.preflight import Warned

_SHOWN = 3
"""Places of a rule that are named in the text; --json has them all."""


@click.command()
@click.argument("model", type=shared.existing)
@shared.chip
@shared.cann
@click.option("--after-surgery", is_flag=True, help="Say what the form onnx-cann leaves of it.")
@shared.as_json
def preflight(model: Path, soc: str, cann: str, after_surgery: bool, json_: bool) -> int:
    """Say what of an ONNX file CANN would not take.

    What it would refuse, and what it would compute otherwise; no CANN is needed for that.
    """
    from ascend_migrate.pipeline.cann.generations import load_generation
    from ascend_migrate.validators.preflight.preflight import BLOCKING
    from ascend_migrate.validators.preflight.preflight import preflight as examine

    generation = load_generation(cann)
    if after_surgery:
        from ascend_migrate.flows.rewritten import preflight_after

        found = preflight_after(model, generation, soc)
    else:
        found = examine(model, generation, soc)
    document = {
        "model": model.name,
        "soc": soc,
        "cann": cann,
        "after_surgery": after_surgery,
        "rules": {"generation": generation.name, "about": generation.about},
        "findings": [item.to_json() for item in found],
        "verified_on_device": False,
    }
    where = f"{model.name}{', after surgery' if after_surgery else ''}, on {soc}"
    text = _text(f"{where}, CANN {cann} (rules of {generation.name}):", found)
    shared.print_result(document, text, json_=json_)
    return ExitCode.REFUSED if any(item.effect in BLOCKING for item in found) else ExitCode.OK


def _text(head: str, found: Sequence["Warned"]) -> str:
    by_rule: dict[tuple[str, str], list[Warned]] = {}
    for item in found:
        by_rule.setdefault((item.rule, item.op_type), []).append(item)
    lines = [plain(head)]
    for items in by_rule.values():
        first = items[0]
        names = ", ".join(plain(item.place) for item in items[:_SHOWN])
        more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        lines.append(f"{first.effect}: {first.op_type} {names}{more}".replace(":  ", ": "))
        lines.append(f"    {plain(first.says)} ({first.certainty}: {first.source})")
        lines.append(f"    to do: {first.remedy}")
    counted = Counter(item.effect for item in found)
    lines.append(", ".join(f"{n} {effect}" for effect, n in counted.items()) or "nothing found")
    lines.append("Not verified on device: these are rules that were read, not a compilation.")
    return "\n".join(lines)
