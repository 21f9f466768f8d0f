"""Exit codes, as the documentation gives them to scripts."""

import inspect
import pickle

import pytest

from ascend_migrate.pipeline import errors
from ascend_migrate.pipeline.errors import (
    CheckError,
    ConversionError,
    EvidenceError,
    KernelMissingError,
    MigrationError,
    ModelError,
    PublicationRefusedError,
    SourceError,
    SpecError,
    StoreError,
    ToolchainError,
    UnsupportedOperatorError,
)

REFUSED, INPUT, UNABLE = 1, 2, 3
RAISED: list[tuple[MigrationError, int, str]] = [
    (MigrationError("it broke"), UNABLE, "it broke"),
    (SpecError("a.toml", ["x: y", "z: w"]), INPUT, "a.toml: x: y; z: w"),
    (SourceError("a.pt: cut"), INPUT, "a.pt: cut"),
    (ModelError("no such class"), INPUT, "no such class"),
    (ConversionError("no edge"), INPUT, "no edge"),
    (
        UnsupportedOperatorError("MindIR", ["n1: Foo", "n2: Bar"]),
        INPUT,
        "2 node(s) have no exact counterpart in MindIR: n1: Foo; n2: Bar",
    ),
    (
        UnsupportedOperatorError("MindIR", ["n1: Foo"], "list its sizes"),
        INPUT,
        "1 node(s) have no exact counterpart in MindIR: n1: Foo; list its sizes",
    ),
    (ToolchainError("no atc", transient=True), UNABLE, "no atc"),
    (CheckError("not run"), UNABLE, "not run"),
    (KernelMissingError("no kernel of Abs", "Abs(uint16)"), UNABLE, "no kernel of Abs"),
    (StoreError("disk full"), UNABLE, "disk full"),
    (EvidenceError("altered"), REFUSED, "altered"),
    (PublicationRefusedError("toy", ["a", "b"]), REFUSED, "toy refused: a; b"),
]


@pytest.mark.parametrize(("error", "code", "text"), RAISED, ids=lambda v: type(v).__name__)
def test_code_and_text(error: MigrationError, code: int, text: str) -> None:
    assert error.exit_code == code
    assert str(error) == text


def test_every_error_is_in_the_table() -> None:
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)}
    defined = {kind for kind in kinds if issubclass(kind, MigrationError)}
    assert defined == {type(error) for error, _, _ in RAISED}


def test_single_faults_can_be_counted() -> None:
    assert SpecError("a", ["x", "y"]).faults == ("x", "y")
    assert UnsupportedOperatorError("t", ["x"]).nodes == ("x",)
    assert PublicationRefusedError("t", ["x", "y"]).reasons == ("x", "y")
    assert ToolchainError("t", transient=True).transient
    assert not ToolchainError("t").transient


@pytest.mark.parametrize("error", [error for error, _, _ in RAISED], ids=lambda e: type(e).__name__)
def test_errors_cross_processes(error: MigrationError) -> None:
    """Prefect and worker processes pickle what was raised."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
