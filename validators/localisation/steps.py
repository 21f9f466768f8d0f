"""An artifact taken apart into steps, so that what lies between them can be seen and replaced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.original import Outputs

Seen = Callable[[str, Array], None]
"""Is shown name and value of each intermediate; the array is not kept for it."""

PIECE = 32
"""Steps that are run at a time: what they make is held together."""


class StepError(Exception):
    """A step does not run; never leaves validators.

    Attributes:
        step: number of that step.
    """

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(reason)
        self.step = step


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a graph.

    Attributes:
        name: of the node; of a MindIR node, that of the ONNX node that it was made for.
        operator: what it computes.
        module: qualified name of the source's module; "" where the graph does not say.
        inputs: names of the values that it reads, those of the graphs inside it included.
        stored: names of the weights and constants among them.
        outputs: names of what it makes.
    """

    name: str
    operator: str
    module: str
    inputs: tuple[str, ...]
    stored: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alone:
    """A few steps as a model of their own.

    Attributes:
        model: the file, its weights inside.
        suffix: of its name.
        inputs: what it is fed, in the order of its inputs.
    """

    model: bytes
    suffix: str
    inputs: Mapping[str, Array]


class Steps(Protocol):
    """An artifact whose intermediates can be seen.

    Attributes:
        steps: in an order in which they can be computed.
        outputs: name of the step's value behind each output of the artifact.
    """

    steps: Sequence[Step]
    outputs: Mapping[str, str]

    def observe(
        self, feeds: Mapping[str, Array], seen: Seen, replace: Mapping[str, Array]
    ) -> Outputs:
        """Runs all steps once and returns the artifact's outputs.

        Args:
            feeds: the artifact's inputs.
            seen: is shown every tensor that depends on them.
            replace: values that steps after them are given instead of what was computed.

        Raises:
            StepError: a step does not run.
            CheckError: the artifact cannot be observed.
        """

    def numbers(self, number: int) -> Mapping[str, Any]:
        """Returns the numbers of a step that are no weights: attributes and constants, by name."""

    def alone(self, numbers: Sequence[int], known: Mapping[str, Array]) -> "Alone":
        """Returns a few steps as a model of their own.

        Args:
            numbers: of the steps, in order.
            known: value of each tensor that they read and do not make.

        Raises:
            CheckError: they cannot be written as one file.
        """


def depends(steps: Sequence[Step], given: Sequence[str]) -> set[str]:
    """Returns the values that are not made of stored tensors alone."""
    live = set(given)
    for step in steps:
        reads = set(step.inputs) - set(step.stored)
        if reads & live or not (step.inputs or step.operator == "Constant"):
            live.update(step.outputs)
    return live
