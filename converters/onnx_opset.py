"""Bringing a graph down to an older opset, operator by operator.

CANN registers no standard operator above opset 18 and is most complete at 17, so every graph is
brought there. An operator whose schema changed in between is rewritten by its rule, kept where
the change only admitted more element types, or refused by name.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from ascend_migrate.pipeline.errors import UnsupportedOperatorError


class NoExactRuleError(Exception):
    """A rule cannot keep the meaning of this node; the text says why."""


Rule = Callable[[ir.Node], None]
Array = np.ndarray[Any, Any]
_RULES: dict[tuple[str, int], Rule] = {}

# Schema changes that only admit more element types, or concern only 8-bit floats; each was read
# against the ONNX changelog. The checker refuses a type that the older schema does not admit.
_EVERY_FLOAT = """
    Acos Acosh Asin Asinh Atan Atanh AveragePool Bernoulli Conv ConvTranspose Cos Cosh DeformConv
    Det Dropout Elu EyeLike GRU GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample HardSigmoid
    HardSwish InstanceNormalization LSTM LpNormalization LpPool MaxPool MaxRoiPool MaxUnpool Mish
    Multinomial NegativeLogLikelihoodLoss RNN RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike RoiAlign Round Selu Sin Sinh Softplus Softsign Tan ThresholdedRelu"""
_EVERY_TYPE = """
    Constant ConstantOfShape Flatten Identity If Loop Reshape Scan Shape Size Squeeze Transpose
    Unsqueeze"""
_TYPES_ONLY: dict[int, frozenset[str]] = {
    version: frozenset(names.split())
    for version, names in {
        19: "Constant Equal Identity If Loop Reshape Scan Shape Size",
        20: "ConstantOfShape IsInf IsNaN ReduceMax ReduceMin",
        21: _EVERY_TYPE + " Cast CastLike Pad",
        22: _EVERY_FLOAT,
        23: _EVERY_TYPE + " Cast CastLike Pad",
        24: _EVERY_TYPE + " Pad SplitToSequence TopK",
        25: _EVERY_TYPE + " Cast CastLike Pad",
    }.items()
}


def rewrite(op_type: str, *, since: int) -> Callable[[Rule], Rule]:
    """Registers how ``op_type`` as defined by opset ``since`` is said in opset ``since - 1``."""

    def register(rule: Rule) -> Rule:
        _RULES[op_type, since] = rule
        return rule

    return register


def lower_opset(model: ir.Model, opset: int) -> None:
    """Brings the standard operators of ``model`` down to ``opset``, in place.

    Raises:
        UnsupportedOperatorError: lists every node that has no exact rule.
    """
    passes.ShapeInferencePass()(model)  # rules ask for ranks and element types
    refused: list[str] = []
    for version in range(model.opset_imports.get("", opset), opset, -1):
        for node in list(model.graph.all_nodes()):
            if node.domain not in ("", "ai.onnx"):
                continue
            reason = _step(node, version)
            if reason:
                refused.append(f"{node.name} ({node.op_type}, opset {version}): {reason}")
        if refused:
            raise UnsupportedOperatorError(f"ONNX opset {opset}", refused)
    if model.opset_imports.get("", opset) > opset:
        model.opset_imports[""] = opset
        passes.ShapeInferencePass()(model)  # new nodes have results of their own


def _step(node: ir.Node, version: int) -> str:
    """Says ``node`` in opset ``version - 1``; returns why not, or an empty string."""
    try:
        since = onnx.defs.get_schema(node.op_type, version, "").since_version
    except onnx.defs.SchemaError:
        return "no such standard operator"
    if since != version or node.op_type in _TYPES_ONLY.get(version, ()):
        return ""
    rule = _RULES.get((node.op_type, version))
    if rule is None:
        return "there is no exact rule for it"
    try:
        rule(node)
    except NoExactRuleError as error:
        return str(error)
    return ""


def _require_default(node: ir.Node, **defaults: object) -> None:
    """Removes attributes that have their default value; another value has no older spelling."""
    for name, default in defaults.items():
        attribute = node.attributes.get(name)
        if attribute is None:
            continue
        value = attribute.value
        plain = list(value) if isinstance(value, tuple | list) else value
        ones = isinstance(plain, list) and default == "ones" and set(plain) <= {1}
        if not ones and plain != default:
            raise NoExactRuleError(f"attribute {name}={plain!r}")
        del node.attributes[name]


def _constant(node: ir.Node, index: int) -> Array | None:
    """Returns input ``index`` as an array, None if absent."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise NoExactRuleError(f"input {index} is computed at run time")
    return tensor.numpy()


def _rank(value: ir.Value | None) -> int:
    if value is None or value.shape is None:
        raise NoExactRuleError("the rank of its input is unknown")
    return len(value.shape)


