"""The architectures of the zoo before the rules of CANN, as exported and rewritten for it.

Each is exported once, into build/zoo, and rewritten anew each time; the rewritten graph is judged
against the original, and the preflight is asked of both graphs for three chips.
"""

import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tests.zoo.attempt import CASES, MODELS
from tests.zoo.entry import Entry
from tests.zoo.random_weights import fill
from tests.zoo.table import ARCHITECTURES

from ascend_migrate.flows import steps
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline.cann.generations import load_generation
from ascend_migrate.pipeline.digest import json_digest
from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.pipeline.model import build_model
from ascend_migrate.pipeline.spec import MigrationSpec, make_spec
from ascend_migrate.pipeline.store import StageStore
from ascend_migrate.validators.preflight.preflight import BLOCKING, Warned, preflight

KEPT = Path(__file__).resolve().parents[2] / "build/zoo"
"""Checkpoints, what the originals computed, and exported graphs, from one run to the next."""

_DYNAMIC = re.compile(r"([a-z]+)=\d+\.\.(\d+)")
"""A dimension and its greatest size, where it is named first."""

CANN = "8.1"
CHIPS = ("Ascend310P3", "Ascend910B3", "Ascend910_9391")


@dataclass(frozen=True)
class Found:
    """A rule that struck an operator; ``says`` is of one place, where it should not go to ATC."""

    rule: str
    effect: str
    op_type: str
    places: int
    says: str = ""


@dataclass(frozen=True)
class Result:
    """What became of one architecture.

    Attributes:
        error: the line that says why there is no graph, or none for CANN; empty elsewhere.
        refused: the line that said so before the sizes were fixed; empty where they are not.
        exported: whether there is an ONNX graph at all.
        verdict: of the rewritten graph against the original; empty where there is none.
        before: by chip, what strikes the exported graph.
        after: by chip, what strikes the rewritten one.
        seconds: of everything.
    """

    error: str = ""
    refused: str = ""
    exported: bool = True
    verdict: str = ""
    before: Mapping[str, list[Found]] = field(default_factory=dict)
    after: Mapping[str, list[Found]] = field(default_factory=dict)
    seconds: float = 0.0


def attempt(name: str) -> Result:
    """Looks at an architecture as it is and, where surgery refuses that, at fixed sizes."""
    entry = ARCHITECTURES[name]
    first = _attempt(name, entry)
    if not first.exported or not first.error:
        return first
    second = _attempt(name, replace(entry, inputs=fixed(entry.inputs)))
    return first if second.error else replace(second, refused=first.error)


def fixed(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Returns inputs with the greatest size in place of every dynamic dimension."""
    largest = dict(_DYNAMIC.findall(" ".join(inputs)))
    found = []
    for text in inputs:
        name, bracket, rest = text.partition("[")
        sizes, end, values = _DYNAMIC.sub(r"\2", rest).partition("]")
        plain = ",".join(largest.get(size, size) for size in sizes.split(","))
        found.append(f"{name}{bracket}{plain}{end}{values}")
    return tuple(found)


def _attempt(name: str, entry: Entry) -> Result:
    began = time.monotonic()
    spec = _spec(name, entry)
    kept = steps.open_workspace(spec, lambda _line: None)
    try:
        source = open_source(spec)
        golden = steps.capture(kept, source)
        exported = steps.export(kept, source)
    except MigrationError as error:
        return Result(_line(error), exported=False, seconds=_since(began))
    graph = next(a.path for a in steps.artifacts_of(exported) if a.entry.endswith(".onnx"))
    before = _findings(graph)
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        # A store of its own: the surgery may be another one than that of the last run.
        fresh = steps.Workspace(spec, StageStore(Path(folder)), kept.registry, kept.progress)
        try:
            converted = steps.convert(fresh, exported)
        except MigrationError as error:
            return Result(_line(error), before=before, seconds=_since(began))
        (made,) = steps.artifacts_of(converted)
        judged = steps.judge(fresh, source, [made], golden)
        return Result(
            verdict=str(judged.record["outcome"]),
            before=before,
            after=_findings(made.path),
            seconds=_since(began),
        )


def _spec(name: str, entry: Entry) -> MigrationSpec:
    """The request of an architecture, in a folder named by all that it is made of."""
    folder = KEPT / f"{name}-{json_digest(asdict(entry))[-12:]}"
    checkpoint = folder / "model.pt"
    if not checkpoint.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model = fill(build_model(entry.code, (), entry.kwargs, MODELS))
        torch.save(model.state_dict(), checkpoint)
    request: dict[str, Any] = {
        "name": name,
        "to": ["onnx-cann"],
        "inputs": list(entry.inputs),
        "registry": str(folder / "registry"),
        "source": {"path": str(checkpoint)},
        "model": {"callable": entry.code, "kwargs": entry.kwargs},
        "validation": {"cases": CASES},
    }
    return make_spec(request, subject=name, base=MODELS)


def _findings(graph: Path) -> dict[str, list[Found]]:
    generation = load_generation(CANN)
    return {chip: _by_rule(preflight(graph, generation, chip)) for chip in CHIPS}


def _by_rule(found: tuple[Warned, ...]) -> list[Found]:
    groups: dict[tuple[str, str], list[Warned]] = {}
    for item in found:
        groups.setdefault((item.rule, item.op_type), []).append(item)
    rows = []
    for (rule, op_type), items in groups.items():
        first = items[0]
        says = first.says if first.effect in BLOCKING else ""
        rows.append(Found(rule, first.effect, op_type, len(items), says))
    return rows


def _line(error: MigrationError) -> str:
    return str(error).replace(f"{KEPT}/", "")


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
