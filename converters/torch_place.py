"""Which line of the model a tracer stopped at."""

import linecache
import sysconfig
import traceback
from pathlib import Path

_CODE_LENGTH = 80


def place_of(error: BaseException) -> str:
    """Returns the innermost line of the model's own code, such as ``net.py:12 (x = f(y))``.

    Empty where the error was not raised under one: when torch weighs up the whole program.
    """
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _is_model(frame.filename)
    ]
    if not frames or frames[-1].lineno is None:
        return ""
    name, line = frames[-1].filename, frames[-1].lineno
    code = " ".join(linecache.getline(name, line).split())
    if len(code) > _CODE_LENGTH:
        code = f"{code[: _CODE_LENGTH - 1]}…"
    return f"{Path(name).name}:{line} ({code})" if code else f"{Path(name).name}:{line}"


def _is_model(file: str) -> bool:
    """Whether a file is neither torch's, nor Python's, nor ours, nor made while tracing."""
    import torch

    path = Path(file)
    ours = Path(__file__).parent
    installed = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    if not path.is_absolute() or path.parent == ours:
        return False
    if path.is_relative_to(Path(torch.__file__).parent):
        return False
    inside = any(path.is_relative_to(folder) for folder in installed)
    return inside or not path.is_relative_to(sysconfig.get_path("stdlib"))