def _new(op: str, inputs: list[ir.Value | None], near: ir.Node, **attributes: object) -> ir.Value:
    """Puts a new node before ``near`` and returns its output."""
    graph = near.graph
    if graph is None:
        raise TypeError("a node in a model belongs to a graph")
    serial = sum(1 for _ in _before(near))
    node = ir.node(op, inputs, attributes=attributes, name=f"{near.name}/{op}_{serial}")  # type: ignore[arg-type]
    node.outputs[0].name = f"{near.outputs[0].name}/{op}_{serial}"
    node.metadata_props.update(near.metadata_props)
    graph.insert_before(near, node)
    return node.outputs[0]


def _before(near: ir.Node) -> Iterator[ir.Node]:
    prefix = f"{near.name}/"
    if near.graph is not None:
        yield from (n for n in near.graph if (n.name or "").startswith(prefix))


def _initializer(near: ir.Node, label: str, array: Array) -> ir.Value:
    """Adds a Constant node before ``near`` (valid in subgraphs too) and returns its value."""
    return _new("Constant", [], near, value=ir.tensor(array, name=f"{near.name}/{label}"))


def _replace(node: ir.Node, value: ir.Value) -> None:
    """Lets ``value`` take the place, name and type of the only output of ``node``."""
    old = node.outputs[0]
    value.type, value.shape, value.name = old.type, old.shape, old.name
    graph = node.graph
    if graph is None:
        raise TypeError("a node in a model belongs to a graph")
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _reduce(node: ir.Node) -> None:
    axes = _constant(node, 1)
    noop = node.attributes.get("noop_with_empty_axes")
    if (axes is None or not axes.size) and noop is not None and noop.as_int():
        raise NoExactRuleError("noop_with_empty_axes=1 without axes")
    node.attributes.pop("noop_with_empty_axes", None)
    if len(node.inputs) > 1:
        node.resize_inputs(1)
    if axes is not None and axes.size:
        node.attributes["axes"] = ir.AttrInt64s("axes", axes.reshape(-1).tolist())


for _op in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"):
    _RULES[f"Reduce{_op}", 18] = _reduce


@rewrite("Cast", since=24)
@rewrite("CastLike", since=24)
def _cast_rounding(node: ir.Node) -> None:
    _require_default(node, round_mode="up")


@rewrite("Cast", since=19)
@rewrite("CastLike", since=19)
def _cast_saturation(node: ir.Node) -> None:
    _require_default(node, saturate=1)


