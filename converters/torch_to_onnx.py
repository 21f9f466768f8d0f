"""torch.nn.Module -> model.onnx, with its weights left in the safetensors file.

capture (torch.export) -> translate (torch.onnx, opset 18) -> fold -> lower opset and
precision -> shape -> write
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_migrate.converters.onnx_attention import hide_what_is_masked
from ascend_migrate.converters.onnx_folding import fold_constants
from ascend_migrate.converters.onnx_for_atc import shape_for_atc
from ascend_migrate.converters.onnx_opset import lower_opset
from ascend_migrate.converters.onnx_padding import keep_padding
from ascend_migrate.converters.onnx_precision import lower_precision
from ascend_migrate.converters.onnx_weights import (
    CHECKPOINT_NAME,
    lowered_file,
    read_layout,
    write_model,
    write_weights,
)
from ascend_migrate.converters.quiet import quiet
from ascend_migrate.converters.torch_capture import capture, input_positions, reason_of
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.model_call import called_by_name, output_names
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Artifact, Form

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch
    from torch.export import ExportedProgram

_EXPORTED_OPSET = 18
"""What torch's exporter really emits; asked for 17, it still writes 18 and does not say so."""


def convert(  # noqa: PLR0913 - what the graph depends on
    model: "torch.nn.Module",
    inputs: Sequence[InputSpec],
    into: Path,
    *,
    opset: int = 17,
    precision: Precision | None = None,
    runnable: bool = True,
    weights: Path | None,
    parent: str,
) -> Artifact:
    """Exports ``model`` as ``into/model.onnx``.

    Args:
        model: in eval mode, on the CPU; called with the inputs by name where its ``forward`` has
            arguments of these names, otherwise by position.
        inputs: what it is fed; their dynamic dimensions stay dynamic in the graph.
        into: an existing folder.
        opset: of the standard operators in the graph, at most 18.
        precision: what the graph is lowered to; None leaves it in the model's own types. Lowered
            weights go to a safetensors file of their own.
        runnable: whether onnxruntime must load the graph; otherwise it may hold bfloat16, which
            onnxruntime lacks and MindIR has.
        weights: the safetensors file in the same folder that initializers may point into.
        parent: digest of what the model was made from.

    Raises:
        ConversionError: the model cannot be traced, a declared dynamic dimension becomes fixed, or
            an operator has no counterpart.
    """
    if opset > _EXPORTED_OPSET:
        raise ConversionError(f"opset {opset} is above {_EXPORTED_OPSET}, the highest ATC parses")
    keywords = called_by_name(model, [item.name for item in inputs])
    with quiet():
        program, notes = capture(model, inputs, keywords=keywords)
        graph, lost = _translate(program)
        hide_what_is_masked(graph)
        _name_inputs(graph, program, inputs)
        _name_outputs(graph, program)
        # Only the graph needs the weights from here on, and only until they are found in the file.
        del model, program
        _name_dims(graph, inputs)
        fold_constants(graph)
        lower_opset(graph, opset)
        keep_padding(graph)
        if precision is not None:
            lost += lower_precision(graph, precision, read_layout(weights) if weights else ())
        shape_for_atc(graph)
    if precision is not None:
        weights = into / lowered_file(precision.dtype)
        write_weights(graph, weights)
    files, written = write_model(graph, into, weights=weights, runnable=runnable)
    return Artifact.of(Form.ONNX, into, files, parent=parent, notes=[*notes, *lost, *written])


def _translate(program: "ExportedProgram") -> tuple["ir.Model", list[str]]:
    """Returns the graph at opset 18, and notes on state that it cannot keep."""
    import torch
    from torch.onnx import OnnxExporterError

    from ascend_migrate.converters.torch_rnn_capture import whole_recurrent_layers

    try:
        with whole_recurrent_layers():
            translated = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=_EXPORTED_OPSET,
                optimize=False,
                verbose=False,
            )
    except OnnxExporterError as error:
        raise ConversionError(
            f"torch.onnx cannot translate the model: {reason_of(error)}; rewrite that part of the "
            "model with operators that ONNX has"
        ) from None
    if translated is None or translated.exported_program is None:
        raise ConversionError("torch.onnx gave no graph back")
    # Only the translated program has its mutations made explicit.
    return translated.model, _lost_state(translated.exported_program)


def _lost_state(program: "ExportedProgram") -> list[str]:
    """Says which buffers the model changes at each call: a graph cannot keep them."""
    changed = sorted(program.graph_signature.buffers_to_mutate.values())
    if not changed:
        return []
    return [
        f"The model changes its own state at each call ({', '.join(changed)}); the graph does not "
        "keep it: make it an input and an output."
    ]


