"""What has no exact counterpart: each refused by the name of its rule, with the reason."""

from collections.abc import Callable

import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import NoExactRuleError, rank_of

_RANDOM_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
_CONV_RANKS = (3, 4, 5)


def _used(node: ir.Node, *places: int) -> bool:
    found = [node.outputs[place] for place in places if place < len(node.outputs)]
    return any(value.uses() or value.is_graph_output() for value in found)


def _refuse(rule: str, operator: str, concerns: Callable[[ir.Node], bool], reason: str) -> None:
    def refuse(node: ir.Node) -> bool:
        if concerns(node):
            raise NoExactRuleError(reason)
        return False

    refuse.__doc__ = f"Refused: {reason}."
    surgery(rule, operator)(refuse)


_refuse(
    "roialign-mode",
    "RoiAlign",
    lambda node: node.attributes.get_string("mode", "avg") != "avg",
    "mode is never read and the average computed; pool by the average, or outside the graph",
)
_refuse(
    "unique-axis",
    "Unique",
    lambda node: "axis" in node.attributes,
    "axis is never read; find unique rows outside the graph",
)
_refuse(
    "unique-indices",
    "Unique",
    lambda node: _used(node, 1, 2),
    "its index outputs are not supported; use the values and the counts only",
)
_refuse(
    "sequence-empty-dtype",
    "SequenceEmpty",
    lambda node: node.attributes.get_int("dtype", int(ir.DataType.FLOAT)) != ir.DataType.FLOAT,
    "dtype is never read; avoid sequences of tensors",
)
_refuse(
    "scatternd-mul",
    "ScatterND",
    lambda node: node.attributes.get_string("reduction", "none") not in ("none", "add"),
    "this reduction is rejected; scatter with add, or without a reduction",
)
_refuse(
    "conv-rank",
    "Conv",
    lambda node: rank_of(node.inputs[0]) not in _CONV_RANKS,
    "only inputs of 3, 4 and 5 dimensions are taken; reshape around it",
)
_refuse(
    "randomnormal-dtype",
    "RandomNormal",
    lambda node: node.attributes.get_int("dtype", int(ir.DataType.FLOAT)) not in _RANDOM_TYPES,
    "only float16, float32 and float64 are drawn; draw float32 and cast",
)
