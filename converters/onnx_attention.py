"""Attention to nothing: rows whose mask hides every key, as left padding makes them.

PyTorch gives such a row the weight 0 everywhere. Its exporter means to, too: it masks with the
lowest finite number and then replaces NaN by 0, but only infinities would give NaN, so the row
becomes a plain average instead. Here the mask itself decides; everywhere else the masked weights
are exactly 0 already.
"""

import onnx_ir as ir


def hide_what_is_masked(model: ir.Model) -> None:
    """Replaces Where(IsNaN(w), 0, w) after a masked softmax by Where(mask, w, 0), in place."""
    for node in list(model.graph.all_nodes()):
        found = _masked_softmax(node)
        if found is None:
            continue
        mask, zero, weights = found
        node.replace_input_with(0, mask)
        node.replace_input_with(1, weights)
        node.replace_input_with(2, zero)


def _masked_softmax(node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value] | None:
    """Returns mask, zero and w of Where(IsNaN(w), 0, w), w = Softmax(s + Where(mask, ...))."""
    if node.op_type != "Where":
        return None
    test, zero, weights = node.inputs
    if zero is None or weights is None or _maker(test, "IsNaN") is None:
        return None
    softmax = _maker(weights, "Softmax")
    added = None if softmax is None else _maker(softmax.inputs[0], "Add")
    if added is None:
        return None
    for term in added.inputs:
        hidden = _maker(term, "Where")
        if hidden is not None and _is_mask(hidden.inputs[0]):
            mask = hidden.inputs[0]
            return None if mask is None else (mask, zero, weights)
    return None


def _maker(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def _is_mask(value: ir.Value | None) -> bool:
    return value is not None and value.dtype in (None, ir.DataType.BOOL)