def _name_inputs(
    graph: "ir.Model", program: "ExportedProgram", inputs: Sequence[InputSpec]
) -> None:
    """Gives the graph's inputs the names and the order of ``inputs``."""
    order = input_positions(program, inputs)
    found = list(graph.graph.inputs)
    if len(found) != len(inputs):
        raise ConversionError(f"the graph has {len(found)} inputs instead of {len(inputs)}")
    wanted = {item.name for item in inputs}
    for value in _all_values(graph):
        if value.name in wanted and value not in found:
            # The checkpoint's name survives where a weight has to give way to an input.
            value.meta[CHECKPOINT_NAME] = value.name
            _rename(graph, value, f"{value.name}.tensor")
    graph.graph.inputs.clear()
    for position, item in zip(order, inputs, strict=True):
        found[position].name = item.name
        graph.graph.inputs.append(found[position])


def _all_values(graph: "ir.Model") -> list["ir.Value"]:
    """Returns the inputs, initializers and results of the main graph."""
    results = [value for node in graph.graph for value in node.outputs]
    return [*graph.graph.inputs, *graph.graph.initializers.values(), *results]


def _rename(graph: "ir.Model", value: "ir.Value", name: str) -> None:
    taken = {other.name for other in _all_values(graph)}
    while name in taken:
        name += "_"
    value.name = name


def _name_outputs(graph: "ir.Model", program: "ExportedProgram") -> None:
    """Names the outputs after the keys of the model's result, otherwise output_0, output_1, ..."""
    names = _output_names(program, [value.name or "" for value in graph.graph.inputs])
    outputs = list(graph.graph.outputs)
    if len(names) != len(outputs):
        raise ConversionError(f"the graph has {len(outputs)} outputs instead of {len(names)}")
    own = set(graph.graph.inputs) | set(graph.graph.initializers.values())
    for value in _all_values(graph):
        if value.name in names and value not in graph.graph.inputs:
            value.meta.setdefault(CHECKPOINT_NAME, value.name)
            _rename(graph, value, f"{value.name}.tensor")
    for index, name in enumerate(names):
        value = outputs[index]
        if value in own or value in outputs[:index]:
            value = _copy(graph, value)
            graph.graph.outputs[index] = value
        value.name = name


def _copy(graph: "ir.Model", source: "ir.Value") -> "ir.Value":
    """Appends an Identity: an output that is an input, a weight or another output needs a name."""
    import onnx_ir as ir

    node = ir.node("Identity", [source], name=f"{source.name}/copy{len(graph.graph)}")
    graph.graph.append(node)
    node.outputs[0].type, node.outputs[0].shape = source.type, source.shape
    return node.outputs[0]


def _output_names(program: "ExportedProgram", inputs: Collection[str]) -> list[str]:
    """Returns a name for each tensor that the model returns, in pytree order."""
    from torch.export.graph_signature import ConstantArgument, OutputKind
    from torch.utils import _pytree as pytree

    kept = [
        not isinstance(item.arg, ConstantArgument)
        for item in program.graph_signature.output_specs
        if item.kind is OutputKind.USER_OUTPUT
    ]
    spec = program.call_spec.out_spec
    return output_names(pytree.tree_unflatten(range(spec.num_leaves), spec), kept, inputs)


def _name_dims(graph: "ir.Model", inputs: Sequence[InputSpec]) -> None:
    """Replaces torch's symbols (s77) by the user's names, and makes sure that none was lost."""
    import onnx_ir as ir

    symbols: dict[str, str] = {}
    for value, item in zip(graph.graph.inputs, inputs, strict=True):
        sizes = list(value.shape) if value.shape is not None else []
        for axis, dim in enumerate(item.shape):
            if isinstance(dim, int) or dim.low == dim.high:
                continue
            if axis >= len(sizes) or isinstance(sizes[axis], int):
                raise ConversionError(
                    f"dimension {dim.name!r} of input {item.name!r} became fixed in the graph; "
                    "give it one size, or remove what depends on its size in the model"
                )
            expression = str(sizes[axis])
            symbols[expression] = dim.name
            if dim.step > 1:
                # 16*s77 is the dimension itself; elsewhere s77 is the number of its steps.
                steps = re.fullmatch(r"(?:(\d+)\*)(\w+)(?: \+ \d+)?", expression)
                symbols |= {steps[2]: f"({dim.name}//{steps[1]})"} if steps else {}
    longest_first = sorted(symbols, key=len, reverse=True)
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b") if symbols else None
    for value in _all_values(graph):
        if value.shape is None or pattern is None:
            continue
        value.shape = ir.Shape(
            d if isinstance(d, int) else _renamed(d, pattern, symbols) for d in value.shape
        )


def _renamed(dim: Any, pattern: "re.Pattern[str]", symbols: dict[str, str]) -> str | None:
    text = pattern.sub(lambda match: symbols[match[0]], str(dim.value))
    return None if dim.value is None else text
