"""Zeros around an image that a maximum is taken over: Pad, then MaxPool.

onnxruntime's Pad_Fusion (seen in 1.31) makes one MaxPool of the two, whose own padding is minus
infinity: a window at the border that holds only negative numbers then loses its zero. The graph
is right and the most common runtime is not, so a Clip without bounds, which changes nothing and
which no fusion looks through, keeps the two apart. BiT and the first ResNets of TensorFlow pad so.
"""

import onnx_ir as ir


def keep_padding(model: ir.Model) -> None:
    """Puts Clip without bounds between every Pad and the MaxPool after it, in place."""
    for node in list(model.graph.all_nodes()):
        padded = node.inputs[0] if node.op_type == "MaxPool" else None
        maker = None if padded is None else padded.producer()
        if padded is None or maker is None or maker.op_type != "Pad" or node.graph is None:
            continue
        clip = ir.node("Clip", [padded], name=f"{node.name}/padded")
        result = clip.outputs[0]
        result.name, result.type, result.shape = f"{clip.name}_value", padded.type, padded.shape
        clip.metadata_props.update(node.metadata_props)
        node.graph.insert_before(node, clip)
        node.replace_input_with(0, result)
