"""Folding constants without touching the weights.

onnxscript's own optimiser folds ``Transpose(weight)`` into a renamed copy and fuses
BatchNormalization into Conv, which ends the sharing of weights with the checkpoint; ATC and
MindSpore fuse by themselves.
"""

import onnx_ir as ir
import onnx_ir.passes.common as passes

LARGEST = 1024
"""Elements that a folded constant may have: shapes and axes stay below, tables do not."""


def fold_constants(model: ir.Model) -> None:
    """Folds what depends on no weight, and drops dead and doubled nodes, in place."""
    from onnxscript.optimizer import fold_constants_ir

    weights = set(model.graph.initializers.values())

    def should_fold(node: ir.Node) -> bool | None:
        # None leaves the decision to the size limits.
        return False if any(value in weights for value in node.inputs) else None

    passes.InlinePass()(model)
    for _ in range(2):  # a second round sees the shapes that the first one made constant
        fold_constants_ir(
            model,
            should_fold=should_fold,
            input_size_limit=LARGEST,
            output_size_limit=LARGEST,
        )
        passes.RemoveUnusedNodesPass()(model)
    passes.IdentityEliminationPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
