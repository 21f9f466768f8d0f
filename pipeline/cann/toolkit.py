"""Finding a CANN toolkit on this machine, and the environment that its programs want.

Sources: the user guides of ATC and of the environment variables in hicann/ge (2026-08), and the
install tree of CANN 8.1.RC1. No toolkit was at hand: not verified on device.
"""

import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ascend_migrate.pipeline.errors import ToolchainError

ROOTS = ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")
"""Variables that set_env.sh exports, either of them the root of the toolkit."""

MISSING = (
    "needs the CANN toolkit, which is not here: install Ascend-cann-toolkit (from CANN 8.5 on with "
    "the operator package of the target chip) and run `source .../set_env.sh`; or make a folder to "
    "carry to a machine that has it with `om --bundle`"
)

_INSTALL_INFO = "ascend_toolkit_install.info"
_VERSION = re.compile(r"^version=(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Toolkit:
    """An installed toolkit.

    Attributes:
        atc: the compiler.
        root: folder of the toolkit; None where only the program was found.
        version: what its install record says, such as ``8.1.RC1``; empty where there is none.
    """

    atc: Path
    root: Path | None
    version: str

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Returns ``base`` with the stub libraries that stand in for the driver in front.

        A host without a device lacks the driver's libraries, which ATC is linked to; the toolkit
        ships stubs of them in ``devlib``.
        """
        found = dict(base)
        if self.root is None:
            return found
        arch = f"{platform.machine()}-linux"
        stubs = [
            folder
            for folder in (self.root / arch / "devlib" / "linux" / platform.machine(),
                           self.root / arch / "devlib")
            if folder.is_dir()
        ]  # fmt: skip
        paths = [*map(str, stubs), found.get("LD_LIBRARY_PATH", "")]
        found["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
        return found


def find_toolkit(environment: Mapping[str, str] | None = None) -> Toolkit:
    """Returns the toolkit that the environment names, or whose ``atc`` is on the PATH.

    Raises:
        ToolchainError: there is none; says what to install.
    """
    variables = os.environ if environment is None else environment
    for name in ROOTS:
        root = Path(variables[name]) if variables.get(name) else None
        if root is not None and _executable(root / "bin" / "atc"):
            return Toolkit(root / "bin" / "atc", root, _version(root))
    found = shutil.which("atc", path=variables.get("PATH", ""))
    if found is None:
        raise ToolchainError(f"om {MISSING}")
    atc = Path(found)
    root = atc.resolve().parent.parent
    return Toolkit(atc, root if root.is_dir() else None, _version(root))


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _version(root: Path) -> str:
    for folder in (root, *sorted(root.glob("*-linux"))):
        try:
            found = _VERSION.search((folder / _INSTALL_INFO).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found[1]
    return ""
