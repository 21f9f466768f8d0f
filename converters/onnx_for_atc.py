"""Making a graph that ATC can parse, and that says the same bytes on every machine.

ATC makes a node of every initializer, so that node, input and initializer names must all differ;
it reads attributes where ONNX would infer them; it wants one version per domain (E16005).
"""

import onnx_ir as ir
import onnx_ir.passes.common as passes

from ascend_migrate.converters.onnx_opset_older import cast_like, shape_part
from ascend_migrate.pipeline.precision import MODULE, module_of


def shape_for_atc(model: ir.Model) -> None:
    """Gives ``model`` the form that ATC wants, in place; its meaning stays as it is."""
    passes.InlinePass()(model)
    for node in list(model.graph.all_nodes()):
        # The former is missing in older CANN releases; the latter's attributes are never read.
        if node.op_type == "CastLike" and node.inputs[1] is not None and node.inputs[1].dtype:
            cast_like(node)
        if node.op_type == "Shape":
            shape_part(node)
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
    # From 4 on an initializer need not be an input; 10 brought the notes on nodes.
    model.ir_version = min(max(model.ir_version or 0, 8), 10)


def _state_attributes(node: ir.Node) -> None:
    """Writes out the attributes that ONNX may infer and that ATC requires."""
    if node.domain == "ai.onnx":
        node.domain = ""
    if not node.inputs or node.inputs[0] is None:
        return
    shape = node.inputs[0].shape
    if node.op_type == "Transpose" and "perm" not in node.attributes and shape is not None:
        node.attributes["perm"] = ir.AttrInt64s("perm", list(reversed(range(len(shape)))))
    if node.op_type == "MeanVarianceNormalization":
        # Its default; onnx.checker refuses the function that it stands for without it.
        node.attributes.setdefault("axes", ir.AttrInt64s("axes", [0, 2, 3]))
    if node.op_type in ("Conv", "ConvTranspose") and "kernel_shape" not in node.attributes:
        weight = node.inputs[1]
        if weight is not None and weight.shape is not None:
            sizes = list(weight.shape)[2:]
            kernel = [size for size in sizes if isinstance(size, int)]
            if len(kernel) == len(sizes):
                node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", kernel)


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
