"""The rows of -1 by which CANN pads what NonMaxSuppression returns.

ONNX returns a row (batch, class, box) for each box that is kept; CANN's operator has a fixed number
of rows and fills the rest with -1 (page atlasoxol_09_0106, CANN 8.0 to 9.1). Not verified on
device. Where such a result is an output of the graph, the padding is known for what it is and taken
off before anything is compared. Where the graph goes on computing with it, nothing can be taken
off: what the device returns then is another answer, and is judged as one.
"""

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.validators.cases import Array

if TYPE_CHECKING:
    import onnx

_PASSING = frozenset({"Identity", "Cast"})
"""Operators after which a row of -1 still is one."""

_FILL = -1


def padded_outputs(model: "onnx.ModelProto") -> frozenset[str]:
    """Returns the outputs of a graph that are what NonMaxSuppression returned, and nothing else."""
    makers = {name: node for node in model.graph.node for name in node.output if name}

    def is_padded(name: str) -> bool:
        node = makers.get(name)
        while node is not None and node.op_type in _PASSING:
            node = makers.get(node.input[0])
        return node is not None and (node.domain, node.op_type) == ("", "NonMaxSuppression")

    return frozenset(value.name for value in model.graph.output if is_padded(value.name))


def unpadded(outputs: Mapping[str, Array], padded: Container[str]) -> dict[str, Array]:
    """Returns outputs, those in ``padded`` without their padding.

    Raises:
        CheckError: as `without_padding`.
    """
    return {
        name: without_padding(name, array) if name in padded else array
        for name, array in outputs.items()
    }


def without_padding(name: str, array: Array) -> Array:
    """Returns an output of NonMaxSuppression without the rows that are padding.

    Args:
        name: of the output.
        array: its rows of three, of any type.

    Raises:
        CheckError: it has other sizes, or a -1 that is not in a row of them at the end, so that
            padding cannot be told from results.
    """
    if array.ndim != 2 or array.shape[1] != 3:  # noqa: PLR2004 - batch, class, box
        raise CheckError(
            f"output {name!r} of NonMaxSuppression has the sizes {list(array.shape)}, not [n, 3]: "
            "its padding cannot be told from its results"
        )
    filled = array == _FILL
    kept = int(np.count_nonzero(~filled.all(axis=1)))
    if filled[:kept].any():
        raise CheckError(
            f"output {name!r} of NonMaxSuppression has -1 between its results: its padding cannot "
            "be told from them"
        )
    return array[:kept]
