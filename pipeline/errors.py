"""Everything that can go wrong, and the exit code that says so.

MigrationError                    exit 3 unless said otherwise
├── SpecError                     2  the request is wrong (lists every fault)
├── SourceError                   2  a checkpoint or model file is unreadable, incomplete or unsafe
├── ModelError                    2  the model cannot be built, or does not fit the checkpoint
├── ConversionError               2  an edge could not be walked for this model
│   └── UnsupportedOperatorError  2  names every node that has no counterpart
├── ToolchainError                3  a tool, library or device is missing, crashed or timed out
├── CheckError                    3  a check could not be carried out (never: "it differs")
│   └── KernelMissingError        3  the runtime that judges lacks a kernel, whatever a device has
├── StoreError                    3  the stage store or the registry could not be written
├── EvidenceError                 1  evidence is missing, altered or of an unknown version
└── PublicationRefusedError       1  the gate said no; carries the reasons

A model that *differs* raises nothing: that is a verdict, data like any other.
Messages are one line: what happened, on what, and what to do next.
"""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; scripts rely on these numbers."""

    OK = 0
    """Equivalent and admitted, or done."""
    REFUSED = 1
    """Differs, or refused by the gate."""
    INPUT = 2
    """The request or the input is at fault."""
    UNABLE = 3
    """Could not be carried out: a tool or device is missing, or the disk is full."""


class MigrationError(Exception):
    """Base of all errors that a user can cause; shown as one line, never as a traceback."""

    exit_code: ExitCode = ExitCode.UNABLE


class SpecError(MigrationError):
    """The request is wrong.

    Attributes:
        faults: one line for each fault, all of them, each with its key or line.
    """

    exit_code = ExitCode.INPUT

    def __init__(self, subject: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        # The arguments as they came: an exception is unpickled by calling its class with them.
        super().__init__(subject, self.faults)

    def __str__(self) -> str:
        return f"{self.args[0]}: {'; '.join(self.faults)}"


class SourceError(MigrationError):
    """A checkpoint or model file cannot be read, is incomplete, or is unsafe to open."""

    exit_code = ExitCode.INPUT


class ModelError(MigrationError):
    """The model cannot be built, or its state does not fit the checkpoint."""

    exit_code = ExitCode.INPUT


class ConversionError(MigrationError):
    """An edge from one form to another could not be walked for this model."""

    exit_code = ExitCode.INPUT


class UnsupportedOperatorError(ConversionError):
    """Operators without an exact counterpart in the target.

    Attributes:
        nodes: one line for each node: name, operator, opset, reason.
    """

    def __init__(self, target: str, nodes: Sequence[str], remedy: str = "") -> None:
        self.nodes = tuple(nodes)
        super().__init__(target, self.nodes, remedy)

    def __str__(self) -> str:
        target, _, remedy = self.args
        return (
            f"{len(self.nodes)} node(s) have no exact counterpart in {target}: "
            f"{'; '.join(self.nodes)}{'; ' if remedy else ''}{remedy}"
        )


class ToolchainError(MigrationError):
    """A tool, library or device is missing, crashed or ran out of time.

    Attributes:
        transient: whether trying again unchanged may succeed.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        self.transient = transient
        super().__init__(message)


class CheckError(MigrationError):
    """A check could not be carried out; this never means that something differs."""


class KernelMissingError(CheckError):
    """The runtime has no kernel for an operator; that of a device may well have one.

    Attributes:
        kernel: operator and element types, such as ``Reshape(bfloat16, int64)``.
    """

    def __init__(self, message: str, kernel: str) -> None:
        self.kernel = kernel
        super().__init__(message, kernel)

    def __str__(self) -> str:
        return str(self.args[0])


class StoreError(MigrationError):
    """The stage store or the registry could not be read or written."""


class EvidenceError(MigrationError):
    """Evidence is missing, altered, or of a version that this release does not know."""

    exit_code = ExitCode.REFUSED


class PublicationRefusedError(MigrationError):
    """The gate said no.

    Attributes:
        reasons: one line for each reason.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, subject: str, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(subject, self.reasons)

    def __str__(self) -> str:
        return f"{self.args[0]} refused: {'; '.join(self.reasons)}"
