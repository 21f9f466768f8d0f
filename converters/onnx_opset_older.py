"""What operators of opset 17 are in opset 16 to 13, for CANN of before 7.0."""

import numpy as np
import onnx_ir as ir

from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    constant_of,
    dtype_of,
    given,
    is_constant,
    rank_of,
    replace,
    require_default,
    size_of,
)
from ascend_migrate.converters.onnx_opset_table import rewrite

WHOLE = np.iinfo(np.int64).max


@rewrite("LayerNormalization", since=17)
def _layer_norm(node: ir.Node) -> None:
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        raise NoExactRuleError("its mean or its deviation is used")
    make, source = Builder(node), node.inputs[0]
    kind, rank = dtype_of(source), rank_of(source)
    stash = ir.DataType(node.attributes.get_int("stash_type", int(ir.DataType.FLOAT)))
    axes = list(range(node.attributes.get_int("axis", -1) % rank, rank))
    wide = source if kind == stash else make("Cast", source, to=int(stash))
    centred = make("Sub", wide, make("ReduceMean", wide, axes=axes, keepdims=1))
    variance = make("ReduceMean", make("Mul", centred, centred), axes=axes, keepdims=1)
    epsilon = np.array(node.attributes.get_float("epsilon", 1e-5), dtype=stash.numpy())
    normal = make("Div", centred, make("Sqrt", make("Add", variance, make.constant(epsilon))))
    if kind != stash:
        normal = make("Cast", normal, to=int(kind))
    scaled = make("Mul", normal, node.inputs[1])
    bias = given(node, 2)
    replace(node, scaled if bias is None else make("Add", scaled, bias))


@rewrite("ScatterElements", since=16)
@rewrite("ScatterND", since=16)
def _scatter(node: ir.Node) -> None:
    require_default(node, reduction="none")


@rewrite("RoiAlign", since=16)
def _roi_align(node: ir.Node) -> None:
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode != "output_half_pixel":
        raise NoExactRuleError(f"coordinate_transformation_mode {mode!r}")
    node.attributes.pop("coordinate_transformation_mode", None)


@rewrite("Shape", since=15)
def shape_part(node: ir.Node) -> None:
    """Shape(start, end) -> Slice(Shape)."""
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get_int("end", WHOLE)
    if (start, end) == (0, WHOLE):
        node.attributes.pop("start", None)
        node.attributes.pop("end", None)
        return
    make = Builder(node)
    replace(node, make.part(make("Shape", node.inputs[0]), 0, start, end))


@rewrite("CastLike", since=15)
def cast_like(node: ir.Node) -> None:
    """CastLike -> Cast."""
    target = int(dtype_of(node.inputs[1]))
    replace(node, Builder(node)("Cast", node.inputs[0], to=target))


@rewrite("BatchNormalization", since=14)
def _batch_norm(node: ir.Node) -> None:
    require_default(node, training_mode=0)


@rewrite("GRU", since=14)
@rewrite("LSTM", since=14)
@rewrite("RNN", since=14)
def _layout(node: ir.Node) -> None:
    require_default(node, layout=0)


@rewrite("Reshape", since=14)
def _reshape(node: ir.Node) -> None:
    """A computed shape holds a zero only for a tensor without elements, which CANN never takes."""
    if node.attributes.get_int("allowzero", 0) and is_constant(node.inputs[1]):
        sizes = constant_of(node, 1)
        if sizes is not None and not sizes.all():
            raise NoExactRuleError("allowzero=1 and a size of 0")
    node.attributes.pop("allowzero", None)


@rewrite("HardSwish", since=14)
def _hard_swish(node: ir.Node) -> None:
    make, source = Builder(node), node.inputs[0]
    replace(node, make("Mul", source, make("HardSigmoid", source, alpha=1 / 6, beta=0.5)))


@rewrite("Trilu", since=14)
def _trilu(node: ir.Node) -> None:
    make, source, shift = Builder(node), node.inputs[0], constant_of(node, 1)
    sizes = (size_of(source, -2), size_of(source, -1))
    k = 0 if shift is None else int(shift.reshape(-1)[0])
    choose = np.triu if node.attributes.get_int("upper", 1) else np.tril
    kept = make.constant(choose(np.ones(sizes, dtype=bool), k))
    replace(node, make("Where", kept, source, make.like(0, source)))
