"""The registry of operators, and the table of primitives that they are written with."""

import subprocess
import sys
from pathlib import Path

import pytest

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.generate_primitives import TABLE
from ascend_migrate.converters.mindir.primitives import table
from ascend_migrate.converters.mindir.registry import Node, operator, registry
from ascend_migrate.converters.mindir.values import Value


def nothing(context: Context, node: Node) -> Value:
    return node[0]


def test_registering_twice_is_a_fault() -> None:
    assert ("Relu", 14) in registry()
    with pytest.raises(ValueError, match="Relu version 14 is registered twice"):
        operator("Relu", since=14)(nothing)


def test_registering_a_version_that_does_not_exist_is_a_fault() -> None:
    with pytest.raises(ValueError, match="Relu has no version 15"):
        operator("Relu", since=15)(nothing)
    assert ("Relu", 15) not in registry()


def test_a_call_that_does_not_fit_its_primitive_is_a_fault() -> None:
    with pytest.raises(TypeError, match=r"Transpose.*missing \['dims'\]"):
        table()["Transpose"].arguments(("x",), {})
    with pytest.raises(TypeError, match=r"unknown \['order'\]"):
        table()["Transpose"].arguments(("x", (0, 1)), {"order": 1})


@pytest.mark.mindspore
def test_the_table_is_that_of_the_installed_mindspore(tmp_path: Path) -> None:
    code = (
        "import sys; from ascend_migrate.converters.mindir.generate_primitives import table_text;"
        "sys.stdout.write(table_text())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == TABLE.read_text()
