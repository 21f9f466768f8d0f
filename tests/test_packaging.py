"""What is packaged is what is there, and what is declared is what is imported."""

import ast
import re
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.wheel import FOLDERS, ROOT, build_wheel

DATA = (
    "converters/mindir/primitives.json",
    "flows/report.html.j2",
    "pipeline/mind_ir.proto",
    *(f"{folder}/py.typed" for folder in FOLDERS),
)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_every_folder_of_code_is_a_package_that_is_listed(project: dict[str, Any]) -> None:
    packages = {path.parent.relative_to(ROOT) for path in sources() if path.name == "__init__.py"}
    assert project["tool"]["setuptools"]["packages"] == sorted(
        "ascend_migrate." + ".".join(package.parts) for package in packages
    )
    assert {path.parent.relative_to(ROOT) for path in sources()} == packages


def test_type_checkers_find_the_same_folders() -> None:
    # A checkout without support for links fails here; only type checking suffers from it.
    typings = ROOT / "typings" / "ascend_migrate"
    assert {p.name: p.resolve() for p in typings.iterdir()} == {f: ROOT / f for f in FOLDERS}


def test_wheel_holds_all_code_and_data(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(about).decode()
    inside = {n.removeprefix("ascend_migrate/") for n in names if n.startswith("ascend_migrate/")}
    wanted = {str(path.relative_to(ROOT)) for path in sources()} | set(DATA)
    assert wanted <= inside
    assert {n for n in inside if n.endswith(".py")} == {n for n in wanted if n.endswith(".py")}
    assert {n.partition("/")[0] for n in names} == {
        "ascend_migrate",
        about.partition("/")[0],
    }
    assert "License-Expression: Apache-2.0" in metadata


def _imported(path: Path) -> set[str]:
    """Returns the top-level modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = node.module
            # The only namespace that several distributions share.
            google = module.startswith("google.")
            found.add("google.protobuf" if google else module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"ascend_migrate"}


def _name(requirement: str) -> str:
    return _normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_library_that_is_imported_is_declared(project: dict[str, Any]) -> None:
    declared = {_name(r) for r in project["project"]["dependencies"]}
    extras = project["project"]["optional-dependencies"]
    known = {m: set(map(_normal, ds)) for m, ds in packages_distributions().items()}
    known["google.protobuf"] = {"protobuf"}
    imported = {module: path for path in sources() for module in _imported(path)}
    assert {"torch", "numpy", "google.protobuf", "prefect"} <= set(imported)
    optional = {_name(r) for r in extras["mindspore"]}
    undeclared = {
        module: str(path)
        for module, path in imported.items()
        if not known.get(module, {module}) & (declared | optional)
    }
    # A file that is copied to machines with CANN, where that is at home.
    script = str(ROOT / "pipeline/cann/run_om.py")
    # Of an Ascend host, imported where a device is asked and nowhere else.
    asks = str(ROOT / "validators/device/torch_npu_worker.py")
    assert undeclared == {"acl": script, "ais_bench": script, "torch_npu": asks}
    # What is optional is imported by its worker process alone.
    users = {str(p.relative_to(ROOT)) for p in sources() if "mindspore" in _imported(p)}
    assert users <= {"validators/mindspore_worker.py", "converters/mindir/generate_primitives.py"}


def test_layers_are_checked_by_make_lint(project: dict[str, Any]) -> None:
    linter = project["tool"]["importlinter"]
    assert linter["root_packages"] == [f"ascend_migrate.{folder}" for folder in FOLDERS]
    (contract,) = linter["contracts"]
    assert contract["type"] == "layers"
    assert contract["layers"] == [
        "ascend_migrate.flows",
        "ascend_migrate.converters | ascend_migrate.validators",
        "ascend_migrate.pipeline",
    ]
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    tools = ["ruff check", "ruff format --check", "mypy", "mypy tests", "lint-imports"]
    assert re.findall(r"\$\(BIN\)/(.+)", recipe) == tools
    assert "make test" in (ROOT / ".ci" / "run").read_text()
