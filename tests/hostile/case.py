"""A hostile file, and what must happen when the commands meet it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Write = Callable[[Path], object]
"""Fills a folder; what it returns does not matter."""

CHECKPOINT = ("inspect {path}", "convert {path} --to safetensors -o {out}")
GRAPH = (
    "inspect {path}",
    "convert {path} --to onnx -o {out}",
    "convert {path} --to mindir -o {out}",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile file or folder.

    Attributes:
        name: what is wrong with it.
        threat: the class of threats that it stands for.
        file: what the commands are given, within the folder.
        write: makes it.
        reason: a part of the line that every command but ``inspect`` must end with.
        commands: what is tried; ``{path}`` is the file, ``{home}`` its folder, ``{out}`` a
            new one.
        memory: MiB above an idle process that a command may take.
        seconds: that a command may take.
        codes: exit codes that say so.
        culprit: part of the line that names the file at fault; by default the file's name.
    """

    name: str
    threat: str
    file: str
    write: Write
    reason: str
    commands: tuple[str, ...] = CHECKPOINT
    memory: int = 256
    seconds: int = 60
    codes: tuple[int, ...] = (1, 2)
    culprit: str = ""


def from_bytes(
    threat: str,
    file: str,
    table: Mapping[str, tuple[Callable[[], bytes] | bytes, str]],
    commands: tuple[str, ...] = CHECKPOINT,
) -> list[Case]:
    """Makes cases of single files: by their names, the bytes and the reason."""
    return [
        Case(name, threat, file, _writer(file, content), reason, commands)
        for name, (content, reason) in table.items()
    ]


def _writer(file: str, content: Callable[[], bytes] | bytes) -> Write:
    def write(folder: Path) -> None:
        data = content if isinstance(content, bytes) else content()
        (folder / file).write_bytes(data)

    return write