@rewrite("Split", since=18)
def _split(node: ir.Node) -> None:
    count = node.attributes.pop("num_outputs", None)
    if count is None:
        return
    axis = node.attributes.get_int("axis", 0)
    source = node.inputs[0]
    rank = _rank(source)
    size = source.shape[axis % rank] if source is not None and source.shape is not None else None
    if not isinstance(size, int):
        raise NoExactRuleError("num_outputs over a dynamic dimension")
    parts = len(node.outputs)
    chunk = -(-size // parts)  # the last part takes what is left
    sizes = np.array([chunk] * (parts - 1) + [size - chunk * (parts - 1)], dtype=np.int64)
    if sizes[-1] < 0:
        raise NoExactRuleError(f"{size} elements in {parts} parts")
    value = _initializer(node, "split", sizes)
    node.resize_inputs(2)
    node.replace_input_with(1, value)


@rewrite("Pad", since=19)
def _pad_wrap(node: ir.Node) -> None:
    if node.attributes.get_string("mode", "constant") == "wrap":
        raise NoExactRuleError("mode 'wrap'")


@rewrite("Pad", since=18)
def _pad(node: ir.Node) -> None:
    axes = _constant(node, 3)
    if axes is None:
        return
    pads, rank = _constant(node, 1), _rank(node.inputs[0])
    if pads is None:
        raise NoExactRuleError("no pads")
    full = np.zeros((2, rank), dtype=np.int64)
    full[:, axes.astype(np.int64) % rank] = pads.reshape(2, -1)
    value = _initializer(node, "pads", full.reshape(-1))
    node.replace_input_with(1, value)
    node.resize_inputs(3)


@rewrite("Resize", since=19)
def _resize_symmetric(node: ir.Node) -> None:
    if node.attributes.get_string("coordinate_transformation_mode", "") == "half_pixel_symmetric":
        raise NoExactRuleError("coordinate_transformation_mode 'half_pixel_symmetric'")


@rewrite("Resize", since=18)
def _resize(node: ir.Node) -> None:
    _require_default(node, antialias=0, keep_aspect_ratio_policy="stretch")
    axes = node.attributes.pop("axes", None)
    if axes is None:
        return
    source, rank = node.inputs[0], _rank(node.inputs[0])
    where = [axis % rank for axis in axes.as_ints()]
    scales, sizes = _constant(node, 2), _constant(node, 3)
    if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise NoExactRuleError("axes with tf_crop_and_resize")
    if scales is not None and scales.size:
        every = np.ones(rank, dtype=np.float32)
        every[where] = scales
        node.replace_input_with(2, _initializer(node, "scales", every))
        return
    known = [] if source is None or source.shape is None else list(source.shape)
    if sizes is None or any(not isinstance(known[i], int) for i in range(rank) if i not in where):
        raise NoExactRuleError("axes with sizes over dynamic dimensions")
    full = np.array([d if isinstance(d, int) else 0 for d in known], dtype=np.int64)
    full[where] = sizes
    node.replace_input_with(3, _initializer(node, "sizes", full))


@rewrite("ScatterElements", since=18)
@rewrite("ScatterND", since=18)
def _scatter(node: ir.Node) -> None:
    reduction = node.attributes.get_string("reduction", "none")
    if reduction not in ("none", "add", "mul"):
        raise NoExactRuleError(f"reduction {reduction!r}")


@rewrite("LpPool", since=18)
def _lp_pool(node: ir.Node) -> None:
    _require_default(node, ceil_mode=0, dilations="ones")


@rewrite("AveragePool", since=19)
def _average_pool(node: ir.Node) -> None:
    _require_default(node, dilations="ones")


@rewrite("Mish", since=18)
def _mish(node: ir.Node) -> None:
    source = node.inputs[0]
    soft = _new("Softplus", [source], node)
    _replace(node, _new("Mul", [source, _new("Tanh", [soft], node)], node))


def _normalised_groups(node: ir.Node, scale: ir.Value | None, bias: ir.Value | None) -> ir.Value:
    """InstanceNormalization over [N, groups, everything else], back in the input's shape."""
    source = node.inputs[0]
    groups = node.attributes.get_int("num_groups")
    shape = _initializer(node, "groups", np.array([0, groups, -1], dtype=np.int64))
    grouped = _new("Reshape", [source, shape], node)
    epsilon = node.attributes.get_float("epsilon", 1e-5)  # the operator's own default
    normal = _new("InstanceNormalization", [grouped, scale, bias], node, epsilon=epsilon)
    return _new("Reshape", [normal, _new("Shape", [source], node)], node)


@rewrite("GroupNormalization", since=18)
def _group_norm_18(node: ir.Node) -> None:
    _replace(node, _normalised_groups(node, node.inputs[1], node.inputs[2]))


@rewrite("GroupNormalization", since=21)
def _group_norm_21(node: ir.Node) -> None:
    _require_default(node, stash_type=1)
    source = node.inputs[0]
    rank, groups = _rank(source), node.attributes.get_int("num_groups")
    if source is None or source.dtype is None:
        raise NoExactRuleError("the element type of its input is unknown")
    ones = np.ones(groups, dtype=source.dtype.numpy())
    one, zero = _initializer(node, "one", ones), _initializer(node, "zero", ones * 0)
    normal = _normalised_groups(node, one, zero)
    column = np.array([-1] + [1] * (rank - 2), dtype=np.int64)
    shape = _initializer(node, "column", column)
    scaled = _new("Mul", [normal, _new("Reshape", [node.inputs[1], shape], node)], node)
    _replace(node, _new("Add", [scaled, _new("Reshape", [node.inputs[2], shape], node)], node))


@rewrite("GridSample", since=20)
def _grid_sample(node: ir.Node) -> None:
    if _rank(node.inputs[0]) != 4:  # noqa: PLR2004
        raise NoExactRuleError("only 4-D input existed before opset 20")
    mode = node.attributes.get_string("mode", "linear")
    older = {"linear": "bilinear", "cubic": "bicubic"}.get(mode or "", mode)
    node.attributes["mode"] = ir.AttrString("mode", older or "bilinear")


@rewrite("Gelu", since=20)
def _gelu(node: ir.Node) -> None:
    source = node.inputs[0]
    if source is None or source.dtype is None:
        raise NoExactRuleError("the element type of its input is unknown")
    kind = source.dtype.numpy()

    def number(label: str, value: float) -> ir.Value:
        return _initializer(node, label, np.array(value, dtype=kind))

    if node.attributes.get_string("approximate", "none") == "tanh":
        cube = _new("Mul", [_new("Mul", [source, source], node), source], node)
        inner = _new("Add", [source, _new("Mul", [cube, number("cubic", 0.044715)], node)], node)
        scaled = _new("Mul", [inner, number("slope", float(np.sqrt(2 / np.pi)))], node)
        shape = _new("Tanh", [scaled], node)
    else:
        shape = _new("Erf", [_new("Div", [source, number("root", float(np.sqrt(2)))], node)], node)
    half = _new("Mul", [source, number("half", 0.5)], node)
    _replace(node, _new("Mul", [half, _new("Add", [shape, number("one", 1.0)], node)], node))
