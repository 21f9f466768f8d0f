"""One graph for each size, where MindSpore cannot keep a dimension dynamic.

Which dimensions these are is found by trying: every dynamic dimension is given a size, and then
each is made dynamic again as long as all nodes can still be lowered.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from ascend_migrate.converters.mindir.files import WeightFile
from ascend_migrate.converters.mindir.load import load
from ascend_migrate.converters.mindir.lower import faults_of, lower
from ascend_migrate.pipeline.errors import ConversionError, UnsupportedOperatorError
from ascend_migrate.pipeline.inputs import (
    COMBINATIONS,
    Dim,
    InputSpec,
    combinations,
    dynamic_dims,
)
from ascend_migrate.pipeline.mindir_buckets import Bucket, write_index

_WEIGHTS = "model_variables/data_0"


def lower_each_size(
    source: Path, inputs: Sequence[InputSpec], into: Path, refused: UnsupportedOperatorError
) -> tuple[list[str], list[str]]:
    """Writes an index, a graph for each combination of sizes, and a file of weights.

    Args:
        source: an ONNX file.
        inputs: its inputs; dimensions that must be fixed have listed sizes.
        into: an existing folder.
        refused: why the graph as it is cannot be lowered.

    Returns:
        Paths of the written files within ``into``, the index first, and notes for the user.

    Raises:
        UnsupportedOperatorError: a node has no counterpart at any size, or a dimension that must
            be fixed has no listed sizes.
        ConversionError: the listed sizes come to too many graphs.
    """
    dims = [dim for dim in dynamic_dims(inputs).values() if dim.low != dim.high]
    trial = _Trial(source, inputs, dims)
    blocked = _blocked(trial, refused)
    fixed = trial.fewest()
    names = " and ".join(dim.name for dim in fixed)
    open_ended = [dim for dim in fixed if not dim.listed]
    if open_ended:
        example = " and ".join(dim.as_list() for dim in open_ended)
        raise UnsupportedOperatorError(
            "MindIR",
            blocked,
            f"with fixed sizes of {names} there is one: list them to get a graph for each, as in "
            f"{example}",
        )
    sizes = combinations(fixed)
    if len(sizes) > COMBINATIONS:
        raise ConversionError(
            f"{source}: MindIR needs a graph for each combination of "
            f"{' and '.join(map(str, fixed))}, which are {len(sizes)}; list fewer sizes, for at "
            f"most {COMBINATIONS} graphs ({'; '.join(blocked)})"
        )
    paths, notes = _write(source, inputs, into, sizes)
    reason = (
        f"MindIR cannot keep {names} dynamic, so it is {len(sizes)} graphs of fixed sizes, named "
        f"in {paths[0]}; they share their weights: {'; '.join(blocked)}."
    )
    return paths, [reason, *notes]


class _Trial:
    """Which nodes cannot be lowered while some dimensions are fixed."""

    def __init__(self, source: Path, inputs: Sequence[InputSpec], dims: Sequence[Dim]) -> None:
        self.source, self.inputs, self.dims = source, inputs, dims

    def faults(self, fixed: Collection[Dim]) -> dict[str, str]:
        """Returns the line of each such node, by the part that names the node."""
        sizes = {dim.name: dim.sizes[len(dim.sizes) // 2] for dim in fixed}
        return _by_node(faults_of(load(self.source, self.inputs, sizes)))

    def fewest(self) -> list[Dim]:
        """Returns dimensions that have to be fixed together; fixing all of them helps."""
        fixed = list(self.dims)
        for dim in self.dims:
            fewer = [other for other in fixed if other is not dim]
            if not self.faults(fewer):
                fixed = fewer
        return fixed


def _blocked(trial: _Trial, refused: UnsupportedOperatorError) -> list[str]:
    """Returns the lines of the refused nodes, each with the dimensions that are at fault.

    Raises:
        UnsupportedOperatorError: there are nodes that no fixed size helps; lists all nodes.
    """
    always = trial.faults(trial.dims)
    lines = _by_node(refused.nodes)
    others = {
        dim.name: trial.faults([other for other in trial.dims if other is not dim])
        for dim in trial.dims
    }
    said = []
    for node, line in lines.items():
        names = [name for name, faults in others.items() if node in faults]
        unsaid = [name for name in names if not re.search(rf"\b{name}\b", line)]
        said.append(line if node in always or not unsaid else f"{line} ({', '.join(unsaid)})")
    if always:
        said += [line for node, line in always.items() if node not in lines]
        raise UnsupportedOperatorError("MindIR", said) from None
    return said


def _by_node(lines: Sequence[str]) -> dict[str, str]:
    return {line.partition("): ")[0]: line for line in lines}


def _write(
    source: Path, inputs: Sequence[InputSpec], into: Path, sizes: Sequence[Mapping[str, int]]
) -> tuple[list[str], list[str]]:
    buckets, notes = [], []
    with closing(WeightFile(into, _WEIGHTS)) as weights:
        for combination in sizes:
            said = ".".join(f"{name}={size}" for name, size in combination.items())
            bucket = Bucket(f"model.{said}.mindir", combination)
            try:
                _, more = lower(
                    load(source, inputs, combination), into, bucket.file, weights=weights
                )
            except UnsupportedOperatorError as error:
                raise UnsupportedOperatorError(f"MindIR with {said}", error.nodes) from None
            buckets.append(bucket)
            notes += [note for note in more if note not in notes]
    index = write_index(into, buckets)
    return [index, *(bucket.file for bucket in buckets), *weights.paths], notes
