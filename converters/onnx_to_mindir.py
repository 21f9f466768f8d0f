"""The edge from ONNX to MindIR: the form that MindSpore runs on Ascend."""

from collections.abc import Sequence
from pathlib import Path

from ascend_migrate.pipeline.errors import ConversionError, UnsupportedOperatorError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.records import Artifact, Form

ENTRY = "model.mindir"


def convert(source: Path, into: Path, *, inputs: Sequence[InputSpec], parent: str) -> Artifact:
    """Writes ``source`` as MindIR into the folder ``into``.

    The bytes depend on the ONNX file and its weights alone. Weights keep their ONNX names.

    Args:
        source: an ONNX file; its external data lies in the same folder.
        into: folder for the result, made if need be.
        inputs: the inputs that the model was exported with; names, element types and fixed sizes
            must be those of the graph. Empty to take the graph as it is.
        parent: digest of the artifact that ``source`` belongs to.

    Returns:
        The artifact; its entry is ``model.mindir``, above 1.5 GiB of weights with a second file.
        Where a node needs a fixed size of a dimension whose sizes are listed, the entry is an
        index of one graph for each size (see pipeline/mindir_buckets.py).

    Raises:
        SourceError: the file, or its external data, cannot be read.
        ConversionError: the graph is malformed or does not have these inputs.
        UnsupportedOperatorError: lists every node that has no exact counterpart.
    """
    from ascend_migrate.converters.mindir.buckets import lower_each_size
    from ascend_migrate.converters.mindir.load import load
    from ascend_migrate.converters.mindir.lower import lower
    from ascend_migrate.converters.onnx_inputs import input_faults
    from ascend_migrate.pipeline.onnx_signature import inputs_of_onnx

    loaded = load(source)
    if inputs:
        names = [item.name for item in loaded.model.graph.input if item.name not in loaded.weights]
        graph = {name: loaded.types.get(name, ("no tensor", None)) for name in names}
        faults = input_faults(inputs, graph)
        if faults:
            raise ConversionError(f"{source}: does not have the inputs given: {'; '.join(faults)}")
    into.mkdir(parents=True, exist_ok=True)
    try:
        paths, notes = lower(loaded, into, ENTRY)
    except UnsupportedOperatorError as refused:
        paths, notes = lower_each_size(source, inputs or inputs_of_onnx(source), into, refused)
    return Artifact.of(Form.MINDIR, into, paths, parent=parent, notes=notes)
