"""The form for torch_npu, made of weights that were just written, and its findings as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ascend_migrate.pipeline.printable import plain
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.pipeline.rule import Effect
from ascend_migrate.pipeline.spec import MigrationSpec
from ascend_migrate.pipeline.torch_npu.manifest import read_manifest

KEY = "torch_npu"
"""Of a verdict's context, and of the parameters of a stage."""

NOT_VERIFIED = "Not verified on device: these are rules that were read, and code that was not run."

_SHOWN = 3
"""Places of a rule that are named in the text; the manifest has them all."""


@dataclass(frozen=True, slots=True)
class Row:
    """A rule that was met.

    Attributes:
        rule: its id.
        about: effect, says, remedy, certainty, source and chips, as in the manifest.
        places: where, one line each: a tensor, or a line of the code and what it becomes.
    """

    rule: str
    about: Mapping[str, Any]
    places: Sequence[str]


def code_of(spec: MigrationSpec) -> dict[str, Any] | None:
    """Returns what is found in the code that a specification names; None where it names none.

    Raises:
        ModelError: there is no such code, or it cannot be read.
    """
    from ascend_migrate.converters.torch_npu.manifest import code_part

    return None if spec.model is None else code_part(spec.model.target, spec.model.search)


def describe(artifacts: Sequence[Artifact], code: Mapping[str, Any] | None) -> Artifact:
    """Writes the manifest beside the weights among ``artifacts``; returns the form."""
    from ascend_migrate.converters import checkpoint_to_torch_npu

    weights = next(item for item in artifacts if item.form is Form.SAFETENSORS)
    return checkpoint_to_torch_npu.convert(weights, code)


def found_in(artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """Returns the manifest among ``artifacts`` as an entry of a verdict's context, if there is one.

    Raises:
        SourceError: it cannot be read.
    """
    made = next((item for item in artifacts if item.form is Form.TORCH_NPU), None)
    return {} if made is None else {KEY: read_manifest(made.path)}


def rows(manifest: Mapping[str, Any]) -> list[Row]:
    """Returns the rules that were met, the worst effect first."""
    places: dict[str, list[str]] = {}
    for item in manifest["tensors"]:
        places.setdefault(item["rule"], []).extend(item["tensors"])
    for item in (manifest["code"] or {}).get("findings", ()):
        becomes = f" -> {item['becomes']}" if item["becomes"] else ""
        text = f"{item['file']}:{item['line']} {item['found']}{becomes}"
        places.setdefault(item["rule"], []).append(text)
    order = [str(effect) for effect in Effect]
    found = [Row(rule, manifest["rules"][rule], where) for rule, where in places.items()]
    return sorted(found, key=lambda row: order.index(row.about["effect"]))


def summary(manifest: Mapping[str, Any]) -> str:
    """Returns how much was found, on one line."""
    counts: dict[str, int] = {}
    for row in rows(manifest):
        effect = row.about["effect"]
        counts[effect] = counts.get(effect, 0) + len(row.places)
    said = ", ".join(f"{effect} {count}" for effect, count in counts.items())
    looked = "tensors and code" if manifest["code"] else "tensors; no code was named (--model)"
    return f"looked at {looked}: {said or 'nothing found'}"


def lines(manifest: Mapping[str, Any]) -> list[str]:
    """Returns the findings as text for a terminal."""
    text = [f"torch-npu: {summary(manifest)}"]
    for row in rows(manifest):
        about = row.about
        chips = f" on {', '.join(about['chips'])}" if about["chips"] else ""
        text.append(f"{about['effect']}{chips}: {row.rule}")
        text += [f"    {place}" for place in row.places[:_SHOWN]]
        if len(row.places) > _SHOWN:
            text.append(f"    and {len(row.places) - _SHOWN} more")
        text.append(f"    {about['says']} ({about['certainty']}: {about['source']})")
        text.append(f"    to do: {about['remedy']}")
    text += [f"compute: {line}" for line in policy(manifest)]
    text += [f"set: {item['set']}  ({item['says']})" for item in manifest["settings"]]
    text += [f"not read: {line}" for line in unread(manifest)]
    return [plain(line) for line in (*text, NOT_VERIFIED)]


def policy(manifest: Mapping[str, Any]) -> list[str]:
    """Returns which element types in the file to compute in what, those as they are on one line."""
    same, said = [], []
    for row in manifest["dtype_policy"]:
        stored = f"{row['stored']} x{row['tensors']}"
        if row["compute"] == row["stored"] and not row["except"]:
            same.append(stored)
            continue
        others = [
            f"in {other['compute']} on {', '.join(other['chips'])}" for other in row["except"]
        ]
        said.append("; ".join([f"{stored} in {row['compute']}", *others]))
    return [*said, *([f"{', '.join(same)} as they are"] if same else [])]


def unread(manifest: Mapping[str, Any]) -> list[str]:
    """Returns what of the code was not looked at, and why."""
    by_reason: dict[str, list[str]] = {}
    for name, why in (manifest["code"] or {}).get("not_read", {}).items():
        by_reason.setdefault(why, []).append(name)
    return [f"{', '.join(names)}: {why}" for why, names in by_reason.items()]
