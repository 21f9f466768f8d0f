"""What a precision policy of a device does to each node of a graph."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.validators.forecast.chips import CUBE, MIXED, Chip
from ascend_migrate.validators.forecast.graph import Graph, Step
from ascend_migrate.validators.forecast.rounding import HF32


class Lowers(Enum):
    """What becomes of the operators of one kind."""

    NOTHING = "nothing"
    INPUTS = "what they read; they make float32"
    ALL = "what they read and make"
    LISTED = "the same, of those that the chip's list says; the others follow what they read"


@dataclass(frozen=True, slots=True)
class Policy:
    """A precision mode.

    Attributes:
        name: ours.
        number: the type that it lowers to.
        cube: what becomes of operators of the cube unit.
        vector: what becomes of all others.
        atc: the options of ATC that ask for it; empty where none does.
        aliases: other names, which are ATC's values of --precision_mode and --precision_mode_v2.
    """

    name: str
    number: str
    cube: Lowers
    vector: Lowers
    atc: str
    aliases: tuple[str, ...] = ()


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        item.name: item
        for item in (
            Policy(
                *("fp16", "float16", Lowers.ALL, Lowers.ALL, "--precision_mode_v2=fp16"),
                ("force_fp16", "enforce_fp16"),
            ),
            Policy("bf16", "bfloat16", Lowers.ALL, Lowers.ALL, ""),
            Policy(
                *("hf32", HF32, Lowers.INPUTS, Lowers.NOTHING, "--precision_mode_v2=origin"),
                ("origin", "must_keep_origin_dtype"),
            ),
            Policy(
                *("mixed", "float16", Lowers.LISTED, Lowers.LISTED),
                "--precision_mode_v2=mixed_float16",
                ("mixed_float16", "allow_mix_precision", "allow_mix_precision_fp16"),
            ),
            Policy(
                *("mixed_bf16", "bfloat16", Lowers.LISTED, Lowers.LISTED),
                "--precision_mode_v2=mixed_bfloat16",
                ("mixed_bfloat16", "allow_mix_precision_bf16"),
            ),
            Policy(
                *("cube_fp16", "float16", Lowers.ALL, Lowers.NOTHING),
                "--precision_mode=allow_fp32_to_fp16",
                ("allow_fp32_to_fp16",),
            ),
            Policy(
                *("cube_fp16_fp32out", "float16", Lowers.INPUTS, Lowers.NOTHING),
                "--precision_mode_v2=cube_fp16in_fp32out",
                ("cube_fp16in_fp32out", "force_fp32"),
            ),
        )
    }
)
"""(ATC's documentation of --precision_mode and --precision_mode_v2. No mode of ATC forces bfloat16:
that is a model whose own type it is. hf32 is what ``origin`` does to convolutions by default, and
to matrices where it is allowed.)"""

NAMES: Mapping[str, Policy] = MappingProxyType(
    {name: policy for policy in POLICIES.values() for name in (policy.name, *policy.aliases)}
)
"""Every policy by all of its names."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is rounded at one node: the types of what it reads and of what it makes, or None."""

    reads: str | None = None
    makes: str | None = None


AS_IT_IS = Treatment()


def check(policy: Policy, chip: Chip, soc: str) -> None:
    """Proves that the chip has the type of the policy.

    Raises:
        SpecError: it has not.
    """
    missing = {"bfloat16": not chip.bfloat16, HF32: not chip.hf32}.get(policy.number, False)
    if missing:
        raise SpecError(
            f"policy {policy.name}", [f"{soc} does not compute in {policy.number}; choose fp16"]
        )


def plan(graph: Graph, policy: Policy, chip: Chip, kept: Collection[int]) -> tuple[Treatment, ...]:
    """Returns what is rounded at each node.

    Args:
        graph: whose nodes they are.
        policy: the mode.
        chip: the family that it runs on.
        kept: places of the nodes that are told to stay in float32.
    """
    lowered: set[int] = set()
    found = []
    carried = carriers(graph, kept) if policy.vector is Lowers.ALL else frozenset()
    for step in graph.steps:
        treatment = AS_IT_IS
        if step.index in kept:
            treatment = _kept(step, policy, chip)
        elif step.moves:
            # It only hands on what it reads; in a mode that forces a type, in that type.
            if _any_lowered(graph, step, lowered):
                lowered.add(step.index)
            if policy.vector is Lowers.ALL and step.index not in carried:
                treatment = Treatment(reads=policy.number)
        elif step.computes:
            kind = policy.cube if step.op_type in CUBE else policy.vector
            if kind is Lowers.LISTED:
                kind = _listed(graph, step, chip, lowered)
            if kind is not Lowers.NOTHING:
                makes = policy.number if kind is Lowers.ALL else None
                treatment = Treatment(policy.number, makes)
            if kind is Lowers.ALL:
                lowered.add(step.index)
        found.append(treatment)
    return tuple(found)


def carriers(graph: Graph, kept: Collection[int]) -> frozenset[int]:
    """Returns the nodes that only move elements between nodes that are kept in float32.

    They have to be kept as well, or they would round on the way.
    """
    able: set[int] = set()
    fed: set[int] = set()
    for step in graph.steps:
        if step.moves:
            makers = [graph.makers.get(name) for name in step.reads if name in graph.computed]
            if all(maker is None or maker in kept or maker in able for maker in makers):
                able.add(step.index)
                if any(maker in kept or maker in fed for maker in makers):
                    fed.add(step.index)
    found: set[int] = set()
    outputs = frozenset(graph.outputs)
    for step in reversed(graph.steps):
        if step.index in able:
            readers = [r for name in step.node.output for r in graph.readers.get(name, ())]
            shown = step.index in fed and not outputs.isdisjoint(step.node.output)
            if shown or any(reader in kept or reader in found for reader in readers):
                found.add(step.index)
    return frozenset(found)


def _kept(step: Step, policy: Policy, chip: Chip) -> Treatment:
    """A kept node computes in float32, as far as the chip can."""
    if step.op_type in CUBE and not chip.cube_float32:
        return Treatment(reads=policy.number)
    return AS_IT_IS


def _listed(graph: Graph, step: Step, chip: Chip, lowered: Collection[int]) -> Lowers:
    lowers, keeps = MIXED[chip.family]
    if step.op_type in keeps:
        return Lowers.NOTHING
    if step.op_type in lowers or _any_lowered(graph, step, lowered):
        return Lowers.ALL
    return Lowers.NOTHING


def _any_lowered(graph: Graph, step: Step, lowered: Collection[int]) -> bool:
    return any(graph.makers.get(name) in lowered for name in step.reads)
