"""Bringing a graph down to an older opset, operator by operator.

CANN registers no standard operator above opset 18 and is most complete at 17, so every graph is
brought there, or lower for an old CANN. An operator whose schema changed in between is rewritten
by its rule, kept where the change only admitted more element types, written out where ONNX defines
it by other operators, or refused by name.
"""

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

import ascend_migrate.converters.onnx_opset_older
import ascend_migrate.converters.onnx_opset_rules  # noqa: F401 - both register their rules
from ascend_migrate.converters.onnx_building import NoExactRuleError
from ascend_migrate.converters.onnx_folding import fold_constants
from ascend_migrate.converters.onnx_functions import write_out
from ascend_migrate.converters.onnx_opset_table import RULES, TYPES_ONLY
from ascend_migrate.pipeline.errors import UnsupportedOperatorError


def lower_opset(model: ir.Model, opset: int) -> None:
    """Brings the standard operators of ``model`` down to ``opset``, in place.

    Raises:
        UnsupportedOperatorError: lists every node that has no exact rule.
    """
    passes.ShapeInferencePass()(model)  # rules ask for ranks and element types
    refused: list[str] = []
    first = model.opset_imports.get("", opset)
    for version in range(first, opset, -1):
        model.opset_imports[""] = version
        _write_functions_out(model, version)
        for node in list(model.graph.all_nodes()):
            if not _is_standard(node):
                continue
            reason = _step(node, version)
            if reason:
                refused.append(f"{node.name} ({node.op_type}, opset {version}): {reason}")
        if refused:
            raise UnsupportedOperatorError(f"ONNX opset {opset}", refused)
    if first > opset:
        model.opset_imports[""] = opset
        passes.ShapeInferencePass()(model)  # new nodes have results of their own


def _is_standard(node: ir.Node) -> bool:
    return node.domain in ("", "ai.onnx")


def _changed(node: ir.Node, version: int) -> bool:
    """Whether ``version`` changed the meaning of a node's operator, or brought it."""
    if node.op_type in TYPES_ONLY.get(version, ()):
        return False
    return onnx.defs.get_schema(node.op_type, version, "").since_version == version


def _write_functions_out(model: ir.Model, version: int) -> None:
    """Writes out what has no rule but a definition by nodes, which are of the same opset."""
    found = False
    for node in list(model.graph.all_nodes()):
        if not _is_standard(node) or (node.op_type, version) in RULES:
            continue
        try:
            found |= _changed(node, version) and write_out(node, version)
        except onnx.defs.SchemaError:
            continue
    if found:
        passes.ShapeInferencePass()(model)
        fold_constants(model)  # definitions compute the axes that rules want as constants
        passes.ShapeInferencePass()(model)


def _step(node: ir.Node, version: int) -> str:
    """Says ``node`` in opset ``version - 1``; returns why not, or an empty string."""
    try:
        if not _changed(node, version):
            return ""
    except onnx.defs.SchemaError:
        return "no such standard operator"
    rule = RULES.get((node.op_type, version))
    if rule is None:
        return "there is no exact rule for it"
    try:
        rule(node)
    except NoExactRuleError as error:
        return str(error)
    return ""
