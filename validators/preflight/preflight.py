"""Preflight: everything in a graph that would fail, or change its numbers, on the way to a chip.

The rules are data (`pipeline/cann`); this asks them. Nothing here has seen a device: a finding is
as sure as its rule says, and no finding is no promise.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from ascend_migrate.pipeline.cann.generations import Generation, NodeRule
from ascend_migrate.pipeline.onnx_checks import check_source
from ascend_migrate.pipeline.onnx_signature import load_graph
from ascend_migrate.pipeline.rule import Effect
from ascend_migrate.validators.preflight.conditions import holds
from ascend_migrate.validators.preflight.graph import CHECKS, STANDARD, Place, Subject

BLOCKING = frozenset({Effect.FAILS, Effect.CHANGES})
"""Effects that a graph should not go to ATC with."""


@dataclass(frozen=True, slots=True)
class Warned:
    """One rule that strikes at one place.

    Attributes:
        place: node, tensor or input.
        op_type: of the node; empty elsewhere.
        rule: its id.
        effect: what happens.
        says: the same in words, with what was found.
        remedy: what to do.
        certainty: how it is known.
        source: where it was read.
    """

    place: str
    op_type: str
    rule: str
    effect: str
    says: str
    remedy: str
    certainty: str
    source: str

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as plain JSON data."""
        return asdict(self)


def preflight(path: Path, generation: Generation, chip: str) -> tuple[Warned, ...]:
    """Asks every rule of a generation of the graph in a file.

    Args:
        path: an ONNX file as it would be given to ATC.
        generation: of CANN.
        chip: exact name, as ``--soc_version`` takes it.

    Returns:
        What strikes, the worst first, in the order of the graph.

    Raises:
        SourceError: the file is damaged or unsafe.
        SpecError: there is no such chip.
    """
    family = generation.family(chip)
    proto = load_graph(path)
    check_source(path, proto)
    return examine(proto, generation, family, path.parent)


def examine(
    proto: onnx.ModelProto, generation: Generation, family: str, folder: Path | None = None
) -> tuple[Warned, ...]:
    """Asks every rule of a graph in memory; ``folder`` holds its external data."""
    model = ir.from_proto(proto)
    if folder is not None:
        ir.external_data.set_base_dir(model.graph, folder)
    # One ill-typed node must not cost the others their types: the pass would infer nothing at all.
    passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    opset = next((o.version for o in proto.opset_import if o.domain in STANDARD), 0)
    given = Subject(proto, model, opset, generation, family)
    found = [*_of_graph(given), *_of_nodes(given)]
    order = list(Effect)
    return tuple(sorted(found, key=lambda item: order.index(Effect(item.effect))))


def _of_graph(given: Subject) -> Iterator[Warned]:
    for rule in _concerning(given.generation.graph_rules, given.family):
        for place in CHECKS[rule.when["check"]](rule.when, given):
            yield _warned(rule, place)


def _of_nodes(given: Subject) -> Iterator[Warned]:
    by_operator: dict[str, list[NodeRule]] = {}
    for rule in _concerning(given.generation.rules, given.family):
        for op_type in rule.operators:
            by_operator.setdefault(op_type, []).append(rule)
    for node in given.model.graph.all_nodes():
        if node.domain in STANDARD:
            for rule in by_operator.get(node.op_type, ()):
                if holds(rule.when, node, given.opset):
                    name = node.name or str(node.outputs[0].name)
                    yield _warned(rule, Place(name, node.op_type))


def _concerning(rules: tuple[NodeRule, ...], family: str) -> Iterator[NodeRule]:
    return (rule for rule in rules if not rule.families or family in rule.families)


def _warned(rule: NodeRule, place: Place) -> Warned:
    said = f"{place.said}: {rule.says}" if place.said else rule.says
    return Warned(
        place.name,
        place.op_type,
        rule.id,
        str(rule.effect),
        said,
        rule.remedy,
        str(rule.certainty),
        rule.source,
    )
