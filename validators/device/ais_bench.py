"""Runs a compiled model with ais_bench, which sits on pyACL: on an Ascend device, nowhere else.

The questions of a golden file are asked by `pipeline/cann/run_om.py`, the same program that a
bundle carries to such a machine, in a process of its own; what it writes is judged as answers that
were brought back. The loading and the asking itself are not verified on device.
"""

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from ascend_migrate.pipeline.cann import run_om
from ascend_migrate.pipeline.cann.om_file import read_om
from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.pipeline.logged import run_logged
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.brought import BroughtRunner

MODULES = {
    "acl": "is part of CANN: install it and run `source .../set_env.sh`",
    "ais_bench": "is part of msit (components/benchmark): install its wheels ais_bench and "
    "aclruntime, which are on no package index",
}
"""Python modules that are needed, and where each comes from."""

_MODE = "mode"
"""Of om.json: how run_om.py has to give the sizes; without it they are fixed."""


class AisBenchRunner(BroughtRunner):
    """A compiled file that is asked here and now.

    Args:
        artifact: of the form om.
        golden: file with everything that will be asked.
        limits: the time is that of one request, so that it is taken once for each and for loading.

    Raises:
        SourceError: om.json is missing or damaged.
        CheckError: there is no golden file, or the device refuses to run the file.
        EvidenceError: this is another chip than the file is for.
        ToolchainError: CANN or ais_bench is missing, or it took too long.
    """

    def __init__(self, artifact: Artifact, golden: Path | None, *, limits: Limits) -> None:
        if golden is None:
            raise CheckError(f"{artifact.path}: there is no golden file to ask it; use `capture`")
        check_installed()
        self._folder = Path(tempfile.mkdtemp(prefix="ascend-migrate-ais_bench-"))
        with self.closed_on_error():
            answers = self._folder / "answers.safetensors"
            _ask(artifact, golden, answers, limits)
            super().__init__(artifact, answers)

    def close(self) -> None:
        """Forgets the answers."""
        shutil.rmtree(self._folder, ignore_errors=True)


def check_installed() -> None:
    """Proves that the modules are here.

    Raises:
        ToolchainError: one is missing; says where it comes from.
    """
    for module, origin in MODULES.items():
        if importlib.util.find_spec(module) is None:
            raise ToolchainError(
                f"ais_bench: the Python module {module} is not installed here ({sys.executable}); "
                f"it {origin}"
            )


def command(artifact: Artifact, golden: Path, answers: Path) -> list[str]:
    """Returns the command that asks everything."""
    mode = str(read_om(artifact.path).asked.get(_MODE, "static"))
    files = [str(path.resolve()) for path in (artifact.path, golden, answers)]
    return [sys.executable, "-P", str(run_om.__file__), files[0], mode, *files[1:]]


def _ask(artifact: Artifact, golden: Path, answers: Path, limits: Limits) -> None:
    from safetensors import safe_open

    with safe_open(golden, framework="numpy") as file:
        names = [name.split("/") for name in file.keys()]  # noqa: SIM118
    cases = {name[0] for name in names if name[1:2] == ["input"]}
    allowed = limits.timeout * (1 + 2 * len(cases))
    log = answers.with_name("log")
    asking = command(artifact, golden, answers)
    code = run_logged(asking, log, folder=answers.parent, timeout=allowed)
    if code is None:
        raise ToolchainError(
            f"{artifact.path}: ais_bench had not answered after {allowed:g} s, ended; give it more "
            "time (validation.timeout)",
            transient=True,
        )
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        raise CheckError(f"{artifact.path}: ais_bench does not run it (exit code {code}): {last}")
