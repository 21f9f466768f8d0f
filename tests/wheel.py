"""The package as a user gets it."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("converters", "flows", "pipeline", "validators")


def build_wheel(folder: Path) -> Path:
    """Builds the wheel of this tree in a folder, and returns its path."""
    # A copy, because building leaves folders behind, which would hide what is missing.
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=tree, check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel
