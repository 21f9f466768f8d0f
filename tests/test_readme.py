"""The README is true: its sessions are run, its tables compared with the program."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from ascend_migrate.flows import cli
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import Form
from ascend_migrate.pipeline.spec import read_spec

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sessions() -> list[str]:
    return BLOCK.findall(README)


def steps(session: str) -> list[tuple[str, str]]:
    """Returns each command with the output below it."""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert session.startswith("$ ")
    return [(str(command), str(output)) for command, output in found]


def pattern(shown: str) -> str:
    """Reads ``...`` as any text; alone on its line, as any lines."""
    lines = [
        r"(?:.*\n)*" if line == "...\n" else re.escape(line).replace(r"\.\.\.", ".*")
        for line in shown.splitlines(keepends=True)
    ]
    return "".join(lines)


@pytest.mark.mindspore
def test_sessions_print_what_the_readme_shows(tmp_path: Path) -> None:
    package = find_spec("attacut")
    assert package is not None, "make test installs it"
    assert package.submodule_search_locations is not None
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "demo-out").mkdir()
    weights = Path(package.submodule_search_locations[0], "artifacts/attacut-sc/model.pth")
    shutil.copyfile(weights, tmp_path / "demo-out" / "model.pth")
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": place, "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    everything = [step for session in sessions() for step in steps(session)]
    assert len(everything) >= 8
    for command, shown in everything:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value
            continue
        # Both streams in one, as on a terminal.
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=tmp_path, env=environment, text=True, check=False, timeout=300,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert re.fullmatch(pattern(shown), done.stdout), f"$ {command}\n{done.stdout}"


def test_what_is_masked_is_only_what_may_vary() -> None:
    masked = [line for session in sessions() for line in session.splitlines() if "..." in line]
    kinds = ("sha256:...", "judge-...", "outputs.close", "outputs.peak")
    assert [line for line in masked if line != "..." and not any(k in line for k in kinds)] == []


def test_every_command_is_in_the_table() -> None:
    table = README.partition("## Commands")[2].partition("REF is `NAME`")[0]
    assert set(re.findall(r"`([a-z][a-z-]+)[ `]", table)) == set(cli.cli.commands) | {"production"}


def test_tables_of_exit_codes_and_forms_are_complete() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)] == list(
        ExitCode
    )
    forms = README.partition("## Forms")[2]
    assert re.findall(r"^\| `([\w-]+)` \|", forms, re.MULTILINE) == list(Form)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_example_of_the_specification_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "migration.toml"
    path.write_text(example)
    for name in ("model.pth", "sentence.npz"):
        (tmp_path / name).touch()
    made = read_spec(path)
    assert made.to == tuple(Form)
    # Each key of the record has a place in the example.
    tables = tomllib.loads(example)
    stated = {
        *tables,
        *(key for table in tables.values() if isinstance(table, dict) for key in table),
    }
    fields = {field.name for field in dataclasses.fields(made)} - {"source", "model", "limits"}
    fields |= {field.name for field in dataclasses.fields(made.limits)}
    # Shown as comments: the example has a graph, which points into one file of the types as saved.
    assert fields - {"max_shard_size", "store_as"} <= stated
