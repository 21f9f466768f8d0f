"""What CANN wants written out, what it cannot read, and what an inference has no use for."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    given,
    rank_of,
    replace,
    size_of,
)
from ascend_migrate.converters.onnx_opset_older import shape_part


@surgery("transpose-perm", "Transpose")
def transpose(node: ir.Node) -> bool:
    """The reversed order, where none is given."""
    if "perm" in node.attributes:
        return False
    order = list(reversed(range(rank_of(node.inputs[0]))))
    node.attributes["perm"] = ir.AttrInt64s("perm", order)
    return True


@surgery("conv-attributes", "Conv")
@surgery("convtranspose-kernel-shape", "ConvTranspose")
def kernel_shape(node: ir.Node) -> bool:
    """The spatial sizes of the weight."""
    if "kernel_shape" in node.attributes:
        return False
    weight = node.inputs[1]
    sizes = [size_of(weight, axis) for axis in range(2, rank_of(weight))]
    node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", sizes)
    return True


@surgery("dropout-seed", "Dropout")
def dropout(node: ir.Node) -> bool:
    """Nothing, in inference; its mask says that everything was kept."""
    training = given(node, 2)
    if training is not None:
        known = ir.convenience.get_const_tensor(training)
        if known is None or bool(known.numpy().any()):
            raise NoExactRuleError("it may be in training mode; export the model in eval mode")
    make, source = Builder(node), node.inputs[0]
    mask = None
    if len(node.outputs) > 1 and node.outputs[1].name:
        kept = make.constant(np.array(True))
        mask = make("Expand", kept, make("Shape", source))
    replace(node, source, mask)
    return True


@surgery("batchnorm-training", "BatchNormalization")
def batch_norm(node: ir.Node) -> bool:
    """Refused in training mode; elsewhere momentum has no meaning."""
    used = [v for v in node.outputs[1:] if v.uses() or v.is_graph_output()]
    if node.attributes.get_int("training_mode", 0) or used:
        raise NoExactRuleError("it is in training mode; export the model in eval mode")
    return node.attributes.pop("momentum", None) is not None


@surgery("maxpool-storage-order", "MaxPool")
@surgery("maxpool-indices", "MaxPool")
def max_pool(node: ir.Node) -> bool:
    """Refused where its indices are used; storage_order has no meaning without them."""
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        raise NoExactRuleError("its indices are used; compute them outside the graph")
    changed = node.attributes.pop("storage_order", None) is not None
    if len(node.outputs) > 1:
        node.resize_outputs(1)
        changed = True
    return changed


@surgery("depthtospace-block", "DepthToSpace")
def depth_to_space(node: ir.Node) -> bool:
    """Blocks of one element move nothing."""
    if node.attributes.get_int("blocksize") != 1:
        return False
    replace(node, node.inputs[0])
    return True


@surgery("shape-start-end", "Shape")
def shape(node: ir.Node) -> bool:
    """A Slice of the whole shape."""
    if "start" not in node.attributes and "end" not in node.attributes:
        return False
    shape_part(node)
    return True
