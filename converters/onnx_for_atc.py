"""Making a graph that ATC can parse, and that says the same bytes on every machine.

ATC makes a node of every initializer, so that node, input and initializer names must all differ;
it reads attributes where ONNX would infer them; it wants one version per domain (E16005).
"""

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from ascend_migrate.pipeline.precision import MODULE, module_of


def shape_for_atc(model: ir.Model) -> None:
    """Gives ``model`` the form that ATC wants, in place; its meaning stays as it is."""
    passes.InlinePass()(model)
    for node in list(model.graph.all_nodes()):
        _state_cast(node)
        _state_slice(node)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.RemoveInitializersFromInputsPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    passes.OutputFixPass()(model)
    for node in model.graph.all_nodes():
        _state_attributes(node)
    _strip_metadata(model)
    _unique_names(model)
    if "ai.onnx" in model.opset_imports:  # another spelling of the empty domain
        model.opset_imports.setdefault("", model.opset_imports.pop("ai.onnx"))
    passes.RemoveUnusedOpsetsPass()(model)
    passes.TopologicalSortPass()(model)


def _state_attributes(node: ir.Node) -> None:
    """Writes out the attributes that ONNX may infer and that ATC requires."""
    if node.domain == "ai.onnx":
        node.domain = ""
    if not node.inputs or node.inputs[0] is None:
        return
    shape = node.inputs[0].shape
    if node.op_type == "Transpose" and "perm" not in node.attributes and shape is not None:
        node.attributes["perm"] = ir.AttrInt64s("perm", list(reversed(range(len(shape)))))
    if node.op_type in ("Conv", "ConvTranspose") and "kernel_shape" not in node.attributes:
        weight = node.inputs[1]
        if weight is not None and weight.shape is not None:
            sizes = list(weight.shape)[2:]
            kernel = [size for size in sizes if isinstance(size, int)]
            if len(kernel) == len(sizes):
                node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", kernel)


def _state_cast(node: ir.Node) -> None:
    """CastLike -> Cast: the former is missing in older CANN releases."""
    if node.op_type != "CastLike" or node.inputs[1] is None or node.inputs[1].dtype is None:
        return
    target = int(node.inputs[1].dtype)
    node.resize_inputs(1)
    node.op_type = "Cast"
    node.attributes["to"] = ir.AttrInt64("to", target)


def _state_slice(node: ir.Node) -> None:
    """Shape(start, end) -> Slice(Shape): ATC ignores the two attributes without a word."""
    if node.op_type != "Shape" or node.graph is None:
        return
    start = node.attributes.pop("start", None)
    end = node.attributes.pop("end", None)
    first = start.as_int() if start is not None else 0
    last = end.as_int() if end is not None else np.iinfo(np.int64).max
    if (first, last) == (0, np.iinfo(np.int64).max):
        return
    old = node.outputs[0]
    bounds = [
        ir.node(
            "Constant",
            [],
            attributes={"value": ir.tensor(np.array([number], dtype=np.int64))},
            name=f"{node.name}/{label}",
        )
        for label, number in (("start", first), ("end", last), ("axis", 0))
    ]
    for bound in bounds:
        bound.outputs[0].name = f"{bound.name}_value"
    whole = ir.node("Shape", list(node.inputs), name=f"{node.name}/whole")
    whole.outputs[0].name = f"{whole.name}_value"
    values = [whole.outputs[0], *(bound.outputs[0] for bound in bounds)]
    part = ir.node("Slice", values, name=f"{node.name}/part")
    part.metadata_props.update(node.metadata_props)
    part.outputs[0].type, part.outputs[0].shape = old.type, old.shape
    part.outputs[0].name = old.name
    ir.convenience.replace_nodes_and_values(
        node.graph, node, [node], [whole, *bounds, part], [old], [part.outputs[0]]
    )


def _strip_metadata(model: ir.Model) -> None:
    """Drops source paths and all other notes, which differ between machines."""
    modules = {node: module_of(node.metadata_props) for node in model.graph.all_nodes()}
    passes.ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    model.producer_name, model.producer_version = "ascend-migrate", None
    model.domain, model.doc_string, model.model_version = None, None, None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    for node, module in modules.items():
        node.metadata_props.clear()
        for output in node.outputs:
            output.metadata_props.clear()
        if module:
            node.metadata_props[MODULE] = module


def _unique_names(model: ir.Model) -> None:
    passes.NameFixPass()(model)
    taken = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    taken |= set(model.graph.initializers)
    for serial, node in enumerate(model.graph.all_nodes()):
        name = node.name or f"{node.op_type}_{serial}"
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)
