"""Rewriting a graph, round by round, until no rule concerns any of its nodes."""

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from ascend_migrate.converters.cann.registry import rewrites
from ascend_migrate.converters.onnx_building import NoExactRuleError
from ascend_migrate.pipeline.cann.generations import load_generation, versions
from ascend_migrate.pipeline.errors import UnsupportedOperatorError

_ROUNDS = 20
"""What a rewrite makes may be rewritten in turn; the longest chain is far shorter."""


def operate(model: ir.Model) -> int:
    """Rewrites ``model`` in place so that CANN's parser reads it as ONNX means it.

    Args:
        model: of opset 13 to 17.

    Returns:
        How many nodes were rewritten.

    Raises:
        UnsupportedOperatorError: lists every node that cannot be said exactly.
    """
    total, refused = 0, {"": ""}
    for _ in range(_ROUNDS):
        passes.ShapeInferencePass()(model)
        changed, refused = _round(model)
        total += changed
        if not changed:
            break
        passes.RemoveUnusedNodesPass()(model)
    refused |= _unregistered(model, refused)
    refused.pop("", None)
    if refused:
        raise UnsupportedOperatorError("what CANN's parser reads", list(refused.values()))
    # The parser looks for external data of the outermost graph only.
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.LiftSubgraphInitializersToMainGraphPass()(model)
    return total


def _round(model: ir.Model) -> tuple[int, dict[str, str]]:
    """Tries every rewrite on every node once; returns what was rewritten, and what refused."""
    changed, refused = 0, {}
    for node in list(model.graph.all_nodes()):
        for rewrite in rewrites().get(node.op_type, ()):
            if node.graph is None or node.domain not in ("", "ai.onnx"):
                break  # gone with a branch, or replaced
            try:
                changed += rewrite(node)
            except NoExactRuleError as error:
                refused[_name(node)] = f"{_name(node)} ({node.op_type}): {error}"
                break
    return changed, refused


def _unregistered(model: ir.Model, refused: dict[str, str]) -> dict[str, str]:
    """Returns the nodes that no known CANN has a parser for."""
    newest = load_generation(versions()[-1])
    found = {}
    for node in model.graph.all_nodes():
        domain = "" if node.domain == "ai.onnx" else node.domain
        opset = model.opset_imports.get(domain, 1)
        if _name(node) not in refused and not newest.registered(domain, opset, node.op_type):
            kind = f"{domain}::{node.op_type}" if domain else node.op_type
            what = "standard operator" if _is_standard(domain, node.op_type) else "operator"
            found[_name(node)] = (
                f"{_name(node)} ({kind}): CANN registers no such {what} at opset {opset}, and "
                "there is no exact rule for it"
            )
    return found


def _is_standard(domain: str, op_type: str) -> bool:
    return not domain and onnx.defs.has(op_type)


def _name(node: ir.Node) -> str:
    return node.name or next((value.name for value in node.outputs if value.name), "") or "a node"
