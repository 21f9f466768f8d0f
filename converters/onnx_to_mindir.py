"""The edge from ONNX to MindIR: the form that MindSpore runs on Ascend."""

from collections.abc import Sequence
from pathlib import Path

from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.inputs import Dim, InputSpec
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

    Raises:
        SourceError: the file, or its external data, cannot be read.
        ConversionError: the graph is malformed or does not have these inputs.
        UnsupportedOperatorError: lists every node that has no exact counterpart.
    """
    from ascend_migrate.converters.mindir.load import load
    from ascend_migrate.converters.mindir.lower import lower

    loaded = load(source)
    if inputs:
        graph = {i.name: loaded.types[i.name] for i in loaded.model.graph.input}
        graph = {name: known for name, known in graph.items() if name not in loaded.weights}
        faults = [*_faults(inputs, graph)]
        if faults:
            raise ConversionError(f"{source}: does not have the inputs given: {'; '.join(faults)}")
    into.mkdir(parents=True, exist_ok=True)
    paths = lower(loaded, into, ENTRY)
    return Artifact.of(Form.MINDIR, into, paths, parent=parent)


def _faults(
    inputs: Sequence[InputSpec], graph: dict[str, tuple[str, tuple[int | str | None, ...] | None]]
) -> list[str]:
    names = [item.name for item in inputs]
    faults = [f"the graph has an input {name!r} more" for name in graph if name not in names]
    for item in inputs:
        if item.name not in graph:
            faults.append(f"the graph has no input {item.name!r}")
            continue
        dtype, shape = graph[item.name]
        if item.dtype != dtype:
            faults.append(f"{item.name!r} is {dtype} in the graph, not {item.dtype}")
        if shape is not None and not _agree(item.shape, shape):
            faults.append(f"{item.name!r} has the sizes {list(shape)} in the graph, not {item}")
    return faults


def _agree(wanted: tuple[int | Dim, ...], found: tuple[int | str | None, ...]) -> bool:
    if len(wanted) != len(found):
        return False
    # A dynamic dimension must be dynamic in the graph; a fixed one may be more general there.
    return all(
        not isinstance(size, int) or (isinstance(want, int) and want == size)
        for want, size in zip(wanted, found, strict=True)
    )
